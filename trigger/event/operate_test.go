package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// status returns that of the only trigger.
func (f *fixture) status() Status {
	f.t.Helper()
	list := f.trigger.Status(f.t.Context())
	if len(list) != 1 {
		f.t.Fatalf("%d triggers, want one: %+v", len(list), list)
	}
	return list[0]
}

func TestStatusChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.stream("mine", "orders.created")
	f.trigger.Update(table(map[string][]manifest.Event{"shop": {spec("orders.*")}}))
	f.await("an error", func() bool { return f.reported() != nil })
	if s := f.status(); !strings.Contains(s.Error, "stream mine takes orders.created") || s.Consumer == "" {
		t.Errorf("status %+v", s)
	}
	r := newReader(f.trigger, "shop", new(spec("new.*")))
	r.ctx = t.Context()
	if s := r.status(t.Context()); !strings.Contains(s.Error, "no stream takes it") {
		t.Errorf("status %+v", s)
	}
	named := spec("new.*")
	named.Stream = "NOPE"
	r = newReader(f.trigger, "shop", &named)
	r.ctx = t.Context()
	if s := r.status(t.Context()); !strings.HasPrefix(s.Error, "there is no stream NOPE: make it") {
		t.Errorf("status %+v", s)
	}
	if _, err := f.js.Stream(t.Context(), EventStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream %s: %v", EventStream, err)
	}
}

func TestStatusTellsOfTheOldestEventAndTheLatestError(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return failing(wire.Internal, time.Hour) })
	f.serve(spec("a.*"))
	if s := f.status(); s.Oldest != nil || s.LastError != "" || s.Kind != trigger.Event {
		t.Errorf("before the first event: %+v", s)
	}
	f.publish("a.b", "x", "y")
	f.await("both wait for a retry", func() bool { return f.status().LastError != "" && f.status().InFlight == 2 })
	s, err := f.js.Stream(t.Context(), EventStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if s := f.status(); s.Oldest == nil || !s.Oldest.Equal(m.Time) || s.LastError != "it failed" || time.Since(*s.LastFailed) > time.Hour {
		t.Errorf("status %+v, want the oldest of %v", s, m.Time)
	}
}

func TestAPausedTriggerBeginsNothing(t *testing.T) {
	f := newFixture(t)
	hold := make(chan struct{})
	f.set(func(_ context.Context, c call) error {
		if c.text == "held" {
			<-hold
		}
		return nil
	})
	f.serve(spec("a"))
	f.publish("a", "held")
	f.await("it begins", func() bool { return len(f.seen("held")) == 1 })
	list, err := f.trigger.Pause(t.Context(), "shop", "a", time.Time{})
	if err != nil || len(list) != 1 || !list[0].Paused || list[0].PausedUntil != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	close(hold)
	f.await("what had begun ends", func() bool { return f.status().InFlight == 0 })
	f.publish("a", "x")

	// Neither a change of settings nor another start ends it.
	f.serve(spec("a", func(s *manifest.Event) { s.Retries = 9 }))
	f.close(f.trigger)
	f.trigger = f.open()
	f.serve(spec("a"))
	f.await("the reader waits", func() bool {
		c, err := f.js.Consumer(t.Context(), EventStream, f.status().Consumer)
		return err == nil && c.CachedInfo().NumWaiting > 0
	})
	f.publish("a", "y")
	f.await("both are counted", func() bool { return f.status().Pending == 2 }) // a consumer learns of an event a moment later
	if s := f.status(); !s.Paused || s.Pending != 2 || s.Oldest == nil || len(f.seen()) != 1 {
		t.Errorf("%+v after %d calls", s, len(f.seen()))
	}
	if list, err := f.trigger.Resume(t.Context(), "shop", ""); err != nil || len(list) != 1 || list[0].Paused {
		t.Errorf("%+v, %v", list, err)
	}
	f.await("those that waited", func() bool { return len(f.seen("x", "y")) == 2 })
	f.idle()
}

// What was held for its key, or for a batch, has not begun.
func TestAPausedTriggerHandsBackWhatItHolds(t *testing.T) {
	for name, s := range map[string]manifest.Event{
		"order":    spec("a", func(s *manifest.Event) { s.Order, s.InFlight = manifest.OrderKey, 2 }),
		"perKey":   spec("a", func(s *manifest.Event) { s.PerKey, s.InFlight = 1, 2 }),
		"batch":    spec("a", func(s *manifest.Event) { s.Batch, s.InFlight = &manifest.Batch{Size: 2, Window: manifest.MinQuiet}, 1 }),
		"gathered": spec("a", func(s *manifest.Event) { s.Batch, s.InFlight = &manifest.Batch{Size: 20, Window: time.Minute}, 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			naks := make(chan *nats.Msg, 100)
			if _, err := f.bus.Conn().ChanSubscribe("$JS.ACK.>", naks); err != nil {
				t.Fatal(err)
			}
			hold := make(chan struct{})
			release := sync.OnceFunc(func() { close(hold) })
			t.Cleanup(release) // of a test that has failed, too
			f.set(func(context.Context, call) error { <-hold; return nil })
			f.serve(s)
			f.publish("a", "0")
			f.await("it is there", func() bool { return f.status().InFlight == 1 && (name == "gathered" || len(f.seen()) == 1) })
			f.publish("a", "1")
			f.await("both are", func() bool { return f.status().InFlight == 2 })
			if _, err := f.trigger.Pause(t.Context(), "shop", "", time.Time{}); err != nil {
				t.Fatal(err)
			}
			begun := len(f.seen())
			left := 2 - begun
			f.await("they are handed back", func() bool {
				select {
				case m := <-naks:
					if string(m.Data) == "-NAK" {
						left--
					}
				default:
				}
				return left == 0
			})
			release()
			f.await("what had begun ends", func() bool { f.fake.mu.Lock(); defer f.fake.mu.Unlock(); return f.now == 0 })
			time.Sleep(100 * time.Millisecond)
			if n := len(f.seen()); n != begun {
				t.Errorf("%d were handled in the pause", n-begun)
			}
			if _, err := f.trigger.Resume(t.Context(), "shop", ""); err != nil {
				t.Fatal(err)
			}
			f.await("all", func() bool { return len(f.seen()) == 2 })
			f.idle()
		})
	}
}

func TestAPauseEndsByItself(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a"))
	if list, err := f.trigger.Pause(t.Context(), "shop", "", time.Now().Add(time.Second)); err != nil || list[0].PausedUntil == nil {
		t.Fatalf("%+v, %v", list, err)
	}
	f.publish("a", "x")
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
	if s := f.status(); s.Paused {
		t.Errorf("status %+v", s)
	}
}

// A request of a paused consumer is answered by signs of life, and by its end: the
// reader must not take the server for dead and begin anew.
func TestAPausedTriggerIsNoDeadOne(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a"))
	if _, err := f.trigger.Pause(t.Context(), "shop", "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2*heartbeat + heartbeat/2 + time.Second)
	if err := f.reported(); err != nil {
		t.Errorf("reported: %v", err)
	}
	if s := f.status(); s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

func TestWhatCannotBePaused(t *testing.T) {
	f := newFixture(t)
	tb := table(map[string][]manifest.Event{"shop": {spec("a")}, "bare": nil})
	m := manifest.Default()
	m.Triggers.Subscribe = []manifest.Subscribe{{Subject: "live"}}
	tb.Functions["listener"] = &trigger.Function{Name: "listener", Manifest: m}
	f.trigger.Update(tb)
	for _, test := range []struct {
		function, subject string
		code              wire.Code
		text              string
	}{
		{"listener", "", wire.Unprocessed, "nothing is stored there"},
		{"listener", "live", wire.Unprocessed, "nothing is stored there"},
		{"shop", "b", wire.NotFound, "has no trigger b"},
		{"bare", "", wire.NotFound, "no event trigger or schedule"},
		{"nobody", "", wire.NotFound, "no event trigger or schedule"},
	} {
		_, err := f.trigger.Pause(t.Context(), test.function, test.subject, time.Time{})
		if e := wire.AsError(err); e == nil || e.Code != test.code || !strings.Contains(e.Message, test.text) {
			t.Errorf("%s %s: %v", test.function, test.subject, err)
		}
	}
	if _, err := f.trigger.Pause(t.Context(), "shop", "", time.Now().Add(-time.Hour)); wire.AsError(err).Code != wire.BadRequest {
		t.Errorf("a pause that is over: %v", err)
	}
	list := f.trigger.Status(t.Context())
	if len(list) != 2 || list[0].Kind != trigger.Subscribe || list[0].Subject != "live" || list[0].Error != "" {
		t.Errorf("status %+v", list)
	}
}

// events returns the sequence numbers of a list, and its error.
func (f *fixture) events(q Range) (string, error) {
	list, err := f.trigger.Events(f.t.Context(), q)
	var numbers []string
	for _, e := range list {
		numbers = append(numbers, fmt.Sprint(e.Sequence))
	}
	return strings.Join(numbers, " "), err
}

func TestEventsOfAStream(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct %v", direct), func(t *testing.T) {
			f := newFixture(t)
			s, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"a.*"}, AllowDirect: direct})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				f.publish([]string{"a.even", "a.odd"}[i%2], fmt.Sprint(i)) // 1 is even
			}
			for _, gone := range []uint64{1, 6, 20} {
				if err := s.DeleteMsg(t.Context(), gone); err != nil {
					t.Fatal(err)
				}
			}
			at := func(sequence uint64) time.Time {
				m, err := s.GetMsg(t.Context(), sequence)
				if err != nil {
					t.Fatal(err)
				}
				return m.Time
			}
			for _, test := range []struct {
				name string
				q    Range
				want string
			}{
				{"the latest", Range{Limit: 3}, "17 18 19"},
				{"the latest on a subject", Range{Subject: "a.odd", Limit: 3}, "14 16 18"},
				{"all on a subject", Range{Subject: "a.odd"}, "2 4 8 10 12 14 16 18"},
				{"from a number", Range{Stream: "mine", From: Point{Sequence: 5}, Limit: 3}, "5 7 8"},
				{"up to a number", Range{Stream: "mine", To: Point{Sequence: 7}, Limit: 3}, "4 5 7"},
				{"from a time", Range{From: Point{Time: at(8)}, Limit: 2}, "8 9"},
				{"up to a time", Range{To: Point{Time: at(8)}, Limit: 2}, "7 8"},
				{"between times, on a subject", Range{Subject: "*.odd", From: Point{Time: at(3)}, To: Point{Time: at(9)}}, "4 8"},
				{"from after the end", Range{From: Point{Time: at(19).Add(time.Hour)}}, ""},
				{"up to before the begin", Range{To: Point{Time: at(2).Add(-time.Hour)}}, ""},
				{"on another subject", Range{Subject: "b"}, ""},
			} {
				if got, err := f.events(test.q); err != nil || got != test.want {
					t.Errorf("%s: %s, %v, want %s", test.name, got, err, test.want)
				}
			}
		})
	}
}

func TestEventsOfSeveralStreams(t *testing.T) {
	f := newFixture(t)
	f.stream("one", "a.>")
	f.stream("two", "b.>")
	if _, err := f.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	f.serve(spec("c")) // which makes the host's streams
	for i := range 4 {
		f.publish("a.x", fmt.Sprint("a", i))
		f.publish("b.x", fmt.Sprint("b", i))
	}
	list, err := f.trigger.Events(t.Context(), Range{Limit: 5})
	var texts []string
	for _, e := range list {
		texts = append(texts, e.Begin)
	}
	if got := strings.Join(texts, " "); err != nil || got != "b1 a2 b2 a3 b3" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := f.events(Range{Stream: "KV_bucket"}); err != nil {
		t.Errorf("a bucket that is named: %v", err)
	}
	if _, err := f.events(Range{Stream: "none"}); !errors.Is(err, ErrNoStream) {
		t.Errorf("a stream that is not there: %v", err)
	}
	if _, err := f.events(Range{Subject: "nobody", From: Point{Sequence: 1}}); !errors.Is(err, ErrNoEvent) {
		t.Errorf("a subject of no stream: %v", err)
	}
	if _, err := f.events(Range{From: Point{Sequence: 1}}); wire.AsError(err).Code != wire.BadRequest {
		t.Errorf("a sequence number of no stream: %v", err)
	}
}

func TestOneStoredEvent(t *testing.T) {
	f := newFixture(t)
	f.stream("mine", "a")
	m := nats.NewMsg("a")
	m.Data = []byte(`{"specversion":"1.0","type":"order.created","data":1}`)
	m.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	if _, err := f.trigger.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	e, err := f.trigger.Event(t.Context(), "mine", 1)
	if err != nil || string(e.Data) != string(m.Data) || e.Type != "order.created" || e.Subject != "a" || e.Size != len(m.Data) || e.Header.Get("Content-Type") == "" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, err := range []error{second(f.trigger.Event(t.Context(), "mine", 2)), second(f.trigger.Event(t.Context(), "mine", 0))} {
		if !errors.Is(err, ErrNoEvent) {
			t.Errorf("%v, want %v", err, ErrNoEvent)
		}
	}
	if _, err := f.trigger.Event(t.Context(), "none", 1); !errors.Is(err, ErrNoStream) {
		t.Errorf("%v, want %v", err, ErrNoStream)
	}
}

func second[T any](_ T, err error) error { return err }

func TestParsePoint(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for s, want := range map[string]Point{"": {}, "7": {Sequence: 7}, "2026-01-02T15:04:05Z": {Time: at}} {
		if p, err := ParsePoint(s); err != nil || p != want {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
	for _, s := range []string{"0", "-1", "2h", "yesterday"} {
		if p, err := ParsePoint(s); err == nil {
			t.Errorf("%q: %+v", s, p)
		}
	}
}

// textsOf returns the texts of calls, in their order.
func textsOf(calls []call) (list []string) {
	for _, c := range calls {
		list = append(list, c.text)
	}
	return list
}
