package event

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/trigger"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6") // they wait more than they work
	goleak.VerifyTestMain(m)
}

// call is one run of a function, as the fake has seen it.
type call struct {
	function, subject, text string
	version, endpoint       string
	replayed                bool
	sequence, attempt, time int64
	depth                   int
	at                      time.Time
}

// fake is an Invoker whose functions are one func. It keeps what it was asked.
type fake struct {
	mu    sync.Mutex
	run   func(ctx context.Context, c call) error
	calls []call
	sizes []int               // of batches
	known []*trigger.Function // beside those of the table, for Await
	now   int                 // calls in progress
	most  int                 // of those at any time
}

func (f *fake) Invoke(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	if _, ok := inv.Header.Int(wire.KeyBatch); ok {
		return f.invokeBatch(ctx, inv)
	}
	c := call{function: inv.Function, subject: inv.Header.Get(wire.KeySubject), text: string(inv.Payload), depth: inv.Depth, at: time.Now(),
		version: inv.Version, endpoint: inv.Endpoint, replayed: inv.Header.Get(wire.KeyReplayed) != ""}
	c.sequence, _ = inv.Header.Int(wire.KeySequence)
	c.time, _ = inv.Header.Int(wire.KeyTime)
	c.attempt, _ = inv.Header.Int(wire.KeyAttempt)
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.now++
	f.most = max(f.most, f.now)
	run := f.run
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	if run == nil {
		return &trigger.Result{}, nil
	}
	if err := run(ctx, c); err != nil {
		return nil, err
	}
	return &trigger.Result{}, nil
}

// invokeBatch runs the func for each event of a batch, and answers as a function does.
func (f *fake) invokeBatch(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	list, err := wire.Messages(inv.Payload)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.sizes = append(f.sizes, len(list))
	f.mu.Unlock()
	var body []byte
	whole := false
	for i, m := range list {
		_, err := f.Invoke(ctx, &trigger.Invocation{Function: inv.Function, Header: m.Header, Payload: m.Payload})
		whole = whole || errors.Is(err, errWhole)
		if err != nil {
			body = wire.AppendItemError(body, i, wire.AsError(err))
		}
	}
	switch {
	case whole:
		return nil, failing(wire.Crashed, 0)
	case body != nil:
		return &trigger.Result{Header: wire.Header(nil).AddInt(wire.KeyFailed, 1), Payload: body}, nil
	}
	return &trigger.Result{}, nil
}

func (f *fake) Await(_ context.Context, function, version string) (*trigger.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fn := range f.known {
		if fn.Name == function && (version == "" || fn.Version == version) {
			return fn, nil
		}
	}
	return nil, wire.Errorf(wire.NoFunction, "no function")
}

func (f *fake) set(run func(ctx context.Context, c call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = run
}

// seen returns the calls so far, those with a text if one is given.
func (f *fake) seen(text ...string) (list []call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if len(text) == 0 || slices.Contains(text, c.text) {
			list = append(list, c)
		}
	}
	return list
}

// failing returns an error that a function has returned, and not its host.
func failing(code wire.Code, retry time.Duration) error {
	return &wire.Error{Code: code, Message: "it failed", Retry: retry, Remote: true}
}

// fixture is a trigger on a server.
type fixture struct {
	*fake
	t       *testing.T
	bus     *bus.Bus
	js      jetstream.JetStream
	trigger *Trigger
	dir     string
	listen  string // of the server
	mu      sync.Mutex
	reports []error
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, "")
}

// newFixtureOn has the server listen on an address. Each test has a server of its own:
// they run beside each other.
func newFixtureOn(t *testing.T, listen string) *fixture {
	t.Helper()
	t.Parallel()
	f := &fixture{fake: &fake{}, t: t, dir: t.TempDir(), listen: listen}
	t.Cleanup(func() {
		if err := f.bus.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	f.start()
	return f
}

// start starts the server, and a trigger on it.
func (f *fixture) start() {
	f.t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: f.dir, Listen: f.listen, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.bus = b
	if f.js, err = jetstream.New(b.Conn()); err != nil {
		f.t.Fatal(err)
	}
	f.trigger = f.open()
}

// restart stops the trigger and the server, and starts both.
func (f *fixture) restart() {
	f.t.Helper()
	f.close(f.trigger)
	if err := f.bus.Close(); err != nil {
		f.t.Errorf("close the bus: %v", err)
	}
	f.start()
}

// open returns another trigger, as of another node, that is closed in the end.
func (f *fixture) open() *Trigger {
	f.t.Helper()
	tr, err := New(Config{Conn: f.bus.Conn(), Invoker: f.fake, Logger: slog.New(slog.DiscardHandler), Report: func(_, _ string, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reports = append(f.reports, err)
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	tr.retrySetup = 20 * time.Millisecond
	f.t.Cleanup(func() { f.close(tr) })
	return tr
}

// close closes a trigger, if that has not been done.
func (f *fixture) close(tr *Trigger) {
	tr.mu.Lock()
	closed := tr.closed
	tr.mu.Unlock()
	if !closed {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		tr.Close(ctx)
	}
}

// reported returns what was last reported of a trigger's setting up.
func (f *fixture) reported() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reports) == 0 {
		return nil
	}
	return f.reports[len(f.reports)-1]
}

// spec returns a trigger that begins at the first event and is quick to retry.
func spec(subject string, change ...func(*manifest.Event)) manifest.Event {
	s := manifest.Event{Subject: subject, Start: "all", Retries: 3, Backoff: 10 * time.Millisecond, BackoffMax: time.Second, InFlight: 8}
	for _, c := range change {
		c(&s)
	}
	return s
}

// table returns one of functions, "name" → its triggers.
func table(functions map[string][]manifest.Event) *trigger.Table {
	t := &trigger.Table{Functions: make(map[string]*trigger.Function)}
	for name, specs := range functions {
		m := manifest.Default()
		m.Triggers.Event = specs
		t.Functions[name] = &trigger.Function{Name: name, Version: "v1", Manifest: m}
	}
	return t
}

// serve has the trigger know one function, shop, and waits until it is set up.
func (f *fixture) serve(specs ...manifest.Event) {
	f.t.Helper()
	f.serveOn(f.trigger, specs...)
}

func (f *fixture) serveOn(tr *Trigger, specs ...manifest.Event) {
	f.t.Helper()
	tr.Update(table(map[string][]manifest.Event{"shop": specs}))
	f.await("the triggers are set up", func() bool {
		list := tr.Status(f.t.Context())
		return !slices.ContainsFunc(list, func(s Status) bool { return s.Error != "" })
	})
}

// await waits until cond holds.
func (f *fixture) await(what string, cond func() bool) {
	f.t.Helper()
	f.awaitFor(time.Minute, what, cond) // only a test that fails waits for all of it
}

func (f *fixture) awaitFor(most time.Duration, what string, cond func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(most)
	for !cond() {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not in time; calls %+v, reported %v", what, f.seen(), f.reported())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (f *fixture) publish(subject string, texts ...string) {
	f.t.Helper()
	for _, text := range texts {
		stored, err := f.trigger.Publish(f.t.Context(), &nats.Msg{Subject: subject, Data: []byte(text)})
		if err != nil || stored.Stream == "" {
			f.t.Fatalf("%s is stored in %q, %v", subject, stored.Stream, err)
		}
	}
}

// idle waits until no event is left.
func (f *fixture) idle() {
	f.t.Helper()
	f.await("nothing is left", func() bool {
		for _, s := range f.trigger.Status(f.t.Context()) {
			if s.Error != "" || s.Pending > 0 || s.InFlight > 0 {
				return false
			}
		}
		return true
	})
}

// letters returns the dead letters.
func (f *fixture) letters() (list []*Letter) {
	f.t.Helper()
	if err := f.trigger.Letters(f.t.Context(), "", func(l *Letter) bool { list = append(list, l); return true }); err != nil {
		f.t.Fatal(err)
	}
	return list
}

// stream makes one of a user.
func (f *fixture) stream(name string, subjects ...string) jetstream.Stream {
	f.t.Helper()
	s, err := f.js.CreateStream(f.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// numbered returns n texts.
func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}
