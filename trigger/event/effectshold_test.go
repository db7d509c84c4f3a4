package event

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions/wire"
)

// While records are held, each stays whole, whatever becomes of its event; then they go.
func TestHeldRecordsOfEffectsStay(t *testing.T) {
	f := newFixture(t)
	f.trigger.keepEnded = 50 * time.Millisecond
	out := f.out()
	f.set(func(ctx context.Context, c call) error {
		if err := f.commitTwo(ctx, c); err != nil {
			return err
		}
		if c.attempt < 2 {
			return failing(wire.Internal, 0) // after its effects
		}
		return nil
	})
	release := f.trigger.Hold()
	f.serve(spec("in"))
	f.publish("in", numbered(10)...)
	c := Commit{Function: "shop", Invocation: "i1", Number: 1}
	if err := f.trigger.Commit(t.Context(), c, Effects{Messages: []*nats.Msg{msgTo("out.a", "x")}}); err != nil {
		t.Fatal(err)
	}
	f.await("all are handled", func() bool { return len(f.seen()) == 20 })
	f.idle()
	time.Sleep(10 * f.trigger.keepEnded)
	stream, err := f.js.Stream(t.Context(), EffectStream)
	if err != nil {
		t.Fatal(err)
	}
	if s := stream.CachedInfo().State; s.Msgs != 11 || s.LastSeq != 11 {
		t.Errorf("the records were changed: %+v", s)
	}
	if info, err := out.Info(t.Context()); err != nil || info.State.Msgs != 21 {
		t.Errorf("%d messages, want 21 (%v)", info.State.Msgs, err)
	}
	release()
	f.await("the records are gone", func() bool { return f.count(EffectStream) == 0 })
}
