package kvwatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is one run of the function.
type call struct {
	trigger, bucket, endpoint string
	change                    string // "put user.1 value"
	revision, attempt         int64
	depth                     int
	expires, replayed         bool
}

// fixture is a trigger on a server, whose function is one func.
type fixture struct {
	t       *testing.T
	bus     *bus.Bus
	js      jetstream.JetStream
	trigger *event.Trigger
	dir     string
	close   func() // the trigger
	stop    func() // and the server

	mu    sync.Mutex
	run   func(ctx context.Context, c call) error
	calls []call
	known *trigger.Function

	problem error // of setting up, the latest
	log     strings.Builder
}

// Write implements [io.Writer], for the trigger's log.
func (f *fixture) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	f := &fixture{t: t, dir: t.TempDir()}
	t.Cleanup(func() { f.stop() })
	f.start()
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	b, err := bus.Start(bus.Config{StoreDir: f.dir, Logger: quiet})
	if err != nil {
		f.t.Fatal(err)
	}
	f.close = func() {}
	f.stop = sync.OnceFunc(func() {
		f.close()
		if err := b.Close(); err != nil {
			f.t.Errorf("close the bus: %v", err)
		}
	})
	f.bus = b
	if f.js, err = jetstream.New(b.Conn()); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

// open starts a trigger.
func (f *fixture) open() {
	f.t.Helper()
	tr, err := event.New(event.Config{Conn: f.bus.Conn(), Invoker: f, Logger: slog.New(slog.NewTextHandler(f, nil)), Sources: Sources, Report: func(_, _ string, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.problem = err
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.trigger = tr
	f.close = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		tr.Close(ctx)
	})
}

// Invoke implements [trigger.Invoker].
func (f *fixture) Invoke(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	if _, ok := inv.Header.Int(wire.KeyBatch); ok {
		list, err := wire.Messages(inv.Payload)
		for _, m := range list {
			f.Invoke(ctx, &trigger.Invocation{Trigger: inv.Trigger, Header: m.Header, Payload: m.Payload})
		}
		return &trigger.Result{}, err
	}
	c := call{trigger: inv.Trigger, endpoint: inv.Endpoint, bucket: inv.Header.Get(wire.KeyBucket), replayed: inv.Header.Get(wire.KeyReplayed) != ""}
	c.change = inv.Header.Get(wire.KeyChange) + " " + inv.Header.Get(wire.KeyKey)
	if len(inv.Payload) > 0 {
		c.change += " " + string(inv.Payload)
	}
	c.depth = inv.Depth
	c.revision, _ = inv.Header.Int(wire.KeySequence)
	c.attempt, _ = inv.Header.Int(wire.KeyAttempt)
	_, c.expires = inv.Header.Int(wire.KeyExpires)
	f.mu.Lock()
	f.calls = append(f.calls, c)
	run := f.run
	f.mu.Unlock()
	if run != nil {
		if err := run(ctx, c); err != nil {
			return nil, err
		}
	}
	return &trigger.Result{}, nil
}

// Await implements [trigger.Invoker].
func (f *fixture) Await(context.Context, string, string) (*trigger.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known, nil
}

func (f *fixture) set(run func(ctx context.Context, c call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = run
}

// seen returns the changes so far.
func (f *fixture) seen() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		list = append(list, c.change)
	}
	return list
}

func (f *fixture) call(change string) (found call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c.change == change {
			found = c
		}
	}
	return found
}

func failing() error { return &wire.Error{Code: wire.Internal, Message: "it failed", Remote: true} }

// spec returns a trigger that is quick to retry.
func spec(change ...func(*manifest.KV)) manifest.KV {
	k := manifest.KV{Bucket: "b", Keys: "**", Start: "new", Retries: 3, Backoff: 10 * time.Millisecond, BackoffMax: time.Second, InFlight: 8}
	for _, c := range change {
		c(&k)
	}
	return k
}

// declare has the trigger know one function, shop.
func (f *fixture) declare(specs ...manifest.KV) {
	m := manifest.Default()
	m.Triggers.KV = specs
	fn := &trigger.Function{Name: "shop", Version: "v1", Manifest: m}
	f.mu.Lock()
	f.known = fn
	f.mu.Unlock()
	f.trigger.Update(&trigger.Table{Functions: map[string]*trigger.Function{"shop": fn}})
}

// serve declares it, and waits until it is set up.
func (f *fixture) serve(specs ...manifest.KV) {
	f.t.Helper()
	f.declare(specs...)
	f.ready()
}

func (f *fixture) ready() {
	f.t.Helper()
	f.await("the triggers are set up", func() bool {
		return !slices.ContainsFunc(f.trigger.Status(f.t.Context()), func(s event.Status) bool { return s.Error != "" })
	})
}

func (f *fixture) bucket(cfg jetkv.Config) kv.Bucket {
	f.t.Helper()
	if cfg.Bucket == "" {
		cfg.Bucket = "b"
	}
	b, err := jetkv.Create(f.t.Context(), f.js, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// put writes keys whose values are texts: key, text, key, text.
func (f *fixture) put(b kv.Bucket, pairs ...string) {
	f.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if _, err := b.Put(f.t.Context(), pairs[i], []byte(pairs[i+1])); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) await(what string, cond func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not in time; seen %q, status %+v", what, f.seen(), f.trigger.Status(f.t.Context()))
		}
	}
}

// awaitSeen waits until a change was handled so often at least.
func (f *fixture) awaitSeen(change string, least int) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d of %q", least, change), func() bool {
		n := 0
		for _, c := range f.seen() {
			if c == change {
				n++
			}
		}
		return n >= least
	})
}

// idle waits until no change is left.
func (f *fixture) idle() {
	f.t.Helper()
	f.await("nothing is left", func() bool {
		return !slices.ContainsFunc(f.trigger.Status(f.t.Context()), func(s event.Status) bool { return s.Error != "" || s.Pending > 0 || s.InFlight > 0 })
	})
}

func (f *fixture) letters() (list []*event.Letter) {
	f.t.Helper()
	if err := f.trigger.Letters(f.t.Context(), "", func(l *event.Letter) bool { list = append(list, l); return true }); err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
