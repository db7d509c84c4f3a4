package secrets

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server starts one with JetStream for a test.
func server(t testing.TB) jetstream.JetStream {
	t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

var buckets atomic.Int64

func bucket(t testing.TB, js jetstream.JetStream) kv.Bucket {
	t.Helper()
	b, err := jetkv.Create(t.Context(), js, jetkv.Config{Bucket: fmt.Sprint("b", buckets.Add(1))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// own returns a source that is the host's own file.
func own(t testing.TB) *Source {
	return &Source{Own: filepath.Join(t.TempDir(), "master.key")}
}

// reopen opens the secrets of a bucket with the keys that the source has now.
func reopen(t testing.TB, b kv.Bucket, source *Source) (*Store, error) {
	t.Helper()
	keys, err := source.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Bucket: b, Keys: keys, Source: source, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func mustOpen(t testing.TB, b kv.Bucket, source *Source) *Store {
	t.Helper()
	s, err := reopen(t, b, source)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) set(t testing.TB, name, value string) Info {
	t.Helper()
	info, err := s.Set(t.Context(), name, []byte(value), "ada")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (s *Store) want(t testing.TB, name, value string, version int) {
	t.Helper()
	got, info, err := s.Get(t.Context(), name)
	if err != nil || string(got) != value || info.Version != version {
		t.Fatalf("%s = %q at version %d, %v, want %q at version %d", name, got, info.Version, err, value, version)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// eventually waits for what another store has to see.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// keyFile writes a file of keys.
func keyFile(t testing.TB, keys ...Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(NewKeyring(keys...).Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
