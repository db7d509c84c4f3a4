package event

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

func batches(size int, window time.Duration, change ...func(*manifest.Event)) manifest.Event {
	return spec("in", append(change, func(s *manifest.Event) { s.InFlight, s.Batch = 2, &manifest.Batch{Size: size, Window: window} })...)
}

func TestBatchesAreFullOrTheirTimeIsUp(t *testing.T) {
	f := newFixture(t)
	f.serve(batches(10, 300*time.Millisecond))
	f.publish("in", numbered(25)...)
	f.await("all are handled", func() bool { return len(f.seen()) == 25 })
	f.idle()
	sizes := f.batchSizes()
	if slices.Max(sizes) != 10 || len(sizes) > 6 {
		t.Errorf("batches of %v", sizes)
	}
	f.publish("in", "alone")
	f.await("the last one", func() bool { return len(f.seen("alone")) == 1 })
}

func TestItemsThatFailComeAgainAlone(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		switch {
		case c.text == "7" && c.attempt < 3:
			return failing(wire.Internal, 0)
		case c.text == "9":
			return failing(wire.Internal, -1)
		}
		return nil
	})
	f.serve(batches(20, 200*time.Millisecond))
	f.publish("in", numbered(20)...)
	f.await("the third attempt of 7", func() bool { return len(f.seen("7")) == 3 })
	f.idle()
	if n := len(f.seen()); n != 22 {
		t.Errorf("%d attempts of 20 events, want 2 more", n)
	}
	if list := f.letters(); len(list) != 1 || string(list[0].Data) != "9" {
		t.Errorf("dead letters: %+v", list)
	}
}

func TestAPoisonEventTakesNoOthersOfItsBatchAlong(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.text == "poison" {
			return errWhole // the worker ends, and with it all of the batch
		}
		return nil
	})
	f.serve(batches(50, 100*time.Millisecond))
	f.publish("in", append(numbered(30), "poison")...)
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	f.idle()
	if list := f.letters(); len(list) != 1 || string(list[0].Data) != "poison" || list[0].Attempts != 4 {
		t.Errorf("dead letters: %+v", list[0])
	}
	for _, text := range numbered(30) {
		if calls := f.seen(text); len(calls) > 2 || len(calls) == 0 {
			t.Errorf("%s: %+v", text, calls)
		}
	}
}

func TestEventsOfABatchThatWaitAreKept(t *testing.T) {
	f := newFixture(t)
	f.trigger.ackWait = time.Second
	f.serve(batches(10, 3*time.Second))
	f.publish("in", "a", "b")
	f.await("both", func() bool { return len(f.seen()) == 2 })
	f.idle()
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

func TestABatchThatHasNotBegunIsHandedBack(t *testing.T) {
	f := newFixture(t)
	f.serve(batches(10, time.Minute))
	f.publish("in", "a", "b")
	f.await("they are in hand", func() bool { return f.trigger.Status(t.Context())[0].InFlight == 2 })
	f.close(f.trigger)
	f.trigger = f.open()
	f.serve(batches(10, 50*time.Millisecond))
	f.await("both", func() bool { return len(f.seen()) == 2 })
	f.idle()
}

func TestAnEventThatNoFunctionCanGetTakesNoOthersOfItsBatchAlong(t *testing.T) {
	f := newFixture(t)
	f.serve(batches(20, 300*time.Millisecond))
	for _, m := range []*nats.Msg{
		{Subject: "in", Data: []byte("large"), Header: nats.Header{"ce-large": {strings.Repeat("x", 65_460)}}},
		{Subject: "in", Data: []byte("loop"), Header: nats.Header{HeaderDepth: {"33"}}},
	} {
		f.publish("in", "before "+string(m.Data))
		if _, err := f.trigger.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	f.publish("in", "behind")
	f.await("the others", func() bool { return len(f.seen("before large", "before loop", "behind")) == 3 })
	f.idle()
	if list := f.letters(); len(list) != 2 || string(list[0].Data) != "large" && string(list[0].Data) != "loop" {
		t.Errorf("%d dead letters: %+v", len(list), list)
	}
	if n := len(f.seen()); n != 3 {
		t.Errorf("%d attempts", n)
	}
}

// Small batches, and events that come again alone, take no more places than full ones.
func TestBatchesInFlight(t *testing.T) {
	f := newFixture(t)
	release := make(chan bool)
	f.set(func(_ context.Context, c call) error {
		<-release
		if c.attempt == 1 {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	one := batches(10, manifest.MinQuiet)
	one.InFlight = 1
	f.serve(one)
	for _, text := range numbered(5) {
		f.publish("in", text)
		time.Sleep(50 * time.Millisecond) // longer than the first waits for others
	}
	f.await("the first one", func() bool { return len(f.seen()) > 0 })
	close(release)
	f.await("all have come again", func() bool { return len(f.seen()) == 10 })
	f.idle()
	f.fake.mu.Lock()
	defer f.fake.mu.Unlock()
	if f.most != 1 {
		t.Errorf("%d batches at once", f.most)
	}
}

func TestDedupeAcrossStreamsAndAttempts(t *testing.T) {
	f := newFixture(t)
	if _, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "IN", Subjects: []string{"in"}, Duplicates: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	f.set(func(_ context.Context, c call) error {
		if c.attempt < 3 && strings.HasPrefix(c.text, "flaky") {
			return failing(wire.Internal, 0)
		}
		return nil
	})
	f.serve(spec("in", func(s *manifest.Event) { s.Dedupe = time.Hour }))
	send := func(text, header, id string) {
		t.Helper()
		m := nats.NewMsg("in")
		m.Data = []byte(text)
		if header != "" {
			m.Header.Set(header, id)
		}
		f.await("the stream itself has forgotten", func() bool {
			ack, err := f.js.PublishMsg(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			return !ack.Duplicate
		})
	}
	for range 3 {
		send("flaky one", jetstream.MsgIDHeader, "1")
		send("two", "Ce-Id", "2")
		send("no id", "", "")
	}
	for _, source := range []string{"/a", "/b"} { // each counts by itself
		m := msgTo("in", "of "+source)
		m.Header["ce-id"], m.Header["ce-source"] = []string{"2"}, []string{source}
		f.trigger.Publish(t.Context(), m)
	}
	f.await("all are handled", func() bool {
		return len(f.seen("of /a", "of /b")) == 2 && len(f.seen("flaky one")) == 3 && len(f.seen("two")) == 1 && len(f.seen("no id")) == 3
	})
	f.idle()
	if n := len(f.seen()); n != 9 {
		t.Errorf("%d attempts, want 9: %+v", n, f.seen())
	}
	if s := f.trigger.Status(t.Context())[0]; s.Skipped != 4 {
		t.Errorf("%d skipped, want 4", s.Skipped)
	}
}

var errWhole = errors.New("the whole batch")

// batchSizes returns how many events each batch had.
func (f *fixture) batchSizes() (sizes []int) {
	f.fake.mu.Lock()
	defer f.fake.mu.Unlock()
	return slices.Clone(f.sizes)
}
