package event

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

func TestRetriesAndTheirDelays(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return failing(wire.Internal, 0) })
	f.serve(spec("a", func(s *manifest.Event) { s.Backoff, s.BackoffMax = 20*time.Millisecond, 50*time.Millisecond }))
	f.publish("a", "x")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	calls := f.seen()
	if len(calls) != 4 {
		t.Fatalf("%d attempts, want 4: %+v", len(calls), calls)
	}
	for i, least := range []time.Duration{0, 20 * time.Millisecond, 40 * time.Millisecond, 50 * time.Millisecond} {
		if calls[i].attempt != int64(i+1) || calls[i].sequence != 1 {
			t.Errorf("attempt %d is %+v", i+1, calls[i])
		}
		if i > 0 && calls[i].at.Sub(calls[i-1].at) < least {
			t.Errorf("attempt %d after %v, want at least %v", i+1, calls[i].at.Sub(calls[i-1].at), least)
		}
	}
	f.idle()
}

func TestDelay(t *testing.T) {
	tests := []struct {
		name    string
		attempt int
		e       *wire.Error
		want    time.Duration
	}{
		{"the first", 1, &wire.Error{}, time.Second},
		{"the second", 2, &wire.Error{}, 2 * time.Second},
		{"the fourth", 4, &wire.Error{}, 8 * time.Second},
		{"the cap", 5, &wire.Error{}, 10 * time.Second},
		{"far beyond the cap", 1 << 40, &wire.Error{}, 10 * time.Second},
		{"a worker that ended", 1, &wire.Error{Code: wire.Crashed}, crashDelay},
		{"a worker that ended again", 2, &wire.Error{Code: wire.Crashed}, 2 * time.Second},
		{"as the function says", 4, &wire.Error{Retry: 3 * time.Millisecond}, 3 * time.Millisecond},
	}
	r := &reader{spec: spec("a", func(s *manifest.Event) { s.Backoff, s.BackoffMax = time.Second, 10*time.Second })}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 100 {
				got := r.delay(test.attempt, test.e)
				if got < test.want || got > min(test.want+test.want/5, r.spec.BackoffMax) || test.e.Retry > 0 && got != test.want {
					t.Fatalf("%v, want %v and up to a fifth more, but no more than %v", got, test.want, r.spec.BackoffMax)
				}
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.attempt == 1 {
			return failing(wire.Internal, 150*time.Millisecond)
		}
		return nil
	})
	f.serve(spec("a"))
	f.publish("a", "x")
	f.await("two attempts", func() bool { return len(f.seen()) == 2 })
	calls := f.seen()
	if d := calls[1].at.Sub(calls[0].at); d < 150*time.Millisecond || d > 2*time.Second {
		t.Errorf("again after %v, want 150ms", d)
	}
	f.idle()
}

func TestRetryAfterDoesNotOutliveTheRetries(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return failing(wire.Internal, time.Millisecond) })
	f.serve(spec("a"))
	f.publish("a", "x")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if n := len(f.seen()); n != 4 {
		t.Errorf("%d attempts, want 4", n)
	}
}

func TestDeadLetters(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		if c.text == "bad" {
			return &wire.Error{Code: wire.Unprocessed, Message: "no\r\nsuch\nitem", Retry: -1, Remote: true}
		}
		return nil
	})
	f.serve(spec("a.*", func(s *manifest.Event) { s.Endpoint = "create" }))
	f.publish("a.b", "good")
	m := nats.NewMsg("a.b")
	m.Data = []byte("bad")
	m.Header["X-Color"] = []string{"red", "blue"}
	m.Header.Set("Nats-Msg-Id", "id")
	m.Header.Set(HeaderDepth, "3")
	if _, err := f.trigger.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	f.idle()
	l, err := f.trigger.Letter(t.Context(), f.letters()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if l.Function != "shop" || l.Endpoint != "create" || l.Subject != "a.b" || l.Stream != EventStream || l.Sequence != 2 || l.Attempts != 1 ||
		strings.ContainsAny(l.Error, "\r\n") || !strings.Contains(l.Error, "item") || l.Code != string(wire.Unprocessed) || string(l.Data) != "bad" || l.Time.After(l.Died) || time.Since(l.Time) > time.Minute {
		t.Errorf("letter %+v", l)
	}
	if len(l.Header) != 1 || len(l.Header["X-Color"]) != 2 {
		t.Errorf("headers %v", l.Header)
	}
	if n := len(f.seen("bad")); n != 1 {
		t.Errorf("%d attempts of an error that is permanent", n)
	}
	if _, err := f.trigger.Letter(t.Context(), 99); err == nil {
		t.Error("a letter that was never written")
	}
}

// What the host does not let happen is no attempt: the function has not had the event.
func TestHostFaultsUseUpNoRetries(t *testing.T) {
	for _, code := range []wire.Code{wire.Overloaded, wire.Unavailable, wire.NoFunction} {
		t.Run(string(code), func(t *testing.T) {
			f := newFixture(t)
			f.set(func(context.Context, call) error {
				if len(f.seen()) <= 10 {
					return wire.Errorf(code, "not now")
				}
				return failing(wire.Internal, 0)
			})
			f.serve(spec("a", func(s *manifest.Event) { s.Retries, s.Backoff, s.BackoffMax = 2, time.Millisecond, 2*time.Millisecond }))
			f.publish("a", "x")
			f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
			if n := len(f.seen()); n != 13 || f.letters()[0].Attempts != 3 {
				t.Errorf("%d calls, of which %d are attempts; want 13 and 3", n, f.letters()[0].Attempts)
			}
		})
	}
}

// A function that itself returns such an error, since another that it calls is
// overloaded or missing, has had the event: it does not go round for ever.
func TestAFunctionsOwnErrorIsNoHostFault(t *testing.T) {
	for _, code := range []wire.Code{wire.Overloaded, wire.Unavailable, wire.NoFunction, wire.Canceled} {
		t.Run(string(code), func(t *testing.T) {
			f := newFixture(t)
			f.set(func(context.Context, call) error { return failing(code, 0) })
			f.serve(spec("a", func(s *manifest.Event) { s.Retries = 1 }))
			f.publish("a", "x")
			f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
			if n := len(f.seen()); n != 2 {
				t.Errorf("%d attempts, want 2", n)
			}
		})
	}
}

func TestLoopsEnd(t *testing.T) {
	f := newFixture(t)
	f.set(func(_ context.Context, c call) error {
		m := nats.NewMsg("a")
		m.Header.Set(HeaderDepth, "32")
		if c.depth == 32 {
			m.Header.Set(HeaderDepth, "33")
		}
		_, err := f.trigger.Publish(t.Context(), m)
		return err
	})
	f.serve(spec("a"))
	f.publish("a", "x")
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	f.idle()
	if l := f.letters()[0]; l.Code != string(wire.Loop) || len(f.seen()) != 2 {
		t.Errorf("letter %+v after %d calls, want code loop after 2", l, len(f.seen()))
	}
}

// The stream of dead letters may refuse: then the event stays, until it can go.
func TestAnEventThatCannotBeBuriedStays(t *testing.T) {
	tests := []struct {
		name  string
		cfg   jetstream.StreamConfig
		mends func(f *fixture, cfg jetstream.StreamConfig) error
	}{
		{"another's stream", jetstream.StreamConfig{Name: DeadStream, Subjects: []string{"mine"}}, func(f *fixture, cfg jetstream.StreamConfig) error {
			cfg.Subjects = []string{"mine", DeadPrefix + ">"}
			_, err := f.js.UpdateStream(f.t.Context(), cfg)
			return err
		}},
		{"a full stream", jetstream.StreamConfig{Name: DeadStream, Subjects: []string{DeadPrefix + ">"}, MaxMsgs: 1, Discard: jetstream.DiscardNew}, func(f *fixture, _ jetstream.StreamConfig) error {
			s, err := f.js.Stream(f.t.Context(), DeadStream)
			if err == nil {
				err = s.Purge(f.t.Context())
			}
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if _, err := f.js.CreateStream(t.Context(), test.cfg); err != nil {
				t.Fatal(err)
			}
			if test.cfg.MaxMsgs > 0 {
				if _, err := f.js.Publish(t.Context(), DeadPrefix+"other", nil); err != nil {
					t.Fatal(err)
				}
			}
			f.set(func(context.Context, call) error { return failing(wire.Internal, -1) })
			f.serve(spec("a", func(s *manifest.Event) { s.BackoffMax = 20 * time.Millisecond }))
			f.publish("a", "x")
			f.await("several attempts", func() bool { return len(f.seen()) > 2 })
			if s := f.trigger.Status(t.Context()); s[0].InFlight != 1 {
				t.Errorf("status %+v, want the event in flight", s)
			}
			if err := test.mends(f, test.cfg); err != nil {
				t.Fatal(err)
			}
			f.await("the dead letter", func() bool { return len(f.letters()) == 1 && f.letters()[0].Function == "shop" })
			f.idle()
		})
	}
}

// An event as large as may be published, with an error as long as can be, has a dead letter.
func TestTheLargestEventHasADeadLetter(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error {
		return &wire.Error{Message: strings.Repeat("é\n", maxError), Retry: -1, Remote: true}
	})
	f.serve(spec("a"))
	m := &nats.Msg{Subject: "a"}
	m.Data = make([]byte, int(f.trigger.MaxPayload())-m.Size())
	if _, err := f.trigger.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if l := f.letters()[0]; len(l.Data) != len(m.Data) || len(l.Error) < 1000 {
		t.Errorf("a letter of %d bytes, want %d; %d bytes of error", len(l.Data), len(m.Data), len(l.Error))
	}
}
