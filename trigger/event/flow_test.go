package event

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

func TestNeverMoreInFlightThanAllowed(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		time.Sleep(time.Millisecond)
		if c.attempt == 1 && strings.HasSuffix(c.text, "7") {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 5 }))
	f.publish("a", numbered(200)...)
	f.await("all", func() bool { return len(f.seen()) == 220 })
	f.idle()
	if f.most != 5 {
		t.Errorf("%d at once, want 5", f.most)
	}
}

// One by one, they come in the order in which they were stored: goroutines for
// each would let them overtake each other.
func TestOneInFlightKeepsTheOrder(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.attempt == 1 && strings.HasSuffix(c.text, "7") {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 1 }))
	texts := numbered(200)
	f.publish("a", texts...)
	f.await("all", func() bool { return len(f.seen()) == 220 })
	var got []string
	for _, c := range f.seen() {
		got = append(got, c.text)
	}
	if got = slices.Compact(got); !slices.Equal(got, texts) {
		t.Errorf("order %v", got)
	}
}

// Far more events fail than may be in flight, and wait long: the others pass.
func TestPoisonDoesNotDelayItsNeighbours(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.text == "poison" {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a", func(s *manifest.Event) { s.Backoff, s.BackoffMax = time.Hour, time.Hour }))
	for range 10 {
		f.publish("a", "poison", "poison", "poison", "poison", "poison")
		f.publish("a", numbered(5)...)
	}
	start := time.Now()
	f.await("the neighbours", func() bool { return len(f.seen(numbered(5)...)) == 50 })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	f.await("50 that wait", func() bool { return f.trigger.Status(t.Context())[0].InFlight == 50 })
}

func TestTwoNodesShareTheWork(t *testing.T) {
	f := newFixture(t)
	other := &fixture{fake: &fake{}, t: t, bus: f.bus, js: f.js}
	other.trigger = other.open()
	for _, one := range []*fixture{f, other} {
		one.set(func(context.Context, call) error { time.Sleep(time.Millisecond); return nil })
		one.serve(spec("a"))
	}
	f.publish("a", numbered(400)...)
	f.await("all", func() bool { return len(f.seen())+len(other.seen()) >= 400 })
	f.idle()
	a, b := len(f.seen()), len(other.seen())
	if a+b != 400 || a < 50 || b < 50 {
		t.Errorf("the nodes had %d and %d of 400 events", a, b)
	}
}

// An event is one's own as long as its function runs, however long that is.
func TestAHandlerThatTakesLong(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = 500 * time.Millisecond
	f.set(func(context.Context, call) error { time.Sleep(1500 * time.Millisecond); return nil })
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 2 }))
	f.publish("a", numbered(6)...)
	f.await("all", func() bool { return len(f.seen()) == 6 && f.trigger.Status(t.Context())[0].InFlight == 0 })
	for _, c := range f.seen() {
		if c.attempt != 1 {
			t.Errorf("%+v came again", c)
		}
	}
}

// What nobody tells the server of, since the host has ended, comes to another.
func TestEventsOfANodeThatIsGone(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = 300 * time.Millisecond
	f.serve(spec("a"))
	f.idle()
	f.serve()
	f.publish("a", "x")
	key := newReader(f.trigger, "shop", new(spec("a"))).key
	c, err := f.js.Consumer(t.Context(), EventStream, key)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next() // somebody takes it, and is never heard of again
	if err != nil || string(m.Data()) != "x" {
		t.Fatal(err)
	}
	meta, err := m.Metadata() // the first attempt, or the second if the reader that ends has handed it back
	if err != nil {
		t.Fatal(err)
	}
	f.serve(spec("a"))
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
	if c := f.seen()[0]; c.attempt != int64(meta.NumDelivered)+1 {
		t.Errorf("%+v, want the attempt after %d", c, meta.NumDelivered)
	}
}

func TestCloseWaitsForEvents(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { time.Sleep(200 * time.Millisecond); return nil })
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 4 }))
	f.publish("a", numbered(8)...)
	f.await("they begin", func() bool { return len(f.seen()) == 4 })
	f.close(f.trigger)
	if n := len(f.seen()); n != 4 {
		t.Errorf("%d events began, want no more than those 4", n)
	}
	next := f.open()
	f.serveOn(next, spec("a"))
	f.await("the others", func() bool { return len(f.seen()) == 8 })
	for _, c := range f.seen() {
		if c.attempt != 1 {
			t.Errorf("%+v came again, though it had ended", c)
		}
	}
}

// What has not ended when the time is over is handed back, and comes again at once.
func TestCloseHandsBack(t *testing.T) {
	f := newFixture(t)
	f.set(func(ctx context.Context, _ call) error { <-ctx.Done(); return ctx.Err() })
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 4 }))
	f.publish("a", numbered(8)...)
	f.await("they begin", func() bool { return len(f.seen()) == 4 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	f.trigger.Close(ctx)
	f.set(nil)
	next, start := f.open(), time.Now()
	f.serveOn(next, spec("a"))
	f.await("all", func() bool { return len(f.seen()) == 12 })
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("handed back after %v", took)
	}
}

// Under load there is always something on its way when a host stops.
func TestStoppingUnderLoadLeavesNothingBehind(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 64 }))
	f.publish("a", numbered(2000)...)
	tr := f.trigger
	for range 10 {
		time.Sleep(5 * time.Millisecond)
		f.close(tr)
		tr = f.open()
		f.serveOn(tr, spec("a", func(s *manifest.Event) { s.InFlight = 64 }))
	}
	start := time.Now()
	f.trigger = tr
	f.idle()
	if took := time.Since(start); took > ackWait/2 {
		t.Errorf("the rest took %v: something was left until the server missed it", took)
	}
	texts := make(map[string]bool)
	for _, c := range f.seen() {
		texts[c.text] = true
	}
	if len(texts) != 2000 {
		t.Errorf("%d of 2000 events", len(texts))
	}
}

func TestAHostFaultDoesNotHoldUpClose(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return wire.Errorf(wire.Unavailable, "not now") })
	f.serve(spec("a", func(s *manifest.Event) { s.Backoff, s.BackoffMax = time.Hour, time.Hour }))
	f.publish("a", "x")
	f.await("it begins", func() bool { return len(f.seen()) > 0 })
	start := time.Now()
	f.close(f.trigger)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	f.set(nil)
	f.serveOn(f.open(), spec("a"))
	f.await("the event", func() bool { return len(f.seen()) == 2 })
}

func TestPublish(t *testing.T) {
	f := newFixture(t)
	sub, err := f.bus.Conn().SubscribeSync("free")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "free", Data: []byte("x")})
	if err != nil || stored != (Stored{}) {
		t.Errorf("without a stream: %+v, %v", stored, err)
	}
	if m, err := sub.NextMsg(5 * time.Second); err != nil || string(m.Data) != "x" {
		t.Errorf("a listener got %v, %v", m, err)
	}
	f.stream("mine", "taken")
	m := nats.NewMsg("taken")
	m.Header.Set("Nats-Msg-Id", "one")
	for i, want := range []Stored{{"mine", 1, false}, {"mine", 1, true}} {
		if stored, err = f.trigger.Publish(t.Context(), m); err != nil || stored != want {
			t.Errorf("%d: %+v, %v", i, stored, err)
		}
	}
	if err := f.js.DeleteStream(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	if stored, err = f.trigger.Publish(t.Context(), m); err != nil || stored != (Stored{}) {
		t.Errorf("when the stream has gone: %+v, %v", stored, err)
	}
	f.stream("again", "taken")
	f.await("the new stream", func() bool {
		stored, err = f.trigger.Publish(t.Context(), &nats.Msg{Subject: "taken"})
		return err == nil && stored.Stream == "again"
	})
}

// What the host answers to, and the server, is no subject of an event.
func TestCheckSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"a": "", "orders.created": "", "fnord": "", "deadline": "", "_x": "", "é.ü": "", "fn": "", "dead": "",
		"": "want parts", ".a": "want parts", "a.": "want parts", "a..b": "want parts", strings.Repeat("a", 256): "want parts",
		"a b": "space", "a\tb": "space", "a\r\nb": "space", "a\x00b": "space", "a.*": "wildcard", "a.>": "wildcard", "a*b": "wildcard",
		"$JS.API.STREAM.LIST": "own", "$SYS.x": "own", "_INBOX.x": "own", "fn.hello": "own", "dead.hello": "own",
	} {
		err := CheckSubject(subject)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", subject, err, want)
		}
	}
}

func TestRedrive(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return failing(wire.Internal, -1) })
	f.serve(spec("a"))
	f.publish("a", "x")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	id := f.letters()[0].ID
	if err := f.trigger.Redrive(t.Context(), id, ""); err == nil || len(f.letters()) != 1 {
		t.Errorf("it failed again: %v; %d letters", err, len(f.letters()))
	}
	f.set(nil)
	if err := f.trigger.Redrive(t.Context(), id, ""); err != nil || len(f.letters()) != 0 {
		t.Errorf("%v; %d letters are left", err, len(f.letters()))
	}
	if c := f.seen(); c[2].attempt != 2 || c[2].subject != "a" || c[2].sequence != 1 {
		t.Errorf("%+v", c[2])
	}
	for _, err := range []error{f.trigger.Redrive(t.Context(), id, ""), f.trigger.Purge(t.Context(), id)} {
		if !errors.Is(err, ErrNoLetter) {
			t.Errorf("a letter that has gone: %v", err)
		}
	}
}

// A retry is kept by the server, and not in the memory of a host that ends.
func TestRetriesOutliveTheHost(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.attempt == 1 {
			return failing(wire.Internal, 500*time.Millisecond)
		}
		return nil
	})
	f.serve(spec("a"))
	f.publish("a", "x")
	f.await("the first attempt", func() bool { return len(f.seen()) == 1 && f.trigger.Status(t.Context())[0].InFlight == 1 })
	f.close(f.trigger)
	f.serveOn(f.open(), spec("a"))
	f.await("the second", func() bool { return len(f.seen()) == 2 })
	if calls := f.seen(); calls[1].attempt != 2 || calls[1].at.Sub(calls[0].at) < 500*time.Millisecond {
		t.Errorf("calls %+v", calls)
	}
}
