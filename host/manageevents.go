package host

import (
	"context"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger/event"
)

// Triggers implements [admin.Events].
func (b backend) Triggers(ctx context.Context) []admin.EventTrigger {
	list := []admin.EventTrigger{}
	for _, s := range b.h.Triggers(ctx) {
		list = append(list, admin.EventTrigger(s))
	}
	return list
}

// Publish implements [admin.Events].
func (b backend) Publish(ctx context.Context, subject string, header map[string][]string, data []byte) (admin.Receipt, error) {
	s, err := b.h.Publish(ctx, event.Message(subject, header, data))
	return admin.Receipt(s), err
}

// DeadLetters implements [admin.Events].
func (b backend) DeadLetters(ctx context.Context, function string, limit int) (list []admin.DeadLetter, err error) {
	err = b.h.DeadLetters(ctx, function, func(l *event.Letter) bool {
		list = append(list, deadLetter(l))
		return len(list) < limit
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
	if err != nil && wire.AsError(err).Code == wire.Internal {
		return wire.Errorf(wire.Unprocessed, "it failed again, and stays: %v", err)
	}
	return err
}

// PurgeDeadLetter implements [admin.Events].
func (b backend) PurgeDeadLetter(ctx context.Context, id uint64) error {
	return b.h.PurgeDeadLetter(ctx, id)
}
