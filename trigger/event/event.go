// Package event is the trigger that runs functions for the messages of streams.
//
// Each event trigger of a manifest is a durable consumer of a JetStream stream: of
// the one that it names, or that takes its subject, or else of the host's own,
// "events", which takes the subjects that no other stream does, and keeps events
// for a week. An event is acknowledged when its function has returned without an
// error, and so it is handled at least once, whatever ends in the middle. Until
// then the server is told that work goes on. Events beyond those in flight wait in
// the stream, and not in memory: a node asks for as many as it has places.
//
// An event that failed is tried again after a delay that doubles, and takes no place
// meanwhile, unless events are handled one by one. The attempts are counted by the
// server. One that the host could not run, since the function was overloaded or is
// being replaced, keeps its place, and none is counted. One that has failed too
// often, or for good, is stored on dead.<function> in the stream "dead", with what is
// known of it in the headers, and only then taken off; so it is in one of the two at
// any time. Nodes share the consumers, and so the work.
//
// # Flow
//
// What a trigger's manifest says of keys, rates and filters works on top of that; all
// that waits is in the stream, or in the hands of a node that tells the server so.
//
// order: key has events of one key handled one at a time, in the order of the stream:
// across retries, the crash of a worker, and the end of a host in whatever way. Other
// keys go on meanwhile. One node reads such a trigger, whose consumer the server pins
// to it; when it stops another takes over at once, and when it is gone, after ten
// seconds. The node holds up to 16 events for each place of inFlight, at most 1,024 or
// inFlight, if that is more: when those of keys that are held up fill that, the others wait as
// well. An event that failed stays in hand until its next attempt is due. What a
// node had that is gone comes again after five seconds, and all that is newer waits for
// it. An event may still be handled twice, as any may, and then those of its key behind it
// may be handled between. With inFlight: 1 all are in order, without a pin.
//
// perKey: N bounds the events of a key that a node handles at once. One that failed
// takes no place until it is due, and those behind it go on.
//
// rate bounds how many events a node takes in a time; what a second allows, and
// at least one, may come at once. A retry counts as well, and an event that is skipped
// because of its key; what a filter refuses does not. A node that would be beyond the rate asks for none.
//
// debounce handles the latest event of a key once none has come for so long; throttle
// the first at once, and then the latest of those that came, when so long has passed
// since the last one began. The others are acknowledged. One node reads them, as with
// an order. It holds the latest events of at most 10,000 keys; further events wait in the
// stream. One that failed waits for its retry, unless a later one of its key comes: that
// is handled instead. After a restart the time of a key begins anew.
//
// filter has events acknowledged that it refuses. A header matches in any case, with any of
// its values; data must be JSON, and a number in it is no text. For a CloudEvent in one JSON
// document, the fields are those of its data.
//
// [Status.Skipped] counts what was acknowledged without being handled (changes that a kv trigger is not on are not its events). When a host
// stops, the events that it hands back count as an attempt that was made.
//
// # Others
//
// What is published with a time to come waits in the stream "later", from which one
// consumer for all functions forwards it when that has come. It leaves that stream
// when its own has it, or the dead letters.
//
// Asynchronous calls are taken from the stream "calls" in the same way, and what has
// become of them is kept (see [Runs]).
//
// The events of other triggers come the same way, as [Config.Sources] says: the changes
// of buckets are those of package kvwatch.
//
// A stream that a trigger names and that is not there is waited for, and all that it has then
// is new; so it is if it is removed and made anew.
//
// The consumer of a trigger that is no more goes after a week without a reader: a
// function that comes back meanwhile goes on where it was.
package event

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/trigger"
)

// Names in JetStream.
const (
	EventStream = "events"
	DeadStream  = "dead"
	DeadPrefix  = "dead."
)

const (
	keepEvents   = 7 * 24 * time.Hour
	keepDead     = 30 * 24 * time.Hour
	keepConsumer = 7 * 24 * time.Hour // without a reader
	ackWait      = 10 * time.Second   // without a sign that work goes on
	setupTimeout = 10 * time.Second
	retrySetup   = 2 * time.Second
	retryStream  = 5 * time.Second // of one that is not there
	maxWaiting   = 10_000          // events of a trigger that may wait for a retry beside those in flight
)

// Config says how a Trigger works.
type Config struct {
	Conn    *nats.Conn
	Invoker trigger.Invoker
	Logger  *slog.Logger // default: slog.Default
	// Report is told why a trigger of a function does not work, nil when it does
	// again. The error wraps [ErrNoStream] while it waits for a stream, or a bucket, that is not there.
	// Default: nobody but the log.
	Report func(function, subject string, err error)
	// Runs keeps what has become of events, and of asynchronous calls. Default: nobody
	// does, and there are no such calls.
	Runs Runs
	// State is what effects change beside publishing. Default: nothing.
	State State
	// Sources returns what a manifest has of triggers whose events are something else
	// than messages for their own sake. Default: none.
	Sources func(m *manifest.Manifest) []Source
}

// Trigger is a [trigger.Trigger].
type Trigger struct {
	js      jetstream.JetStream
	conn    *nats.Conn
	invoker trigger.Invoker
	log     *slog.Logger
	report  func(function, subject string, err error)
	state   State
	sources func(m *manifest.Manifest) []Source // may be nil

	ctx    context.Context // of taking events
	cancel context.CancelFunc
	work   context.Context // of handling them
	stop   context.CancelFunc
	tasks  sync.WaitGroup

	streams    sync.Mutex   // held while streams are changed
	takers     sync.Map     // subject → taker
	takersSize atomic.Int64 // about

	ackWait, retrySetup, retryStream, strayWait, keepEnded time.Duration // the constants, but for tests

	keepers sync.Pool // of *keeper
	effects effects

	wakeLater chan struct{} // has one when something was delayed

	runs  Runs   // nil for none
	calls *calls // with it

	mu        sync.Mutex
	readers   map[string]*reader   // by key
	listeners map[string]*listener // by key
	strays    map[string]bool      // ids of schedules of functions that are not there yet
	table     *trigger.Table       // the latest
	later     bool                 // who forwards what was delayed has started
	closed    bool
}

// New returns a Trigger that knows of no functions yet.
func New(cfg Config) (*Trigger, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	t := &Trigger{js: js, conn: cfg.Conn, invoker: cfg.Invoker, log: cfg.Logger, report: cfg.Report, state: cfg.State, sources: cfg.Sources, readers: make(map[string]*reader),
		listeners: make(map[string]*listener), ackWait: ackWait, retrySetup: retrySetup, retryStream: retryStream, strayWait: strayWait, keepEnded: keepEnded,
		effects: effects{again: make(chan struct{}, 1)}, wakeLater: make(chan struct{}, 1)}
	if t.log == nil {
		t.log = slog.Default()
	}
	if t.report == nil {
		t.report = func(string, string, error) {}
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.work, t.stop = context.WithCancel(context.Background())
	if t.runs = cfg.Runs; t.runs != nil {
		if err := t.openCalls(t.runs); err != nil {
			return nil, err
		}
	}
	t.tasks.Go(t.recoverEffects)
	return t, nil
}

// Update implements [trigger.Trigger].
func (t *Trigger) Update(table *trigger.Table) {
	wanted := make(map[string]*reader)
	for name, fn := range table.Functions {
		for _, s := range t.sourcesOf(fn.Manifest) {
			r := sourceReader(t, name, s)
			wanted[r.key] = r
		}
		for i := range fn.Manifest.Triggers.Schedule {
			r := newScheduled(t, name, &fn.Manifest.Triggers.Schedule[i])
			wanted[r.key] = r
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for key, r := range t.readers {
		if w := wanted[key]; w == nil || !reflect.DeepEqual(w.source, r.source) || w.schedule != r.schedule {
			r.cancel()
			delete(t.readers, key)
			if r.id != "" && w == nil {
				t.tasks.Go(func() { t.endSchedule(r.id) })
			}
		}
	}
	for key, r := range wanted {
		if t.readers[key] == nil {
			r.ctx, r.cancel = context.WithCancel(t.ctx)
			t.readers[key] = r
			t.tasks.Go(r.run)
		}
	}
	t.updateListeners(table)
	t.table = table
	t.endStrays()
	t.startLater()
	if t.calls != nil {
		t.calls.update(table)
	}
}

// updateListeners starts and ends subscriptions. t.mu is held.
func (t *Trigger) updateListeners(table *trigger.Table) {
	wanted := make(map[string]bool)
	for name, fn := range table.Functions {
		for i := range fn.Manifest.Triggers.Subscribe {
			s := &fn.Manifest.Triggers.Subscribe[i]
			key := listenerKey(name, s)
			wanted[key] = true
			if t.listeners[key] != nil {
				continue
			}
			l, err := t.listen(name, s)
			if err != nil {
				t.log.Error("no messages: "+err.Error(), "function", name, "subject", s.Subject)
				continue
			}
			t.listeners[key] = l
		}
	}
	for key, l := range t.listeners {
		if !wanted[key] {
			l.close()
			delete(t.listeners, key)
		}
	}
}

// Close takes no more events, and waits until ctx ends for those in progress;
// the others are then handed back, for another node or the next start. It is
// called once.
func (t *Trigger) Close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	for _, l := range t.listeners {
		l.close()
	}
	t.mu.Unlock()
	t.cancel()
	done := make(chan struct{})
	go func() {
		t.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	t.stop()
	<-done
	t.conn.FlushTimeout(setupTimeout) // what was said of the last events
}
