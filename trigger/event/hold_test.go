package event

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

func (f *fixture) skipped() (n int64) {
	for _, s := range f.trigger.Status(f.t.Context()) {
		n += int64(s.Skipped)
	}
	return n
}

func TestEventsThatAFilterRefusesAreTakenOff(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a", func(s *manifest.Event) { s.Filter = &manifest.Filter{Data: map[string][]any{"paid": {true}}} }))
	for range 20 {
		f.publish("a", `{"paid":true}`, `{"paid":false}`, `{}`, `no`)
	}
	f.await("all", func() bool { return len(f.seen()) == 20 })
	f.idle()
	if n := f.skipped(); n != 60 || len(f.seen(`{"paid":true}`)) != 20 {
		t.Errorf("%d skipped, want 60", n)
	}
}

func TestPerKeyLimitsThoseAtOnce(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	now, most, all, mostAll := make(map[string]int), 0, 0, 0
	f.set(func(_ context.Context, c call) error {
		mu.Lock()
		now[c.subject]++
		all++
		most, mostAll = max(most, now[c.subject]), max(mostAll, all)
		mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		now[c.subject]--
		all--
		if c.attempt == 1 && c.sequence%10 == 0 {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a.*", func(s *manifest.Event) { s.PerKey = 2 }))
	f.publishMany(0, 200, 5)
	f.await("all", func() bool { return len(f.seen()) == 220 })
	f.idle()
	if most != 2 || mostAll < 2 || mostAll > 8 {
		t.Errorf("%d of a key at once, want 2; %d in total, want up to 8", most, mostAll)
	}
}

// Nothing is known of the machine but that events come no faster than the rate allows.
func TestRate(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a", func(s *manifest.Event) { s.Rate = "100/s" }))
	f.publish("a", numbered(250)...)
	f.await("all", func() bool { return len(f.seen()) == 250 })
	calls := f.seen()
	for i := range calls {
		for j := i + 150; j < len(calls); j += 10 { // a second's worth may come at once
			allowed := float64(100+30) + 100*calls[j].at.Sub(calls[i].at).Seconds()
			if n := j - i + 1; float64(n) > allowed {
				t.Fatalf("%d events in %v", n, calls[j].at.Sub(calls[i].at))
			}
		}
	}
	f.idle()
}

// Those beyond the rate wait in the stream, where another node finds them.
func TestEventsBeyondTheRateWaitInTheStream(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a", func(s *manifest.Event) { s.Rate = "1/h" }))
	f.publish("a", numbered(50)...)
	f.await("the first", func() bool { return len(f.seen()) == 1 })
	f.await("the others are left alone", func() bool {
		s := f.trigger.Status(t.Context())[0]
		return s.Pending == 49 && s.InFlight == 0
	})
	f.serve(spec("a"))
	f.await("all", func() bool { return len(f.seen()) == 50 })
}

func TestBucket(t *testing.T) {
	b := newBucket("100/s")
	if n := b.take(1000, 0); n != 100 {
		t.Errorf("at first %d, want 100", n)
	}
	if n := b.take(1000, 0); n > 50 { // so many seconds does no machine sleep here
		t.Errorf("and at once %d more", n)
	}
	b.giveBack(1000)
	if n := b.take(1000, 60); n != 40 {
		t.Errorf("with 60 on their way %d, want 40", n)
	}
	b = newBucket("1/h")
	if n := b.take(5, 0); n != 1 {
		t.Errorf("of one an hour %d, want 1", n)
	}
	if n := b.take(5, 0); n != 0 {
		t.Errorf("of one an hour %d more", n)
	}
	if newBucket("") != nil {
		t.Error("a bucket without a rate")
	}
}

func TestDebounceHandlesTheLatest(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a.*", func(s *manifest.Event) { s.Debounce = time.Second }))
	f.publishMany(0, 300, 3)
	f.await("all", func() bool { return int64(len(f.seen()))+f.skipped() == 300 })
	f.idle()
	last := make(map[string]call)
	for _, c := range f.seen() {
		if c.sequence < last[c.subject].sequence {
			t.Errorf("%+v comes after %+v", c, last[c.subject])
		}
		last[c.subject] = c
	}
	if last["a.0"].text != "297" || last["a.1"].text != "298" || last["a.2"].text != "299" || len(f.seen()) > 30 {
		t.Errorf("%d events handled, at last %+v; want the latest of three keys, and few others", len(f.seen()), last)
	}
}

func TestThrottleHandlesTheFirstAndThenTheLatest(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a.*", func(s *manifest.Event) { s.Throttle = 3 * time.Second }))
	f.publish("a.0", "first")
	f.await("the first, at once", func() bool { return len(f.seen()) == 1 })
	f.publishMany(0, 100, 1)
	f.await("the latest", func() bool { return len(f.seen("99")) == 1 })
	f.idle()
	calls := f.seen()
	if int64(len(calls))+f.skipped() != 101 || len(calls) > 10 {
		t.Errorf("calls %+v, skipped %d; want the first and the latest", calls, f.skipped())
	}
	for i := range calls[1:] {
		if d := calls[i+1].at.Sub(calls[i].at); d < 2*time.Second { // each may be late
			t.Errorf("%+v comes %v after the one before", calls[i+1], d)
		}
	}
}

// What failed and was overtaken is not tried again: it would undo the latest.
func TestAFailedEventIsSkippedForALaterOne(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.text == "old" {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a", func(s *manifest.Event) {
		s.Debounce, s.Backoff, s.BackoffMax = 10*time.Millisecond, time.Hour, time.Hour
	}))
	f.publish("a", "old")
	f.await("the old", func() bool { return len(f.seen()) == 1 })
	f.publish("a", "new")
	f.await("the new", func() bool { return len(f.seen("new")) == 1 })
	f.idle()
	if len(f.seen()) != 2 || f.skipped() != 1 || len(f.letters()) > 0 {
		t.Errorf("calls %+v, skipped %d", f.seen(), f.skipped())
	}
}

func TestAHeldEventThatFailsIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.text == "poison" || c.attempt < 3 {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("a.*", func(s *manifest.Event) { s.Debounce = 10 * time.Millisecond }))
	f.publish("a.1", "x")
	f.publish("a.2", "poison")
	f.await("a dead letter and a success", func() bool { return len(f.letters()) == 1 && len(f.seen("x")) == 3 })
	f.idle()
	if n := len(f.seen("poison")); n != 4 || len(f.seen("x")) != 3 || f.skipped() != 0 {
		t.Errorf("%d and %d attempts, want 4 and 3; %d skipped", n, len(f.seen("x")), f.skipped())
	}
}

// Held events are told the server of, and handed back when the host stops.
func TestHeldEventsOutliveARestart(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = 4 * time.Second
	f.serve(spec("a.*", func(s *manifest.Event) { s.Debounce = time.Hour }))
	f.publishMany(0, 60, 3)
	f.await("they are held", func() bool { s := f.trigger.Status(t.Context())[0]; return s.InFlight == 3 && s.Skipped == 57 })
	time.Sleep(f.trigger.ackWait * 3 / 4)
	if s := f.trigger.Status(t.Context())[0]; s.InFlight != 3 || s.Retried > 0 {
		t.Errorf("held %d, of which the server has missed %d", s.InFlight, s.Retried)
	}
	f.close(f.trigger)
	f.trigger = f.open()
	f.serve(spec("a.*", func(s *manifest.Event) { s.Debounce = 10 * time.Millisecond }))
	f.await("the latest of each", func() bool { return len(f.seen()) == 3 })
	f.idle()
}

// One of three nodes gets a message that none has asked to have for itself: without
// a queue group of its own each would.
func TestOneOfThreeNodesGetsAMessage(t *testing.T) {
	f := newFixture(t)
	nodes := []*Trigger{f.trigger, f.open(), f.open()}
	for _, tr := range nodes {
		m := manifest.Default()
		m.Triggers.Subscribe = []manifest.Subscribe{{Subject: "live"}}
		tb := table(map[string][]manifest.Event{"shop": nil})
		tb.Functions["shop"].Manifest = m
		tr.Update(tb)
	}
	const messages = 300
	for i := range messages {
		if err := f.bus.Conn().PublishMsg(&nats.Msg{Subject: "live", Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.bus.Conn().FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	f.await("all", func() bool { return len(f.seen()) >= messages })
	time.Sleep(50 * time.Millisecond)
	if n := len(f.seen()); n != messages {
		t.Errorf("%d messages were handled, want %d", n, messages)
	}
}

// The latest event of a key is the latest of all nodes: one of them reads.
func TestTwoNodesDebounceTogether(t *testing.T) {
	f := newFixture(t)
	other := &fixture{fake: f.fake, t: t, bus: f.bus, js: f.js}
	other.trigger = other.open()
	for _, one := range []*fixture{f, other} {
		one.serve(spec("a.*", func(s *manifest.Event) { s.Debounce = time.Second }))
	}
	f.publishMany(0, 200, 2)
	f.await("all", func() bool { return int64(len(f.seen()))+f.skipped()+other.skipped() == 200 })
	f.idle()
	if n := len(f.seen()); n > 20 || len(f.seen("198")) != 1 || len(f.seen("199")) != 1 {
		t.Errorf("%d events handled; want the latest of two keys, and few others", n)
	}
}

// A trigger is left alone unless its manifest says something else.
func TestAnUpdateRestartsWhatHasChanged(t *testing.T) {
	f := newFixture(t)
	with := func(paid any) manifest.Event {
		return spec("a", func(s *manifest.Event) { s.Filter = &manifest.Filter{Data: map[string][]any{"paid": {paid}}} })
	}
	reader := func() *reader {
		f.trigger.mu.Lock()
		defer f.trigger.mu.Unlock()
		for _, r := range f.trigger.readers {
			return r
		}
		return nil
	}
	f.serve(with(true))
	first := reader()
	f.serve(with(true))
	if reader() != first {
		t.Error("the same manifest restarts the reader")
	}
	f.serve(with("yes"))
	if reader() == first {
		t.Error("another filter does not restart the reader")
	}
	f.publish("a", `{"paid":true}`, `{"paid":"yes"}`)
	f.await("what the new filter lets pass", func() bool { return len(f.seen()) == 1 && f.skipped() == 1 })
	f.idle()
}

// Those that are handled one by one are in order anyway.
func TestAnOrderOfEventsOneByOne(t *testing.T) {
	f := newFixture(t)
	o := newOrdered()
	f.set(o.run(failSome, 0))
	f.serve(spec("a.*", byKey, func(s *manifest.Event) { s.InFlight = 1 }))
	f.publishMany(0, 200, 7)
	f.await("all", func() bool { return o.count() == 200 })
	f.idle()
	o.check(t, 200)
	if o.most != 1 {
		t.Errorf("%d at once", o.most)
	}
}
