package backup

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is one with its data directory.
type server struct {
	*bus.Bus
	t   testing.TB
	dir string
	js  jetstream.JetStream
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	var err error
	if s.Bus, err = bus.Start(bus.Config{StoreDir: s.dir, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.js, err = jetstream.New(s.Conn()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) accounts() []Account {
	return []Account{{"default", s.Conn()}, {"fnhost", s.Control()}}
}

// file is a file of the data directory.
func (s *server) file(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) stream(cfg jetstream.StreamConfig) jetstream.Stream {
	s.t.Helper()
	stream, err := s.js.CreateStream(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

func (s *server) publish(subject, text string) {
	s.t.Helper()
	if _, err := s.js.Publish(s.t.Context(), subject, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) backup() []byte {
	s.t.Helper()
	var b bytes.Buffer
	if err := Write(s.t.Context(), &b, Source{Accounts: s.accounts(), Dir: s.dir, Version: "test"}); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// restored is a server with what a backup holds.
func restored(t testing.TB, data []byte) *server {
	t.Helper()
	s := newServer(t)
	r := bytes.NewReader(data)
	index, err := Verify(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := index.RestoreStreams(t.Context(), r, s.accounts()); err != nil {
		t.Fatal(err)
	}
	if err := index.RestoreFiles(t.Context(), r, s.dir); err != nil {
		t.Fatal(err)
	}
	return s
}

// small is a backup with some of everything.
func small(t testing.TB) []byte {
	t.Helper()
	s := newServer(t)
	s.stream(jetstream.StreamConfig{Name: "events", Subjects: []string{"shop.>"}})
	s.publish("shop.a", "one")
	s.publish("shop.b", "two")
	if _, err := s.js.CreateConsumer(t.Context(), "events", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	s.file("admin.token", "sha256:abc\n")
	s.file("git/repos/hello.git/refs/heads/main", "0123\n")
	s.file("git/repos/hello.git/HEAD", "ref: refs/heads/main\n")
	return s.backup()
}

func verify(data []byte) error {
	_, err := Verify(context.Background(), bytes.NewReader(data))
	return err
}
