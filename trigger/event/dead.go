package event

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// ErrNoLetter is wrapped by the errors for dead letters that are not there.
var ErrNoLetter = errors.New("no such dead letter")

// Letter is a dead letter: an event that its function could not handle.
type Letter struct {
	ID       uint64      `json:"id"` // its sequence among the dead letters
	Function string      `json:"function"`
	Endpoint string      `json:"endpoint,omitempty"`
	Subject  string      `json:"subject"`  // of the event
	Stream   string      `json:"stream"`   // that held it
	Sequence uint64      `json:"sequence"` // in that
	Time     time.Time   `json:"time"`     // when the event was stored
	Died     time.Time   `json:"died"`     // when it became a dead letter
	Attempts int         `json:"attempts"`
	Error    string      `json:"error"`
	Code     string      `json:"code"`
	Header   nats.Header `json:"header,omitempty"` // of the event
	Data     []byte      `json:"data,omitempty"`

	known wire.Header // what its source has made of it
}

func letterOf(h nats.Header, data []byte, id uint64, died time.Time) *Letter {
	l := &Letter{ID: id, Function: h.Get(HeaderFunction), Endpoint: h.Get(HeaderEndpoint), Subject: h.Get(HeaderSubject), Stream: h.Get(HeaderStream),
		Error: h.Get(HeaderError), Code: h.Get(HeaderCode), Died: died, Data: data, Header: make(nats.Header)}
	l.Sequence, _ = strconv.ParseUint(h.Get(HeaderSequence), 10, 64)
	l.Attempts, _ = strconv.Atoi(h.Get(HeaderAttempts))
	l.Time, _ = time.Parse(time.RFC3339Nano, h.Get(HeaderTime))
	for key, values := range h {
		if name, ok := strings.CutPrefix(key, headerKnown); ok {
			l.known = l.known.Add(":"+name, values[0])
		} else if !isOwn(key) {
			l.Header[key] = values
		}
	}
	return l
}

// Letters calls yield with the dead letters of a function, "" for all, from the
// oldest to the newest, until it returns false.
func (t *Trigger) Letters(ctx context.Context, function string, yield func(*Letter) bool) error {
	return t.LettersFrom(ctx, function, 1, yield)
}

// LettersFrom is Letters from an ID on.
func (t *Trigger) LettersFrom(ctx context.Context, function string, id uint64, yield func(*Letter) bool) error {
	stream, err := t.js.Stream(ctx, DeadStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	subject := DeadPrefix + ">"
	if function != "" {
		subject = DeadPrefix + function
	}
	return scan(ctx, stream, subject, id, func(m *jetstream.RawStreamMsg) bool {
		return yield(letterOf(m.Header, m.Data, m.Sequence, m.Time))
	})
}

// Letter returns one dead letter. The error wraps [ErrNoLetter] if there is none.
func (t *Trigger) Letter(ctx context.Context, id uint64) (*Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	stream, err := t.js.Stream(ctx, DeadStream)
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(ctx, id); err == nil {
			return letterOf(m.Header, m.Data, m.Sequence, m.Time), nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		err = ErrNoLetter
	}
	return nil, fmt.Errorf("dead letter %d: %w", id, err)
}

// Redrive runs the function of a dead letter once more, of a version if one is
// named, and removes the letter when that has gone well. It is the function of the
// letter alone that gets the event again, and not others that its subject starts. A
// letter of no function is a delayed message that no stream has taken, and is
// published once more.
func (t *Trigger) Redrive(ctx context.Context, id uint64, version string) error {
	l, err := t.Letter(ctx, id)
	if err != nil {
		return err
	}
	if l.Function == "" {
		return t.republish(ctx, l)
	}
	h := wire.Header(nil).Add(wire.KeySubject, l.Subject).Add(wire.KeyStream, l.Stream).AddInt(wire.KeySequence, int64(l.Sequence)).
		AddInt(wire.KeyTime, l.Time.UnixNano()).AddInt(wire.KeyAttempt, int64(l.Attempts)+1)
	h = append(h, l.known...)
	for key, values := range l.Header {
		for _, value := range values {
			h = h.Add(key, value)
		}
	}
	inv := &trigger.Invocation{Function: l.Function, Endpoint: l.Endpoint, Version: version, Trigger: trigger.Event, Header: h, Payload: l.Data}
	if l.known.Get(wire.KeyBucket) != "" {
		inv.Trigger = trigger.KV
	}
	err = t.runAlone(ctx, inv, t.specOf(ctx, l.Function, version, l.Endpoint, l.Subject))
	committed := t.effects.take(Commit{Function: l.Function, Endpoint: l.Endpoint, Stream: l.Stream, Sequence: l.Sequence, Time: l.Time.UnixNano()}.event)
	if err != nil {
		t.settle(committed, false)
		return fmt.Errorf("dead letter %d: %w", id, err)
	}
	err = t.Purge(ctx, id)
	t.settle(committed, err == nil) // as long as the letter is there, it may be redriven again
	return err
}

func (t *Trigger) republish(ctx context.Context, l *Letter) error {
	if _, err := t.Publish(ctx, &nats.Msg{Subject: l.Subject, Header: l.Header, Data: l.Data}); err != nil {
		return fmt.Errorf("dead letter %d: %w", l.ID, err)
	}
	return t.Purge(ctx, l.ID)
}

// Purge removes a dead letter. The error wraps [ErrNoLetter] if there is none.
func (t *Trigger) Purge(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	stream, err := t.js.Stream(ctx, DeadStream)
	if err == nil {
		if err = stream.DeleteMsg(ctx, id); err != nil {
			if _, e := stream.GetMsg(ctx, id); errors.Is(e, jetstream.ErrMsgNotFound) {
				err = ErrNoLetter
			}
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		err = ErrNoLetter
	}
	if err != nil {
		return fmt.Errorf("dead letter %d: %w", id, err)
	}
	return nil
}
