package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host/disktest"
)

// record is what a host has logged.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func TestStorageComesBackWhenThereIsRoom(t *testing.T) {
	disktest.Run(t, 64, testFullDisk)
}

func testFullDisk(t *testing.T, dir string) {
	var said record
	b := open(t, Config{StoreDir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	t.Cleanup(func() { t.Log(said.String()) })
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "test"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, kv, "before")
	for round := range 2 {
		restored := b.Restored()
		free := disktest.Fill(t, dir)
		last := putUntilItFails(t, b, kv, round)
		if err := b.StorageErr(); !errors.Is(err, ErrStorage) || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), "make room") {
			t.Errorf("on a full disk: %v", err)
		}
		if e, err := kv.Get(t.Context(), last); err != nil || e.Key() != last {
			t.Errorf("what was stored last cannot be read on a full disk: %v", err)
		}
		free()
		select {
		case <-restored:
		case <-time.After(time.Minute):
			t.Fatal("storage is not back")
		}
		if err := b.StorageErr(); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		for _, key := range []string{"before", last} {
			if e, err := kv.Get(t.Context(), key); err != nil || e.Key() != key {
				t.Errorf("%s is lost: %v", key, err)
			}
		}
		put(t, kv, "after")
	}
	// It is said right after it is so.
	for end := time.Now().Add(10 * time.Second); strings.Count(said.String(), "storage is back") < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if s := said.String(); strings.Count(s, "level=ERROR msg=\"NATS: nothing can be stored") != 2 || strings.Count(s, "storage is back") != 2 {
		t.Error("it is not said once that storage has stopped, and once that it is back")
	}
}

func put(t *testing.T, kv jetstream.KeyValue, key string) {
	t.Helper()
	if _, err := kv.PutString(t.Context(), key, "x"); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// putUntilItFails returns the last key that was stored, "before" if none was.
func putUntilItFails(t *testing.T, b *Bus, kv jetstream.KeyValue, round int) string {
	t.Helper()
	last := "before"
	for n := 0; b.StorageErr() == nil; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		key := fmt.Sprintf("key%d.%d", round, n)
		if _, err := kv.Put(ctx, key, make([]byte, 1000)); err == nil {
			last = key
		}
		cancel()
	}
	return last
}

func TestAServerThatWasStartedOnAFullDiskStoresWhenThereIsRoom(t *testing.T) {
	disktest.Run(t, 64, func(t *testing.T, dir string) {
		b, err := Start(Config{StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(b.Control())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "test"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		free := disktest.Fill(t, dir)
		b = open(t, Config{StoreDir: dir})
		if js, err = jetstream.New(b.Control()); err != nil {
			t.Fatal(err)
		}
		kv, err := js.KeyValue(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		restored := b.Restored()
		putUntilItFails(t, b, kv, 0)
		free()
		<-restored
		if _, err := kv.Put(t.Context(), "large", make([]byte, 4<<20)); err != nil {
			t.Error(err)
		}
	})
}
