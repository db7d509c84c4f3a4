package functions

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Event is a message of a stream that started a function. A handler of the shape
//
//	func Handle(ctx context.Context, e functions.Event) error
//
// takes it with all that is known of it; one that takes a type of its own gets
// its data alone (of a CloudEvent in structured mode, those inside it), and one
// that takes []byte or a string the data as they came. It is handled at least once: again, after a while, if the
// handler returns an error, and also if the host or the worker ended in the middle.
// [Permanent] and [RetryAfter] say otherwise.
type Event struct {
	Subject  string
	Data     []byte
	Header   map[string][]string // of the message, without those of NATS itself
	Stream   string              // "" for a message of no stream
	Sequence uint64              // in the stream; with it, the same in every attempt
	Time     time.Time           // when it was stored
	Attempt  int                 // from 1
	Replayed bool                // an operator has it run once more (fnhost replay): it may have been handled before

	// The attributes of a CloudEvent (https://cloudevents.io, version 1.0), in
	// binary or structured mode; "" for a message that is none. The others are in
	// Header, in either mode: "ce-time", "ce-subject", "ce-" and the name of an
	// extension, and "Content-Type" for that of the data.
	ID, Source, Type string

	// Entry is the change of a key that a kv trigger is for, in the bucket of that name;
	// nil for any other event. Its value is Data as well.
	Entry  *kv.Entry
	Bucket string
}

// Decode stores the event's data in v, a pointer: as it is for *[]byte and
// *string, else by way of JSON.
func (e *Event) Decode(v any) error {
	if err := decode(e.Data, v); err != nil {
		return fmt.Errorf("event on %s: %w", e.Subject, err)
	}
	return nil
}

var eventType = reflect.TypeFor[Event]()

// newEvent makes the Event of an invocation. One that no stream has started is an
// event of the payload alone.
func newEvent(h wire.Header, body []byte) Event {
	e := Event{Data: body, Header: make(map[string][]string), Attempt: 1}
	for key, value := range h.All() {
		switch key {
		case wire.KeySubject:
			e.Subject = value
		case wire.KeyStream:
			e.Stream = value
		case wire.KeyBucket:
			e.Bucket = value
		default:
			if len(key) > len(attributePrefix) && strings.EqualFold(key[:len(attributePrefix)], attributePrefix) {
				e.setAttribute(strings.ToLower(key), percentDecode(value))
			} else if key[0] != ':' {
				e.Header[key] = append(e.Header[key], value)
			}
		}
	}
	if n, ok := h.Int(wire.KeySequence); ok {
		e.Sequence = uint64(n)
	}
	if n, ok := h.Int(wire.KeyAttempt); ok {
		e.Attempt = int(n)
	}
	e.Replayed = h.Get(wire.KeyReplayed) != ""
	if ns, ok := h.Int(wire.KeyTime); ok {
		e.Time = time.Unix(0, ns)
	}
	if e.Bucket != "" {
		e.Entry = entryOf(&e, h, body)
	}
	if isCloudEvent(h, body) {
		e.structured()
	}
	return e
}

// Permanent returns err, marked so that the event is not tried again: it becomes
// a dead letter at once. It returns nil for nil.
func Permanent(err error) error { return withRetry(err, -1) }

// RetryAfter returns err, marked so that the event is tried again after d, at
// least a millisecond, unless its retries are spent. It returns nil for nil.
func RetryAfter(err error, d time.Duration) error { return withRetry(err, max(d, time.Millisecond)) }

func withRetry(err error, d time.Duration) error {
	e := wire.AsError(err)
	if e == nil {
		return nil
	}
	marked := *e
	marked.Retry = d
	return &retryError{&marked, err}
}

// retryError is an error with a mark, which still is what it was.
type retryError struct {
	marked *Error
	err    error
}

func (e *retryError) Error() string { return e.err.Error() }

func (e *retryError) Unwrap() error { return e.err }

// Marked is what [wire.AsError] takes of several errors that were joined.
func (e *retryError) Marked() *Error { return e.marked }

// As lets the marked error be found before the one that it was made of.
func (e *retryError) As(target any) bool {
	p, ok := target.(**Error)
	if ok {
		*p = e.marked
	}
	return ok
}
