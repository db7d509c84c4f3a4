package jetkv

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // they wait more than they work
	goleak.VerifyTestMain(m)
}

// server starts one with JetStream for a test.
func server(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, _ := serverIn(t)
	return js
}

// serverIn tells where it stores, too.
func serverIn(t testing.TB) (js jetstream.JetStream, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "jetkv")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{StoreDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
		os.RemoveAll(dir)
	})
	if js, err = jetstream.New(b.Conn()); err != nil {
		t.Fatal(err)
	}
	return js, dir
}

// create makes a bucket of its own name.
func create(t testing.TB, js jetstream.JetStream, cfg Config) *Bucket {
	t.Helper()
	cfg.Bucket = fmt.Sprint("b", buckets.Add(1))
	b, err := Create(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var buckets atomic.Int64

func TestBucketsKeepTheirNumberOfKeys(t *testing.T) {
	js := server(t)
	kvtest.RunMaxKeys(t, func(t *testing.T, keys int64) kv.Bucket {
		return create(t, js, Config{MaxKeys: keys})
	})
}

func TestBucketsKeepTheContract(t *testing.T) {
	js := server(t)
	kvtest.Run(t, func(t *testing.T, history int) kv.Bucket {
		return create(t, js, Config{History: history})
	})
}
