package host

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger/event"
)

// Triggers implements [admin.Events].
func (b backend) Triggers(ctx context.Context) []admin.EventTrigger {
	return eventTriggers(b.h.Triggers(ctx))
}

func eventTriggers(from []event.Status) []admin.EventTrigger {
	list := []admin.EventTrigger{}
	for _, s := range from {
		list = append(list, admin.EventTrigger(s))
	}
	return list
}

// PauseTrigger implements [admin.Events].
func (b backend) PauseTrigger(ctx context.Context, function, subject string, until time.Time) ([]admin.EventTrigger, error) {
	list, err := b.h.PauseTrigger(ctx, function, subject, until)
	return eventTriggers(list), err
}

// ResumeTrigger implements [admin.Events].
func (b backend) ResumeTrigger(ctx context.Context, function, subject string) ([]admin.EventTrigger, error) {
	list, err := b.h.ResumeTrigger(ctx, function, subject)
	return eventTriggers(list), err
}

// StoredEvents implements [admin.Events].
func (b backend) StoredEvents(ctx context.Context, q admin.EventQuery) ([]admin.StoredEvent, error) {
	r := event.Range{Stream: q.Stream, Subject: q.Subject, Limit: q.Limit}
	var err error
	if r.From, err = event.ParsePoint(q.From); err != nil {
		return nil, err
	}
	if r.To, err = event.ParsePoint(q.To); err != nil {
		return nil, err
	}
	found, err := b.h.Events(ctx, r)
	list := []admin.StoredEvent{}
	for i := range found {
		list = append(list, storedEvent(&found[i]))
	}
	return list, err
}

// StoredEvent implements [admin.Events].
func (b backend) StoredEvent(ctx context.Context, stream string, sequence uint64) (v admin.StoredEvent, err error) {
	e, err := b.h.StoredEvent(ctx, stream, sequence)
	if err != nil {
		return v, err
	}
	v = storedEvent(e)
	v.Header = e.Header
	v.SetData(e.Data)
	return v, nil
}

func storedEvent(e *event.StoredEvent) admin.StoredEvent {
	return admin.StoredEvent{Stream: e.Stream, Sequence: e.Sequence, Time: e.Time, Subject: e.Subject, Size: e.Size, Type: e.Type, Begin: e.Begin}
}

// Replay implements [admin.Events].
func (b backend) Replay(ctx context.Context, req admin.ReplayRequest, yield func(admin.ReplayEvent) error) error {
	q := event.Replay{Function: req.Function, Endpoint: req.Endpoint, Version: req.Version, Subject: req.Subject, Limit: req.Limit, AtOnce: req.AtOnce, Dry: req.Dry}
	var err error
	if q.From, err = event.ParsePoint(req.From); err != nil {
		return err
	}
	if q.To, err = event.ParsePoint(req.To); err != nil {
		return err
	}
	begun := false
	result := admin.ReplayResult{}
	err = b.h.Replay(ctx, q, func(p event.Plan) error {
		begun, result.Next = true, p.First
		return yield(admin.ReplayEvent{Plan: &admin.ReplayPlan{Stream: p.Stream, Subject: p.Subject, Endpoint: p.Endpoint, First: p.First, Last: p.Last}})
	}, func(r event.Replayed) error {
		e := admin.ReplayEvent{Sequence: r.Sequence, Subject: r.Subject, Time: &r.Time, Size: r.Size, Next: r.Next}
		if result.Next = r.Next; req.Dry {
			result.WouldRun++
		} else {
			result.Ran++
		}
		if r.Err != nil {
			result.Failed++
			e.Error, e.Code = r.Err.Error(), string(wire.AsError(r.Err).Code)
		}
		return yield(e)
	})
	if err != nil && !begun || ctx.Err() != nil {
		return err
	}
	result.OK = result.Ran - result.Failed
	if err != nil {
		result.Stopped = err.Error()
	}
	return yield(admin.ReplayEvent{Result: &result})
}

// Publish implements [admin.Events].
func (b backend) Publish(ctx context.Context, subject string, header map[string][]string, data []byte) (admin.Receipt, error) {
	s, err := b.h.Publish(ctx, event.Message(subject, header, data))
	return admin.Receipt(s), err
}

// DeadLetters implements [admin.Events].
func (b backend) DeadLetters(ctx context.Context, q admin.DeadQuery) (list []admin.DeadLetter, err error) {
	err = b.h.DeadLettersFrom(ctx, q.Function, q.From, func(l *event.Letter) bool {
		if q.Subject == "" || event.Covers(q.Subject, l.Subject) {
			list = append(list, deadLetter(l))
		}
		return len(list) < q.Limit
	})
	return list, err
}

// DeadLetter implements [admin.Events].
func (b backend) DeadLetter(ctx context.Context, id uint64) (admin.DeadLetter, error) {
	l, err := b.h.DeadLetter(ctx, id)
	if err != nil {
		return admin.DeadLetter{}, err
	}
	v := deadLetter(l)
	v.SetData(l.Data)
	return v, nil
}

func deadLetter(l *event.Letter) admin.DeadLetter {
	return admin.DeadLetter{
		ID: l.ID, Function: l.Function, Endpoint: l.Endpoint, Subject: l.Subject, Stream: l.Stream, Sequence: l.Sequence, Time: l.Time, Died: l.Died,
		Attempts: l.Attempts, Error: l.Error, Code: l.Code, Header: l.Header,
	}
}

// Redrive implements [admin.Events].
func (b backend) Redrive(ctx context.Context, id uint64, version string) error {
	err := b.h.Redrive(ctx, id, version)
	if err == nil || isRefused(wire.AsError(err)) {
		return err
	}
	return wire.Errorf(wire.Unprocessed, "it failed again, and stays: %v", err)
}

// isRefused reports whether the function has had no chance.
func isRefused(e *wire.Error) bool {
	switch e.Code {
	case wire.NotFound, wire.NoFunction, wire.BadRequest, wire.Unavailable, wire.Overloaded, wire.Canceled:
		return !e.Remote
	}
	return false
}

// PurgeDeadLetter implements [admin.Events].
func (b backend) PurgeDeadLetter(ctx context.Context, id uint64) error {
	return b.h.PurgeDeadLetter(ctx, id)
}
