package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/backup"
	"github.com/fnhost/fnhost/kv"
)

const shopManifest = `triggers:
  event:
    - {subject: shop.*, start: all, retries: 0}
  schedule:
    - {every: 1h, endpoint: tick}
`

const shopTick = "package shop\n\nfunc HandleTick() error { return nil }\n"

// Everything of a host that is backed up under load serves again where there was nothing.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	f := server(t)
	ctx := t.Context()
	f.deploy("one", host.DeployOptions{})
	f.deploy("two", host.DeployOptions{})
	source := tree(t, map[string]string{"shop/shop.go": eventful, "shop/tick.go": shopTick, "shop/function.yaml": shopManifest})
	if _, err := f.Deploy(ctx, source, host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	f.send("shop.order", "permanent 0")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	id, err := f.InvokeAsync(ctx, "hello", nil, host.AsyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if run, err := f.WaitRun(ctx, id); err != nil || string(run.Output) != "two" {
		t.Fatalf("the run is %+v, %v", run, err)
	}
	if _, err := f.PauseTrigger(ctx, "shop", "shop.*", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		f.send("shop.order", fmt.Sprint("waits ", i))
	}
	secret, err := f.CallbackSecret()
	if err != nil {
		t.Fatal(err)
	}
	bucket := openBucket(t, f)
	put := func(key string, o ...kv.Option) {
		t.Helper()
		if _, err := bucket.Put(ctx, key, []byte("value of "+key), o...); err != nil {
			t.Fatal(err)
		}
	}
	put("stays")
	put("long", kv.TTL(time.Hour))
	put("short", kv.TTL(2*time.Second))
	stop, counts := load(f, bucket)
	before := counts()
	var file bytes.Buffer
	if err := f.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	stop()
	f.await("the expiry", func() bool { _, err := bucket.Get(ctx, "short"); return errors.Is(err, kv.ErrNotFound) })
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(f.data); err != nil {
		t.Fatal(err)
	}
	index, err := host.Restore(ctx, f.data, bytes.NewReader(file.Bytes()), host.RestoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if index.Size != int64(file.Len()) || index.Version != host.Version || len(index.Accounts) != 2 {
		t.Errorf("the backup is %+v", index)
	}
	if _, err := os.Stat(f.data + ".partial"); err == nil {
		t.Error("the partial directory is left")
	}

	f.open(func(c *host.Config) { c.Watch = nil })
	f.awaitState("hello", host.Ready)
	f.answers("", "two")
	f.answers("v1", "one")
	if _, err := f.Rollback(ctx, "hello", "test", 0); err != nil {
		t.Error(err)
	}
	f.answers("", "one")
	bucket = openBucket(t, f)
	if e, err := bucket.Get(ctx, "stays"); err != nil || string(e.Value) != "value of stays" {
		t.Errorf("stays is %q, %v", e.Value, err)
	}
	if e, err := bucket.Get(ctx, "long"); err != nil || e.Expires.IsZero() || time.Until(e.Expires) > time.Hour {
		t.Errorf("long is %+v, %v", e, err)
	}
	if e, err := bucket.Get(ctx, "short"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("short is %+v, %v", e, err)
	}
	for key, want := range before.keys {
		e, err := bucket.Get(ctx, key)
		if n, _ := strconv.Atoi(string(e.Value)); err != nil || n < want {
			t.Errorf("%s is %q, %v: want %d at least", key, e.Value, err, want)
		}
	}
	if letters := f.letters(); len(letters) != 1 || string(letters[0].Data) != "permanent 0" {
		t.Errorf("the dead letters are %+v", letters)
	}
	if run, err := f.LookUpRun(ctx, id); err != nil || string(run.Output) != "two" {
		t.Errorf("the run is %+v, %v", run, err)
	}
	if again, err := f.CallbackSecret(); err != nil || again != secret {
		t.Errorf("the key of callbacks is another one (%v)", err)
	}
	f.await("the schedule", func() bool {
		for _, s := range f.Triggers(ctx) {
			if s.Stream == "schedules" && s.Error == "" && s.Next != nil {
				return true
			}
		}
		return false
	})
	s := f.listen()
	if _, err := f.ResumeTrigger(ctx, "shop", "shop.*"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		want := fmt.Sprint("shop.order 1 waits ", i)
		f.await(want, func() bool { return s.count(want) > 0 })
	}
	for i := range before.events {
		want := fmt.Sprint("shop.load 1 load ", i)
		f.await(want, func() bool { return s.count(want) > 0 })
	}
	f.deploy("three", host.DeployOptions{})
	f.answers("", "three")
}

func openBucket(t testing.TB, f *fixture) kv.Bucket {
	t.Helper()
	b, err := f.Bucket(t.Context(), "state")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loaded is what was acknowledged at some time.
type loaded struct {
	keys   map[string]int // to the least value
	events int
}

// load writes to a bucket, and sends events, until stop. counts waits until some are acknowledged, and tells which.
func load(f *fixture, bucket kv.Bucket) (stop func(), counts func() loaded) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var keys [50]atomic.Int64
	var events atomic.Int64
	wg.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			for i := range keys {
				if _, err := bucket.Put(ctx, fmt.Sprint("load", i), []byte(strconv.Itoa(n))); err == nil {
					keys[i].Store(int64(n))
				}
			}
		}
	})
	wg.Go(func() {
		for n := 0; n < 500 && ctx.Err() == nil; n++ { // all of which are handled in the end
			if _, err := f.Publish(ctx, &nats.Msg{Subject: "shop.load", Data: fmt.Appendf(nil, "load %d", n)}); err != nil {
				return
			}
			events.Store(int64(n + 1))
		}
	})
	stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(stop)
	return stop, func() loaded {
		f.await("load", func() bool { return keys[len(keys)-1].Load() > 2 && events.Load() > 20 })
		at := loaded{keys: make(map[string]int), events: int(events.Load())}
		for i := range keys {
			at.keys[fmt.Sprint("load", i)] = int(keys[i].Load())
		}
		return at
	}
}

// blocked is a writer that waits when it has got something.
type blocked struct{ begun, goOn chan struct{} }

func (b blocked) Write(p []byte) (int, error) {
	select {
	case b.begun <- struct{}{}:
	default:
	}
	<-b.goOn
	return len(p), nil
}

func TestOneBackupAtATimeAndNoneOfAClosedHost(t *testing.T) {
	f := server(t)
	w := blocked{make(chan struct{}, 1), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- f.Backup(t.Context(), w) }()
	<-w.begun
	if err := f.Backup(t.Context(), &bytes.Buffer{}); !errors.Is(err, functions.ErrConflict) {
		t.Errorf("a second one: %v", err)
	}
	close(w.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if err := f.Backup(t.Context(), &bytes.Buffer{}); !errors.Is(err, host.ErrClosed) {
		t.Errorf("of a closed host: %v", err)
	}
}

func TestRestoreTouchesNothingThatIsThere(t *testing.T) {
	f := server(t)
	var file bytes.Buffer
	if err := f.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	full := filepath.Join(tmp, "full")
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(full, "mine"))
	foreign := filepath.Join(tmp, "foreign")
	write(filepath.Join(foreign+".partial", "mine"))
	killed := filepath.Join(tmp, "killed")
	write(filepath.Join(killed+".partial", "restoring"))
	write(filepath.Join(killed+".partial", "jetstream", "half"))
	empty := filepath.Join(tmp, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(tmp, "link")
	target := filepath.Join(tmp, "target")
	if err := errors.Join(os.Mkdir(target, 0o700), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	data := file.Bytes()
	tests := []struct {
		name, dir string
		data      []byte
		want      error
	}{
		{"a directory with something", full, data, host.ErrNotEmpty},
		{"a partial directory of somebody else", foreign, data, host.ErrNotEmpty},
		{"a cut backup", filepath.Join(tmp, "cut"), data[:len(data)-600], backup.ErrDamaged},
		{"no backup", filepath.Join(tmp, "none"), []byte("hello"), backup.ErrNotBackup},
		{"what a killed restore has left", killed, data, nil},
		{"an empty directory", empty, data, nil},
		{"a link to an empty directory", link, data, nil},
		{"the directory of a host that runs", f.data, data, host.ErrNotEmpty},
		{"a directory in one that is not there", filepath.Join(tmp, "a", "b"), data, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := host.Restore(t.Context(), test.dir, bytes.NewReader(test.data), host.RestoreOptions{})
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(test.dir, "jetstream")); (err == nil) != (test.want == nil) && test.dir != f.data {
				t.Errorf("the directory: %v", err)
			}
			if _, err := os.Stat(filepath.Join(test.dir, "jetstream", "half")); err == nil {
				t.Error("what was left is part of it")
			}
			if _, err := os.Stat(test.dir + ".partial"); err == nil && test.dir != foreign {
				t.Error("the partial directory is left")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(full, "mine")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Restore(ctx, filepath.Join(tmp, "canceled"), bytes.NewReader(data), host.RestoreOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if list, _ := os.ReadDir(tmp); strings.Contains(fmt.Sprint(list), "canceled") {
		t.Errorf("something is left: %v", list)
	}
}
