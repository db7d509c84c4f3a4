package host

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/event"
)

// Triggers returns how the event triggers are, sorted by function and subject.
func (h *Host) Triggers(ctx context.Context) []event.Status {
	list := h.events.Status(ctx)
	slices.SortFunc(list, func(a, b event.Status) int {
		return strings.Compare(a.Function+" "+a.Subject+" "+a.Endpoint, b.Function+" "+b.Subject+" "+b.Endpoint)
	})
	return list
}

// DeadLetters calls yield with the events that a function, "" for all, could not
// handle, from the oldest to the newest, until it returns false.
func (h *Host) DeadLetters(ctx context.Context, function string, yield func(*event.Letter) bool) error {
	return h.events.Letters(ctx, function, yield)
}

// DeadLetter returns one of them. The error is of code NotFound if there is none.
func (h *Host) DeadLetter(ctx context.Context, id uint64) (*event.Letter, error) {
	l, err := h.events.Letter(ctx, id)
	return l, letterError(err)
}

// Redrive runs the function of a dead letter once more, of a version if one is
// named, and removes the letter when that has gone well. The error is of code
// NotFound if there is none, or that of the function.
func (h *Host) Redrive(ctx context.Context, id uint64, version string) error {
	return letterError(h.events.Redrive(ctx, id, version))
}

// PurgeDeadLetter removes a dead letter. The error is of code NotFound if there is none.
func (h *Host) PurgeDeadLetter(ctx context.Context, id uint64) error {
	return letterError(h.events.Purge(ctx, id))
}

func letterError(err error) error {
	if errors.Is(err, event.ErrNoLetter) {
		return wire.Errorf(wire.NotFound, "%v", err)
	}
	return err
}
