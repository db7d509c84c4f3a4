package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// farAway is how long a pause lasts that somebody has to end.
const farAway = 100 * 365 * 24 * time.Hour

// Pause has no event of a function's triggers begin any more until a time, the zero
// time for until [Trigger.Resume]: those of the trigger on a subject, or of the
// schedule that is written so, or of a bucket ("sessions", or "sessions/user.**"), "" for all of them. Events in progress go on, and
// those that come wait in the stream; of a schedule's runs the latest one waits.
// Those that were held for their key, or for a batch, are handed back, which counts as
// an attempt that was made. The server keeps the pause, and so it holds on all nodes,
// and when they start anew. It ends with the trigger: one on another subject, or
// endpoint, is not paused.
//
// It returns how the triggers are then. The error is of code NotFound if there is
// none, Unprocessed for a subscription, which stores nothing, or Unavailable for a
// trigger that is not set up.
func (t *Trigger) Pause(ctx context.Context, function, subject string, until time.Time) ([]Status, error) {
	if until.IsZero() {
		until = time.Now().Add(farAway)
	}
	if !until.After(time.Now()) {
		return nil, wire.Errorf(wire.BadRequest, "a pause until %s is over", until.Format(time.RFC3339))
	}
	return t.setPause(ctx, function, subject, until)
}

// Resume ends a pause. It is [Trigger.Pause] otherwise.
func (t *Trigger) Resume(ctx context.Context, function, subject string) ([]Status, error) {
	return t.setPause(ctx, function, subject, time.Time{})
}

func (t *Trigger) setPause(ctx context.Context, function, subject string, until time.Time) ([]Status, error) {
	readers, err := t.readersOf(function, subject)
	if err != nil {
		return nil, err
	}
	var list []Status
	for _, r := range readers {
		if err := r.pause(ctx, until); err != nil {
			return list, err
		}
		list = append(list, r.status(ctx))
	}
	return list, nil
}

// pauseAdvisory begins the subjects on which the server tells of pauses. Who has events
// in hand that have not begun hands them back then, and reads anew.
const pauseAdvisory = "$JS.EVENT.ADVISORY.CONSUMER.PAUSE."

var errPaused = errors.New("the trigger is paused")

// pauseOf returns errPaused if that is what the server tells.
func pauseOf(m *nats.Msg) error {
	var a struct{ Paused bool }
	if json.Unmarshal(m.Data, &a) == nil && a.Paused {
		return errPaused
	}
	return nil
}

func (r *reader) pause(ctx context.Context, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	stream, err := r.t.findStream(ctx, r.spec.Stream, r.spec.Subject)
	if err == nil {
		_, err = stream.PauseConsumer(ctx, r.key, until)
	}
	if errors.Is(err, errNotTaken) || errors.Is(err, ErrNoStream) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return wire.Errorf(wire.Unavailable, "the trigger %s of function %q is not set up yet: `fnhost trigger status %s` tells when it is", r.name(), r.function, r.function)
	}
	if err != nil {
		return fmt.Errorf("the trigger %s of function %q: %w", r.name(), r.function, err)
	}
	return nil
}

// readersOf returns the readers of a function that a subject, or a schedule as it is
// written, means; "" for all.
func (t *Trigger) readersOf(function, subject string) (list []*reader, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.readers {
		if r.function == function && (r.source.isNamed(subject) || r.id != "" && r.schedule.Cron == subject) {
			list = append(list, r)
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, l := range t.listeners {
		if l.function == function && (subject == "" || l.spec.Subject == subject) {
			return nil, wire.Errorf(wire.Unprocessed, "%s of function %q is a subscription: nothing is stored there, and so it cannot be paused; an event trigger can", l.spec.Subject, function)
		}
	}
	if subject != "" {
		return nil, wire.Errorf(wire.NotFound, "function %q has no trigger %s: `fnhost trigger status %s` lists those it has", function, subject, function)
	}
	return nil, wire.Errorf(wire.NotFound, "function %q has no event trigger or schedule that is set up: `fnhost trigger status` lists what is", function)
}
