package event

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// out makes the stream that effects go to, whose window for duplicates is too short
// to be of any help.
func (f *fixture) out() jetstream.Stream {
	f.t.Helper()
	s, err := f.js.CreateStream(f.t.Context(), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>"}, Duplicates: 100 * time.Millisecond})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// count returns how many messages a stream holds, 0 if there is no such stream.
func (f *fixture) count(stream string) uint64 {
	f.t.Helper()
	s, err := f.js.Stream(f.t.Context(), stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func msgTo(subject, text string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(text)
	return m
}

func commitOf(c call) Commit {
	return Commit{Function: c.function, Stream: EventStream, Sequence: uint64(c.sequence), Time: c.time, Number: 1}
}

// commitTwo has an event publish two messages.
func (f *fixture) commitTwo(ctx context.Context, c call) error {
	return f.trigger.Commit(ctx, commitOf(c), Effects{Messages: []*nats.Msg{msgTo("out.a", c.text), msgTo("out.b", c.text)}})
}

func TestEffectsOfAnEventAreOnce(t *testing.T) {
	f := newFixture(t)
	f.out()
	f.set(func(ctx context.Context, c call) error {
		if c.attempt > 1 {
			done, err := f.trigger.Committed(ctx, commitOf(c))
			if !done || err != nil {
				t.Errorf("attempt %d: committed %v, %v", c.attempt, done, err)
			}
		}
		if err := f.commitTwo(ctx, c); err != nil {
			return err
		}
		if c.attempt < 3 {
			return failing(wire.Internal, 0) // after its effects
		}
		return nil
	})
	f.serve(spec("in"))
	f.publish("in", numbered(20)...)
	f.await("all are handled", func() bool { return len(f.seen()) == 60 })
	f.idle()
	if n := f.count("OUT"); n != 40 {
		t.Errorf("%d messages, want 40", n)
	}
	f.await("the records are gone", func() bool { return f.count(EffectStream) == 0 })
}

func TestEffectsOfNoEvent(t *testing.T) {
	f := newFixture(t)
	f.out()
	c := Commit{Function: "shop", Invocation: "i1", Number: 1}
	for range 2 {
		if err := f.trigger.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.a", "x")}}); err != nil {
			t.Fatal(err)
		}
		c.Number++
	}
	if n := f.count("OUT"); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	if n := f.count(EffectStream); n != 0 {
		t.Errorf("%d records stay", n)
	}
}

func TestEffectsTogetherOverTheLimit(t *testing.T) {
	f := newFixture(t)
	f.out()
	big := make([]byte, f.trigger.MaxPayload()/2)
	err := f.trigger.Commit(t.Context(), Commit{Function: "shop", Invocation: "i1", Number: 1},
		Effects{Messages: []*nats.Msg{msgTo("out.a", string(big)), msgTo("out.b", string(big))}})
	if e := wire.AsError(err); e == nil || e.Code != wire.TooLarge || f.count("OUT") != 0 {
		t.Errorf("%v, %d messages", err, f.count("OUT"))
	}
}

// Nobody looks for records to clear while there are none.
func TestRecordsAreClearedWhileThereAreAny(t *testing.T) {
	f := newFixture(t)
	f.out()
	f.trigger.keepEnded = 50 * time.Millisecond
	f.set(f.commitTwo)
	f.serve(spec("in"))
	clearing := func() bool {
		f.trigger.effects.mu.Lock()
		defer f.trigger.effects.mu.Unlock()
		return f.trigger.effects.clearing
	}
	for i := range 3 {
		if clearing() {
			t.Errorf("before event %d somebody clears", i)
		}
		f.publish("in", numbered(i+1)...)
		f.await("the effects", func() bool { return f.count("OUT") == uint64((i+1)*(i+2)) })
		f.await("the records are gone, and who cleared them", func() bool { return f.count(EffectStream) == 0 && !clearing() })
	}
}

// TestEffectsThatAKillHasCutShort has records that a host has written and of which it
// has published nothing, some, and all.
func TestEffectsThatAKillHasCutShort(t *testing.T) {
	for _, redelivered := range []bool{false, true} {
		name := "found at the start"
		if redelivered {
			name = "found when the event comes again"
		}
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.out()
			dead := f.trigger // what it knows of its records is lost
			// It would mark the records of this test as applied, which they are.
			f.await("records were looked for", func() bool { return dead.effects.passes.Load() > 0 })
			var ids [3][2]string
			for published := range 3 {
				c := Commit{Function: "shop", Stream: EventStream, Sequence: uint64(published + 1), Number: 1}
				if err := dead.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.a", "x"), msgTo("out.b", "x")}}); err != nil {
					t.Fatal(err)
				}
				s, err := f.js.Stream(t.Context(), "OUT")
				if err != nil {
					t.Fatal(err)
				}
				for i, subject := range []string{"out.a", "out.b"} {
					m, err := s.GetLastMsgForSubject(t.Context(), subject)
					if err != nil {
						t.Fatal(err)
					}
					ids[published][i] = m.Header.Get(jetstream.MsgIDHeader)
				}
				if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("out.>")); err != nil { // as if none were published
					t.Fatal(err)
				}
			}
			for published := range 3 {
				for i := range published {
					m := msgTo([]string{"out.a", "out.b"}[i], "x")
					m.Header.Set(jetstream.MsgIDHeader, ids[published][i])
					time.Sleep(150 * time.Millisecond) // the stream has forgotten the first one of the id
					if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
			}
			f.close(dead)
			time.Sleep(150 * time.Millisecond)
			next := f.open()
			if redelivered {
				for n := range 3 {
					c := Commit{Function: "shop", Stream: EventStream, Sequence: uint64(n + 1), Number: 1}
					if err := next.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.a", "another")}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			f.await("the effects are whole", func() bool { return f.count("OUT") >= 6 })
			time.Sleep(300 * time.Millisecond)
			if n := f.count("OUT"); n != 6 {
				t.Errorf("%d messages, want 6", n)
			}
		})
	}
}

// Who can publish where effects go, and knows of what they are, cannot have them
// taken for duplicates of its own.
func TestNamesOfEffectsCannotBeGuessed(t *testing.T) {
	f := newFixture(t)
	f.stream("OUT", "out.>")
	c := Commit{Function: "shop", Stream: EventStream, Sequence: 1, Number: 1}
	m := msgTo("out.a", "of somebody else")
	m.Header.Set(jetstream.MsgIDHeader, c.subject()+".0")
	if _, err := f.trigger.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := f.trigger.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.a", "x")}}); err != nil || f.count("OUT") != 2 {
		t.Errorf("%v, %d messages", err, f.count("OUT"))
	}
}

func TestARecordThatIsRefusedHoldsUpNoOthers(t *testing.T) {
	f := newFixture(t)
	s := f.out() // whose messages cannot have a TTL
	dead := f.trigger
	never := msgTo("out.a", "never")
	never.Header.Set(jetstream.MsgTTLHeader, "1m")
	c := Commit{Function: "shop", Stream: EventStream, Sequence: 1, Number: 1}
	if err := dead.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{never}}); !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	c.Sequence = 2
	if err := dead.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.b", "x")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil { // as if it was not published
		t.Fatal(err)
	}
	f.close(dead)
	time.Sleep(150 * time.Millisecond) // the stream has forgotten its ID
	f.open()
	f.await("the second one", func() bool { return f.count("OUT") == 1 })
}

// A stream that is made anew counts from 1 again: its events are none that have had their
// effects, also where a record is kept for a dead letter.
func TestEffectsOfAStreamThatIsMadeAnew(t *testing.T) {
	f := newFixture(t)
	f.out()
	f.set(func(ctx context.Context, c call) error {
		if err := f.commitTwo(ctx, c); err != nil {
			return err
		}
		return failing(wire.Internal, -1)
	})
	f.stream("IN", "in")
	f.serve(spec("in"))
	f.publish("in", "one")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if err := f.js.DeleteStream(t.Context(), "IN"); err != nil {
		t.Fatal(err)
	}
	f.stream("IN", "in")
	f.publish("in", "two")
	f.await("another one", func() bool { return len(f.letters()) == 2 })
	if n := f.count("OUT"); n != 4 || f.seen()[0].sequence != f.seen()[1].sequence {
		t.Errorf("%d messages of %+v, want 4", n, f.seen())
	}
}

func TestARecordGoesWithItsDeadLetter(t *testing.T) {
	f := newFixture(t)
	f.out()
	f.set(func(ctx context.Context, c call) error {
		if c.attempt > 1 {
			if done, err := f.trigger.Committed(ctx, commitOf(c)); !done || err != nil {
				t.Errorf("attempt %d: committed %v, %v", c.attempt, done, err)
			}
		} else if err := f.commitTwo(ctx, c); err != nil {
			return err
		}
		return failing(wire.Internal, -1)
	})
	f.serve(spec("in"))
	f.publish("in", "one")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	id := f.letters()[0].ID
	if err := f.trigger.Redrive(t.Context(), id, ""); err == nil || f.count(EffectStream) != 1 {
		t.Errorf("%v, %d records", err, f.count(EffectStream))
	}
	f.set(func(ctx context.Context, c call) error {
		_, err := f.trigger.Committed(ctx, commitOf(c))
		return err
	})
	if err := f.trigger.Redrive(t.Context(), id, ""); err != nil || f.count("OUT") != 2 {
		t.Errorf("%v, %d messages", err, f.count("OUT"))
	}
	f.await("the record is gone", func() bool { return f.count(EffectStream) == 0 })
}

func TestEffectsWaitForAStreamThatRefuses(t *testing.T) {
	f := newFixture(t)
	s, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>"}, MaxMsgs: 1, Discard: jetstream.DiscardNew})
	if err != nil {
		t.Fatal(err)
	}
	f.publish("out.x", "in the way")
	var refused atomic.Bool
	f.set(func(ctx context.Context, c call) error {
		if c.attempt > 1 {
			if done, err := f.trigger.Committed(ctx, commitOf(c)); done || err != nil {
				return err
			}
		}
		err := f.trigger.Commit(ctx, commitOf(c), Effects{Messages: []*nats.Msg{msgTo("out.a", c.text)}})
		refused.Store(refused.Load() || errors.Is(err, ErrNotYet))
		return err
	})
	f.serve(spec("in"))
	f.publish("in", "one")
	f.await("a refusal", refused.Load)
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await("the effect", func() bool { return f.count("OUT") == 1 })
	m, err := s.GetLastMsgForSubject(t.Context(), "out.a")
	if err != nil || string(m.Data) != "one" {
		t.Errorf("%v", err)
	}
}

// slowState takes its time when it is asked first.
type slowState struct{ begun, goOn chan struct{} }

func (s slowState) CommitOnce(context.Context, string, *Effects) (bool, error) {
	select {
	case s.begun <- struct{}{}:
		<-s.goOn
	default:
	}
	return false, nil
}

func (s slowState) ForgetOnce(context.Context, string, string) error { return nil }

// Who looks for records to recover leaves alone those that somebody is at.
func TestARecordIsAppliedByOneAtATime(t *testing.T) {
	f := newFixture(t)
	f.out()
	f.await("records were looked for", func() bool { return f.trigger.effects.passes.Load() > 0 })
	slow := slowState{make(chan struct{}, 1), make(chan struct{})}
	f.trigger.state = slow
	c := Commit{Function: "shop", Stream: EventStream, Sequence: 1, Number: 1}
	ended := make(chan error, 3)
	go func() {
		ended <- f.trigger.Commit(t.Context(), c, Effects{Bucket: "b", Messages: []*nats.Msg{msgTo("out.a", "x")}})
	}()
	f.await("it is at the record", func() bool { return len(slow.begun) == 1 })
	go func() { ended <- f.trigger.recoverRecords() }()
	go func() {
		_, err := f.trigger.Committed(t.Context(), c)
		ended <- err
	}()
	time.Sleep(300 * time.Millisecond) // the stream would have forgotten what they publish
	close(slow.goOn)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := f.count("OUT"); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}
