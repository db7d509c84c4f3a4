package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// Stored says where a message was stored.
type Stored struct {
	Stream    string `json:"stream,omitempty"` // "" if no stream takes the subject: it went to who listened
	Sequence  uint64 `json:"sequence,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // one of its id was stored before
}

// Publish sends a message: to the stream that takes its subject, which has stored
// it when Publish returns, or else to who listens. A stream that somebody else has
// just made is known of after a second. A message with the header Nats-Schedule, "@at"
// and a time, is kept until then, and Stored says where; not so one with a
// Nats-Schedule-Target, which is for the stream that takes it.
//
// The error is, or wraps, a *wire.Error where the message is at fault: of code
// BadRequest for headers that are wrong, Conflict if another sequence is the last
// one than Nats-Expected-Last-Subject-Sequence says, and TooLarge for a message over
// the stream's limit.
func (t *Trigger) Publish(ctx context.Context, m *nats.Msg) (Stored, error) {
	at, err := checkHeaders(m.Header)
	if err != nil {
		return Stored{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if !at.IsZero() {
		if time.Until(at) > 0 {
			return t.publishLater(ctx, m, at)
		}
		m = without(m, headerSchedule)
	}
	return t.publish(ctx, m)
}

// Store is Publish for messages that a stream must take, at once: the error is of
// code Unavailable if none does.
func (t *Trigger) Store(ctx context.Context, m *nats.Msg) (Stored, error) {
	if _, err := checkHeaders(m.Header); err != nil {
		return Stored{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	s, err := t.store(ctx, m)
	if err == nil && s.Stream == "" {
		err = wire.Errorf(wire.Unavailable, "no stream takes %q, so that the event is not stored: an event trigger of a function makes one, or make one yourself", m.Subject)
	}
	return s, err
}

// publish sends a message now.
func (t *Trigger) publish(ctx context.Context, m *nats.Msg) (Stored, error) {
	s, err := t.store(ctx, m)
	if err != nil || s.Stream != "" {
		return s, err
	}
	if m.Header.Get(headerExpect) != "" {
		return s, wire.Errorf(wire.BadRequest, "no stream takes %q, so that it has no last sequence", m.Subject)
	}
	return s, t.conn.PublishMsg(m)
}

// store has the stream that takes a message store it; without one it does nothing.
func (t *Trigger) store(ctx context.Context, m *nats.Msg) (Stored, error) {
	for range 2 {
		stream, err := t.taker(ctx, m.Subject)
		if err != nil || stream == "" {
			return Stored{}, err
		}
		ack, err := t.js.PublishMsg(ctx, m)
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			t.takers.Clear() // it is gone
			continue
		}
		if err != nil {
			return Stored{}, refusal(stream, m, err)
		}
		return Stored{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
	}
	return Stored{}, nil
}

// MayPublish reports whether a header is one of those of NATS that a function may set.
func MayPublish(key string) bool { return what[key] != "" }

// Message returns a message whose headers have come by HTTP, which does not keep how
// their names are written, as those of NATS and of CloudEvents must be.
func Message(subject string, header map[string][]string, data []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	for key, values := range header {
		switch lower := strings.ToLower(key); {
		case strings.HasPrefix(lower, "ce-"):
			key = lower
		case lower == "nats-ttl":
			key = headerTTL
		}
		m.Header[key] = append(m.Header[key], values...)
	}
	return m
}

// Codes of the server's errors that the client library has no names for.
const (
	errTTLInvalid  = 10165
	errTTLDisabled = 10166
)

// isWrongLast reports whether a message was refused since another one is the last on
// its subject than was expected, or will be: see isComing.
func isWrongLast(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || isComing(err)
}

// isComing reports whether a message was refused since another one for its subject is
// on its way to the nodes of a cluster. It is not there to be read yet, and may still fail.
func isComing(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// refusal returns the error of a message that a stream did not take.
func refusal(stream string, m *nats.Msg, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	if isWrongLast(err) {
		return wire.Errorf(wire.Conflict, "the last event on %q is another one: %s", m.Subject, api.Description)
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return wire.Errorf(wire.TooLarge, "a message of %d bytes is over the limit of the stream %s", m.Size(), stream)
	case errTTLInvalid, errTTLDisabled, jetstream.JSErrCodeMessageSchedulesDisabled, jetstream.JSErrCodeSchedulePatternInvalid:
		return wire.Errorf(wire.BadRequest, "the stream %s: %s", stream, api.Description)
	}
	return err
}

// noTaker is how long it is believed that no stream takes a subject.
const noTaker = time.Second

// taker is the stream that takes a subject, as it was found.
type taker struct {
	stream string
	until  time.Time // for none
}

// taker returns the stream that takes a subject, "" for none.
func (t *Trigger) taker(ctx context.Context, subject string) (string, error) {
	if v, ok := t.takers.Load(subject); ok {
		if known := v.(taker); known.stream != "" || time.Now().Before(known.until) {
			return known.stream, nil
		}
	}
	stream, err := t.js.StreamNameBySubject(ctx, subject)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", err
	}
	if t.takersSize.Add(1) > 10_000 { // subjects with something unique in them
		t.takers.Clear()
		t.takersSize.Store(0)
	}
	t.takers.Store(subject, taker{stream, time.Now().Add(noTaker)})
	return stream, nil
}

// letterRoom is what a dead letter may be larger than its event.
const letterRoom = maxError + 4<<10

// maxHeaders is what the server takes of headers, in bytes.
const maxHeaders = 64 << 10

// MaxPayload returns the size of the largest event in bytes, with its headers: that
// of the server's largest message, but for what a dead letter adds.
func (t *Trigger) MaxPayload() int64 { return max(t.conn.MaxPayload()-letterRoom, 0) }

// CheckSubject returns what is wrong with a subject to publish on, nil for nothing.
func CheckSubject(subject string) error {
	switch {
	case subject == "" || len(subject) > 255 || strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, ".."):
		return fmt.Errorf("subject %.80q: want parts with dots between, such as orders.created", subject)
	case strings.ContainsAny(subject, " \t\r\n\x00*>"):
		return fmt.Errorf("subject %.80q has a space or a wildcard", subject)
	}
	for _, own := range []string{"$", "_INBOX.", "fn.", DeadPrefix, schedulePrefix, tickPrefix, laterPrefix} {
		if strings.HasPrefix(subject, own) {
			return fmt.Errorf("subject %.80q is one of the host's own", subject)
		}
	}
	return nil
}
