package event

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

// ordered keeps what has run, and finds events that have overtaken others of their key.
type ordered struct {
	mu       sync.Mutex
	last     map[string]int64 // by key: the latest sequence that has ended well
	running  map[string]int64
	attempts map[int64]int
	done     map[int64]int
	most     int
	wrong    []string
}

func newOrdered() *ordered {
	return &ordered{last: make(map[string]int64), running: make(map[string]int64), attempts: make(map[int64]int), done: make(map[int64]int)}
}

// run is a function that takes its time, and fails as often as fails says.
func (o *ordered) run(fails func(c call) int, takes time.Duration) func(context.Context, call) error {
	return func(ctx context.Context, c call) error {
		o.mu.Lock()
		if other, ok := o.running[c.subject]; ok {
			o.wrong = append(o.wrong, fmt.Sprintf("%d begins while %d runs", c.sequence, other))
		}
		if last := o.last[c.subject]; c.sequence < last && o.done[c.sequence] == 0 { // what has ended well may come again
			o.wrong = append(o.wrong, fmt.Sprintf("%d comes after %d", c.sequence, last))
		}
		o.running[c.subject] = c.sequence
		o.most = max(o.most, len(o.running))
		o.attempts[c.sequence]++
		attempt := o.attempts[c.sequence]
		o.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.running, c.subject)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt <= fails(c) {
			return failing(wire.Internal, 0)
		}
		o.last[c.subject] = max(o.last[c.subject], c.sequence)
		o.done[c.sequence]++
		return nil
	}
}

func (o *ordered) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.done)
}

func (o *ordered) check(t *testing.T, events int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.done) != events {
		t.Errorf("%d of %d events", len(o.done), events)
	}
	if len(o.wrong) > 0 {
		t.Errorf("%d out of order, such as %v", len(o.wrong), o.wrong[:min(5, len(o.wrong))])
	}
}

func byKey(s *manifest.Event) { s.Order = manifest.OrderKey }

// publishMany publishes events on subjects a.0 to a.<keys-1> in turn.
func (f *fixture) publishMany(from, to, keys int) {
	f.t.Helper()
	for i := from; i < to; i++ {
		if _, err := f.js.PublishMsgAsync(&nats.Msg{Subject: fmt.Sprint("a.", i%keys), Data: fmt.Append(nil, i)}, jetstream.WithStallWait(30*time.Second)); err != nil {
			f.t.Fatal(err)
		}
	}
	select {
	case <-f.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		f.t.Fatal("the events are not stored in time")
	}
}

// failSome has every 50th event fail once, and every 100th twice.
func failSome(c call) int {
	switch {
	case c.sequence%100 == 0:
		return 2
	case c.sequence%50 == 0:
		return 1
	}
	return 0
}

func TestEventsOfAKeyKeepTheirOrder(t *testing.T) {
	f := newFixture(t)
	const events, keys = 10_000, 101
	o := newOrdered()
	f.set(o.run(failSome, 500*time.Microsecond))
	f.serve(spec("a.*", byKey))
	f.publishMany(0, events, keys)
	f.await("all", func() bool { return o.count() == events })
	f.idle()
	o.check(t, events)
	if o.most < 2 || o.most > 8 {
		t.Errorf("%d keys at once, want up to 8", o.most)
	}
	for seq, n := range o.attempts {
		if want := 1 + failSome(call{sequence: seq}); n != want {
			t.Errorf("event %d has run %d times, want %d", seq, n, want)
		}
	}
	for _, c := range f.seen() {
		if c.attempt > 3 {
			t.Errorf("%+v: the server has counted too many attempts", c)
			break
		}
	}
}

// What fails for long holds up those behind it that are of its key, and no others.
func TestPoisonBlocksItsOwnKeyAlone(t *testing.T) {
	f := newFixture(t)
	o := newOrdered()
	f.set(o.run(func(c call) int {
		if c.text == "0" {
			return 1000
		}
		return 0
	}, 0))
	f.serve(spec("a.*", byKey, func(s *manifest.Event) { s.Backoff, s.BackoffMax, s.Retries = time.Hour, time.Hour, 1 }))
	f.publishMany(0, 500, 10)
	f.await("the other keys", func() bool { return o.count() == 450 })
	time.Sleep(50 * time.Millisecond)
	o.check(t, 450)
	if n := len(f.seen()); n != 451 {
		t.Errorf("%d events have begun, want 451", n)
	}
}

// A dead letter is the end of an event: those behind it go on.
func TestADeadLetterLetsItsKeyGoOn(t *testing.T) {
	f := newFixture(t)
	o := newOrdered()
	f.set(o.run(func(c call) int {
		if c.text == "0" {
			return 1000
		}
		return 0
	}, 0))
	f.serve(spec("a.*", byKey))
	f.publishMany(0, 100, 10)
	f.await("all others", func() bool { return o.count() == 99 })
	f.idle()
	o.check(t, 99)
	letters := f.letters()
	if len(letters) != 1 || letters[0].Attempts != 4 || letters[0].Died.After(time.Now()) {
		t.Errorf("letters %+v", letters)
	}
	if first := f.seen("10")[0]; first.at.Before(f.seen("0")[3].at) {
		t.Errorf("the next began at %v, before the last attempt", first.at)
	}
}

func TestTheOrderOutlivesRestarts(t *testing.T) {
	f := newFixture(t)
	const events, keys, restarts = 3000, 31, 5
	o := newOrdered()
	f.set(o.run(failSome, time.Millisecond))
	many := func(s *manifest.Event) { s.Retries = 1000 } // of which each handing back takes one
	f.serve(spec("a.*", byKey, many))
	f.publishMany(0, events, keys)
	tr := f.trigger
	for i := range restarts {
		f.await("some", func() bool { return o.count() > events*(i+1)/(restarts+2) })
		f.close(tr)
		tr = f.open()
		tr.Update(table(map[string][]manifest.Event{"shop": {spec("a.*", byKey, many)}}))
	}
	f.await("all", func() bool { return o.count() == events })
	f.trigger = tr
	f.idle()
	o.check(t, events)
}

// lonely returns a trigger with a connection of its own, which can break.
func (f *fixture) lonely(fake *fake, options ...nats.Option) (*Trigger, *nats.Conn) {
	f.t.Helper()
	nc, err := nats.Connect("nats://"+f.bus.Addr(), options...)
	if err != nil {
		f.t.Fatal(err)
	}
	tr, err := New(Config{Conn: nc, Invoker: fake, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	tr.ackWait, tr.retrySetup = f.trigger.ackWait, f.trigger.retrySetup
	f.t.Cleanup(func() {
		nc.Close()
		f.close(tr)
	})
	return tr, nc
}

func TestTheOrderOutlivesANodeThatIsGone(t *testing.T) {
	f := newFixtureOn(t, "127.0.0.1:0")
	f.trigger.ackWait = time.Second
	const events, keys = 2000, 31
	o := newOrdered()
	f.serve(spec("a.*", byKey))
	f.serve()
	f.publishMany(0, events, keys)
	for i := range 3 {
		dead := &fake{}
		over := make(chan struct{})
		run := o.run(failSome, time.Millisecond)
		dead.set(func(_ context.Context, c call) error {
			select {
			case <-over: // it is as dead as its connection
				return context.Canceled
			default:
			}
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				select {
				case <-over:
				case <-ctx.Done():
				}
				cancel()
			}()
			defer cancel()
			return run(ctx, c)
		})
		tr, nc := f.lonely(dead, nats.NoReconnect())
		tr.Update(table(map[string][]manifest.Event{"shop": {spec("a.*", byKey, func(s *manifest.Event) { s.Retries = 1000 })}}))
		f.await("some", func() bool { return o.count() > events*(i+1)/5 })
		close(over)
		nc.Close()
		f.await("they end", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return len(o.running) == 0 })
	}
	f.set(o.run(failSome, 0))
	f.serve(spec("a.*", byKey, func(s *manifest.Event) { s.Retries = 1000 }))
	f.await("all", func() bool { return o.count() == events })
	f.idle()
	o.check(t, events)
}

// One of two nodes reads, and the other when that one stops.
func TestTwoNodesKeepOneOrder(t *testing.T) {
	f := newFixture(t)
	const events, keys = 3000, 31
	o := newOrdered()
	other := &fixture{fake: &fake{}, t: t, bus: f.bus, js: f.js}
	other.trigger = other.open()
	for _, one := range []*fixture{f, other} {
		one.set(o.run(failSome, time.Millisecond))
		one.serve(spec("a.*", byKey, func(s *manifest.Event) { s.Retries = 1000 }))
	}
	f.publishMany(0, events, keys)
	f.await("some", func() bool { return o.count() > events/4 })
	a, b := f, other
	if len(b.seen()) > 0 {
		a, b = b, a
	}
	if n := len(b.seen()); n > 0 {
		t.Errorf("both nodes have events, the other %d", n)
	}
	a.close(a.trigger)
	f.await("the other takes over", func() bool { return len(b.seen()) > 0 })
	next := a.open()
	a.serveOn(next, spec("a.*", byKey, func(s *manifest.Event) { s.Retries = 1000 }))
	f.await("all", func() bool { return o.count() == events })
	f.trigger = next
	f.idle()
	o.check(t, events)
}

// An event that is deleted while it waits for its retry does not block its key.
func TestADeletedEventDoesNotBlockItsKey(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = time.Second
	o := newOrdered()
	f.set(o.run(func(c call) int {
		if c.text == "0" {
			return 1000
		}
		return 0
	}, 0))
	f.serve(spec("a.*", byKey, func(s *manifest.Event) { s.Backoff, s.Retries = 300*time.Millisecond, 1000 }))
	f.publishMany(0, 30, 10)
	f.await("the other keys", func() bool { return o.count() == 27 })
	stream, err := f.js.Stream(t.Context(), EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.await("those behind it", func() bool { return o.count() == 29 })
	o.check(t, 29)
	if l := f.letters(); len(l) > 0 {
		t.Errorf("letters %+v", l)
	}
}

// A trigger that comes to have an order, or loses it, goes on where it was.
func TestATriggerThatGetsAnOrderKeepsItsPlace(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = time.Second
	for i, change := range []func(*manifest.Event){func(*manifest.Event) {}, byKey, func(*manifest.Event) {}, func(s *manifest.Event) { s.Debounce = 10 * time.Millisecond }, byKey} {
		f.serve(spec("a", change))
		text := fmt.Sprint("n", i)
		f.publish("a", text)
		f.await(text, func() bool { return len(f.seen(text)) == 1 })
	}
	f.idle()
	if n := len(f.seen()); n != 5 {
		t.Errorf("%d events, want 5: %+v", n, f.seen())
	}
}

// A stream that is made anew counts from 1 again: its events are none that have ended.
func TestAnOrderGoesOnInANewStream(t *testing.T) {
	f := newFixture(t)
	for i := range 2 {
		f.stream("S", "a.*")
		if i == 0 {
			f.serve(spec("a.*", byKey))
		}
		f.await("the trigger is set up", func() bool { return f.trigger.Status(t.Context())[0].Error == "" })
		f.publishMany(i*10, i*10+10, 2)
		f.await("all", func() bool { return len(f.seen()) == i*10+10 })
		f.idle()
		if err := f.js.DeleteStream(t.Context(), "S"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent
	r.of(time.Unix(1, 0))
	for seq := range uint64(5 * maxHeld) {
		r.add(seq)
	}
	if r.has(3*maxHeld-1) || !r.has(3*maxHeld) || !r.has(5*maxHeld-1) {
		t.Error("want the latest 2,048 and no others")
	}
	r.of(time.Unix(1, 0))
	if !r.has(5*maxHeld - 1) {
		t.Error("the same consumer is forgotten")
	}
	r.of(time.Unix(2, 0))
	if r.has(5*maxHeld - 1) {
		t.Error("another consumer is known")
	}
}

// One goroutine for each event, as others have it, would let them overtake each
// other: with an order none does, though they come much faster than they are handled.
func TestEventsThatComeAtOnceDoNotOvertakeEachOther(t *testing.T) {
	f := newFixture(t)
	o := newOrdered()
	f.set(o.run(func(call) int { return 0 }, time.Millisecond))
	f.serve(spec("a.*", byKey, func(s *manifest.Event) { s.InFlight = 32 }))
	f.publishMany(0, 300, 1)
	f.await("all", func() bool { return o.count() == 300 })
	o.check(t, 300)
	var got []string
	for _, c := range f.seen() {
		got = append(got, c.text)
	}
	if strings.Join(got, " ") != strings.Join(numbered(300), " ") {
		t.Errorf("order %v", got)
	}
}

var _ jetstream.Msg = (*held)(nil)

// What a node had that is gone comes again only when the server misses it, and
// newer events come at once: they wait.
func TestNewerEventsWaitForThoseOfANodeThatIsGone(t *testing.T) {
	f := newFixtureOn(t, "127.0.0.1:0")
	f.trigger.ackWait = 2 * time.Second
	dead, over := &fake{}, make(chan struct{})
	dead.set(func(context.Context, call) error { <-over; return context.Canceled })
	tr, nc := f.lonely(dead, nats.NoReconnect())
	tr.Update(table(map[string][]manifest.Event{"shop": {spec("a.*", byKey)}}))
	f.await("the node is set up", func() bool { return tr.Status(t.Context())[0].Error == "" })
	f.publishMany(0, 10, 2)
	f.await("the node has them", func() bool { return tr.Status(t.Context())[0].InFlight == 10 && len(dead.seen()) == 2 })
	nc.Close()
	close(over)
	if _, err := f.bus.Conn().Request("$JS.API.CONSUMER.UNPIN."+EventStream+"."+f.consumer(), []byte(`{"group":"fn"}`), 10*time.Second); err != nil { // as a server does that starts anew
		t.Fatal(err)
	}
	o := newOrdered()
	f.set(o.run(func(call) int { return 0 }, 0))
	f.serve(spec("a.*", byKey))
	f.publishMany(10, 30, 2)
	f.await("all", func() bool { return o.count() == 30 })
	o.check(t, 30)
}

func TestTheOrderOutlivesAConnectionThatBreaks(t *testing.T) {
	f := newFixtureOn(t, "127.0.0.1:0")
	f.trigger.ackWait = 4 * time.Second
	const events, keys, breaks = 2000, 31, 1
	o := newOrdered()
	f.set(o.run(failSome, time.Millisecond))
	tr, nc := f.lonely(f.fake, nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1))
	tr.Update(table(map[string][]manifest.Event{"shop": {spec("a.*", byKey, func(s *manifest.Event) { s.Retries = 1000 })}}))
	f.publishMany(0, events, keys)
	for i := range breaks {
		f.awaitFor(time.Minute, "some", func() bool { return o.count() > events*(i+1)/(breaks+2) })
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitFor(time.Minute, "all", func() bool { return o.count() == events })
	o.check(t, events)
}

// consumer returns the name of that of the host's own stream.
func (f *fixture) consumer() (name string) {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), EventStream)
	if err != nil {
		f.t.Fatal(err)
	}
	for name = range stream.ConsumerNames(f.t.Context()).Name() {
	}
	return name
}

// A connection that breaks takes events along that the server believes to have sent:
// the next delivery shows it.
func TestAMissingDeliveryClosesTheGate(t *testing.T) {
	tests := []struct {
		name       string
		deliveries []uint64
		open       bool
	}{
		{"the first", []uint64{7}, true},
		{"one after the other", []uint64{7, 8, 9}, true},
		{"one is missing", []uint64{7, 9}, false},
		{"one is missing, and others follow", []uint64{7, 9, 10}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var g gate
			for i, d := range test.deliveries {
				g.came(d)
				if i == 0 {
					g.open = true // the server has said so
				}
			}
			if g.open != test.open {
				t.Errorf("open %v, want %v", g.open, test.open)
			}
		})
	}
}
