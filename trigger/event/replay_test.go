package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// versions has the fake know a function shop in versions with these triggers.
func (f *fixture) versions(specs ...manifest.Event) {
	for _, name := range []string{"v1", "v2"} {
		m := manifest.Default()
		m.Triggers.Event = specs
		f.known = append(f.known, &trigger.Function{Name: "shop", Version: name, Manifest: m})
	}
}

// replay replays, and returns what was told.
func (f *fixture) replay(q Replay) (plan Plan, list []Replayed, err error) {
	q.Function = "shop"
	err = f.trigger.Replay(f.t.Context(), q, func(p Plan) error { plan = p; return nil }, func(r Replayed) error {
		list = append(list, r)
		return nil
	})
	return plan, list, err
}

// A fix is tried on what has failed, before it is released.
func TestReplayOfAVersionThatIsNotReleased(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a.*", func(s *manifest.Event) { s.Endpoint = "create" }))
	f.set(func(_ context.Context, c call) error {
		if c.version == "v2" {
			return nil
		}
		return failing(wire.Internal, -1)
	})
	f.serve(spec("a.*", func(s *manifest.Event) { s.Endpoint = "create" }))
	f.publish("a.b", numbered(5)...)
	f.await("dead letters", func() bool { return len(f.letters()) == 5 })
	f.idle() // the letters are stored before the server knows that their events have ended
	before, handled := f.status(), len(f.seen())

	plan, list, err := f.replay(Replay{Version: "v2", From: Point{Sequence: 2}})
	if err != nil || len(list) != 4 || plan != (Plan{Stream: EventStream, Subject: "a.*", Endpoint: "create", First: 2, Last: 5}) {
		t.Fatalf("%+v: %+v, %v", plan, list, err)
	}
	for i, c := range f.seen()[handled:] {
		if c.text != fmt.Sprint(i+1) || c.sequence != int64(i+2) || c.attempt != 1 || !c.replayed || c.version != "v2" || c.endpoint != "create" || c.subject != "a.b" {
			t.Errorf("call %+v", c)
		}
		if r := list[i]; r.Sequence != uint64(i+2) || r.Err != nil || r.Next != uint64(i+3) || r.Subject != "a.b" || r.Size != 1 {
			t.Errorf("told %+v", r)
		}
	}
	_, list, err = f.replay(Replay{})
	if err != nil || len(list) != 5 || list[0].Err == nil {
		t.Errorf("of what is released: %+v, %v", list, err)
	}
	after := f.status()
	after.LastFailed, before.LastFailed = nil, nil
	if after != before || len(f.letters()) != 5 {
		t.Errorf("the trigger is %+v, it was %+v; %d dead letters", after, before, len(f.letters()))
	}
	for _, c := range f.seen()[:handled] {
		if c.replayed {
			t.Errorf("%+v is no replay", c)
		}
	}
}

func TestWhatIsReplayed(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a.*"))
	s := f.stream("mine", "a.*")
	for i := range 6 {
		f.publish([]string{"a.even", "a.odd"}[i%2], fmt.Sprint(i+1))
	}
	m, err := s.GetMsg(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		q          Replay
	}{
		{"all", "1 2 3 4 5 6", Replay{}},
		{"from a number", "4 5 6", Replay{From: Point{Sequence: 4}}},
		{"from a time", "3 4 5 6", Replay{From: Point{Time: m.Time}}},
		{"up to a time", "1 2 3", Replay{To: Point{Time: m.Time}}},
		{"up to a number", "1 2", Replay{To: Point{Sequence: 2}}},
		{"a part of the subject", "2 4 6", Replay{Subject: "a.odd"}},
		{"the first ones", "1 2", Replay{Limit: 2}},
		{"several at once, in the end", "1 2 3 4 5 6", Replay{AtOnce: 8}},
		{"none", "", Replay{From: Point{Sequence: 99}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			for _, dry := range []bool{true, false} {
				before := len(f.seen())
				test.q.Dry = dry
				_, list, err := f.replay(test.q)
				var told []string
				for _, r := range list {
					told = append(told, fmt.Sprint(r.Sequence))
				}
				ran := textsOf(f.seen()[before:])
				slices.Sort(told)
				slices.Sort(ran)
				if err != nil || strings.Join(told, " ") != test.want || dry && len(ran) > 0 || !dry && strings.Join(ran, " ") != test.want {
					t.Errorf("dry %v: told %v, ran %v, %v; want %s", dry, told, ran, err, test.want)
				}
			}
		})
	}
}

// What a replayed function publishes is not replayed, or one that starts itself
// would never end.
func TestAReplayEndsWithWhatWasStoredBefore(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a"))
	f.stream("mine", "a")
	f.publish("a", "1", "2")
	f.set(func(_ context.Context, c call) error {
		_, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "a", Data: []byte("more")})
		return err
	})
	if _, list, err := f.replay(Replay{}); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestReplaysAtOnceAreBounded(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a"))
	f.stream("mine", "a")
	f.publish("a", numbered(60)...)
	full := make(chan struct{})
	f.set(func(context.Context, call) error {
		f.fake.mu.Lock()
		if f.now == 5 && full != nil {
			close(full)
			full = nil
		}
		wait := full
		f.fake.mu.Unlock()
		if wait != nil {
			<-wait
		}
		return nil
	})
	_, list, err := f.replay(Replay{AtOnce: 5})
	if err != nil || len(list) != 60 || f.most != 5 || list[59].Next != 61 {
		t.Errorf("%d events, %d at once, %v", len(list), f.most, err)
	}
}

// Where it says to go on, nothing is left out: what is before has ended.
func TestAReplayThatIsStopped(t *testing.T) {
	for _, atOnce := range []int{1, 4} {
		t.Run(fmt.Sprint(atOnce, " at once"), func(t *testing.T) {
			f := newFixture(t)
			f.versions(spec("a"))
			f.stream("mine", "a")
			f.publish("a", numbered(100)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			next, told := uint64(1), 0
			err := f.trigger.Replay(ctx, Replay{Function: "shop", AtOnce: atOnce}, func(Plan) error { return nil }, func(r Replayed) error {
				if told++; told == 20 {
					cancel()
				}
				next = r.Next
				return nil
			})
			if !errors.Is(err, context.Canceled) || told < 20 || told >= 100 {
				t.Errorf("%d events, %v", told, err)
			}
			stopped := len(f.seen())
			if stopped != told {
				t.Errorf("%d events began, and %d ended", stopped, told)
			}
			if _, _, err := f.replay(Replay{AtOnce: atOnce, From: Point{Sequence: next}}); err != nil {
				t.Fatal(err)
			}
			times := make(map[string]int)
			for _, c := range f.seen() {
				times[c.text]++
			}
			if len(times) != 100 || len(f.seen()) > 100+atOnce {
				t.Errorf("%d of 100 events in %d calls", len(times), len(f.seen()))
			}
		})
	}
}

func TestAReplayEndsWithItsClientOrItsHost(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a"))
	f.stream("mine", "a")
	f.publish("a", numbered(10)...)
	gone := errors.New("the client is gone")
	if err := f.trigger.Replay(t.Context(), Replay{Function: "shop"}, func(Plan) error { return nil }, func(Replayed) error { return gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
	if n := len(f.seen()); n > 2 {
		t.Errorf("%d events after the client was gone", n)
	}
	err := f.trigger.Replay(t.Context(), Replay{Function: "shop"}, func(Plan) error { return nil }, func(r Replayed) error {
		if r.Sequence == 1 {
			go f.close(f.trigger)
			<-f.trigger.ctx.Done()
		}
		return nil
	})
	if e := wire.AsError(err); e == nil || e.Code != wire.Unavailable {
		t.Error(err)
	}
}

// An overloaded function is no failed event.
func TestAReplayWaitsForItsFunction(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a"))
	f.stream("mine", "a")
	f.publish("a", "x")
	f.set(func(context.Context, call) error {
		if len(f.seen()) < 3 {
			return wire.Errorf(wire.Overloaded, "not now")
		}
		return nil
	})
	if _, list, err := f.replay(Replay{}); err != nil || len(list) != 1 || list[0].Err != nil || len(f.seen()) != 3 {
		t.Errorf("%+v, %v after %d calls", list, err, len(f.seen()))
	}
	f.set(func(context.Context, call) error { return wire.Errorf(wire.NoFunction, "it has gone") })
	if _, list, err := f.replay(Replay{}); wire.AsError(err) == nil || wire.AsError(err).Code != wire.NoFunction || len(list) != 0 {
		t.Errorf("a function that has gone: %+v, %v", list, err)
	}
}

func TestReplaysOfWhatIsNot(t *testing.T) {
	f := newFixture(t)
	f.stream("mine", "a.*", "c")
	f.versions(spec("a.*"), spec("a.*", func(s *manifest.Event) { s.Endpoint = "other" }), spec("c"), spec("nowhere"))
	for _, test := range []struct {
		name string
		q    Replay
		code wire.Code
	}{
		{"a version", Replay{Version: "v9", Subject: "c"}, wire.NoFunction},
		{"a subject", Replay{Subject: "d"}, wire.NotFound},
		{"an endpoint", Replay{Subject: "c", Endpoint: "other"}, wire.NotFound},
		{"several triggers", Replay{}, wire.BadRequest},
		{"several triggers of a subject", Replay{Subject: "a.b"}, wire.BadRequest},
		{"a stream that is not there", Replay{Subject: "nowhere"}, wire.NotFound},
		{"the only one of an endpoint", Replay{Endpoint: "other"}, ""},
		{"the only one of a subject", Replay{Subject: "c"}, ""},
	} {
		_, _, err := f.replay(test.q)
		if e := wire.AsError(err); (e == nil) != (test.code == "") || e != nil && e.Code != test.code {
			t.Errorf("%s: %v, want %q", test.name, err, test.code)
		}
	}
}

// A slow reader of what is told holds the replay up; nothing piles up in between.
func TestAReplayIsNoFasterThanItsReader(t *testing.T) {
	f := newFixture(t)
	f.versions(spec("a"))
	f.stream("mine", "a")
	f.publish("a", numbered(50)...)
	err := f.trigger.Replay(t.Context(), Replay{Function: "shop", AtOnce: 3}, func(Plan) error { return nil }, func(r Replayed) error {
		if r.Sequence == 1 {
			time.Sleep(300 * time.Millisecond)
			if n := len(f.seen()); n > 6 {
				t.Errorf("%d events have begun", n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
