package host

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/trigger/event"
)

// Triggers returns how the event and kv triggers, schedules and subscriptions are, sorted by
// function and what starts it. It changes nothing.
func (h *Namespace) Triggers(ctx context.Context) []event.Status { return h.events.Status(ctx) }

// knows reports whether there is a function of that name, in whatever state.
func (h *Namespace) knows(name string) bool { return (*h.index.Load())[name] != nil }

// PauseTrigger has no event of a function's triggers begin any more until a time, the
// zero time for until [Host.ResumeTrigger]: those of the trigger on a subject, of a
// schedule such as "0 3 * * *" or "every 1h", or of a bucket such as "sessions" or
// "sessions/user.**", "" for all of them. Events in progress go on, and those that come
// wait; of a schedule's runs one waits. It holds on all nodes, and when they start anew.
// It returns how the triggers are then.
//
// The error is of code NotFound if there is no such trigger, Unprocessed for a
// subscription, which stores nothing, or Unavailable for a trigger that is not set up.
func (h *Namespace) PauseTrigger(ctx context.Context, function, subject string, until time.Time) ([]event.Status, error) {
	return h.events.Pause(ctx, function, subject, until)
}

// ResumeTrigger ends a pause. Its errors are those of [Host.PauseTrigger].
func (h *Namespace) ResumeTrigger(ctx context.Context, function, subject string) ([]event.Status, error) {
	return h.events.Resume(ctx, function, subject)
}

// Events returns messages that streams hold, the oldest first, without their data. The
// error is of code NotFound for a stream that is not there, and Forbidden for one of the host's own state.
func (h *Namespace) Events(ctx context.Context, q event.Range) ([]event.StoredEvent, error) {
	list, err := h.events.Events(ctx, q)
	for i := range list {
		if err := refuseOwnStream(list[i].Stream); err != nil {
			return nil, err
		}
	}
	return list, letterError(err)
}

// refuseOwnStream is refuseOwn for streams.
func refuseOwnStream(name string) error {
	bucket, isBucket := strings.CutPrefix(name, "KV_")
	store, isStore := strings.CutPrefix(name, "OBJ_")
	if isBucket && manifest.OwnBucket(bucket) || isStore && manifest.OwnBucket(store) || name == audit.Stream {
		return wire.Errorf(wire.Forbidden, "the stream %s is the host's own", name)
	}
	return nil
}

// StoredEvent returns a message of a stream, with its data. The error is of code
// NotFound if there is none, and Forbidden for a stream of the host's own state.
func (h *Namespace) StoredEvent(ctx context.Context, stream string, sequence uint64) (*event.StoredEvent, error) {
	if err := refuseOwnStream(stream); err != nil {
		return nil, err
	}
	e, err := h.events.Event(ctx, stream, sequence)
	return e, letterError(err)
}

// Replay runs a function on events that a stream still holds, as
// [event.Trigger.Replay] says: a version that is not released, for instance, on the
// events of yesterday.
func (h *Namespace) Replay(ctx context.Context, q event.Replay, begin func(event.Plan) error, yield func(event.Replayed) error) error {
	return h.events.Replay(ctx, q, begin, yield)
}

// DeadLetters calls yield with the events that a function, "" for all, could not
// handle, from the oldest to the newest, until it returns false.
func (h *Namespace) DeadLetters(ctx context.Context, function string, yield func(*event.Letter) bool) error {
	return h.events.Letters(ctx, function, yield)
}

// DeadLettersFrom is [Host.DeadLetters] from an ID on.
func (h *Namespace) DeadLettersFrom(ctx context.Context, function string, id uint64, yield func(*event.Letter) bool) error {
	return h.events.LettersFrom(ctx, function, id, yield)
}

// DeadLetter returns one of them. The error is of code NotFound if there is none.
func (h *Namespace) DeadLetter(ctx context.Context, id uint64) (*event.Letter, error) {
	l, err := h.events.Letter(ctx, id)
	return l, letterError(err)
}

// Redrive runs the function of a dead letter once more, of a version if one is
// named, and removes the letter when that has gone well. The error is of code
// NotFound if there is none, or that of the function.
func (h *Namespace) Redrive(ctx context.Context, id uint64, version string) error {
	return letterError(h.events.Redrive(ctx, id, version))
}

// PurgeDeadLetter removes a dead letter. The error is of code NotFound if there is none.
func (h *Namespace) PurgeDeadLetter(ctx context.Context, id uint64) error {
	return letterError(h.events.Purge(ctx, id))
}

func letterError(err error) error {
	if errors.Is(err, event.ErrNoLetter) || errors.Is(err, event.ErrNoEvent) || errors.Is(err, event.ErrNoStream) {
		return wire.Errorf(wire.NotFound, "%v", err)
	}
	return err
}
