package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// StoredEvent is a message of a stream, as a list of them shows it.
type StoredEvent struct {
	Stream   string      `json:"stream"`
	Sequence uint64      `json:"sequence"`
	Time     time.Time   `json:"time"` // when it was stored
	Subject  string      `json:"subject"`
	Size     int         `json:"size"`             // of its data, in bytes
	Type     string      `json:"type,omitempty"`   // of a CloudEvent
	Begin    string      `json:"begin,omitempty"`  // of its data, if that is text, at most 200 bytes
	Header   nats.Header `json:"header,omitempty"` // of one that was asked for
	Data     []byte      `json:"data,omitempty"`   // of one that was asked for
}

// Point is a place in a stream: a sequence number, or a time. The zero value is its
// begin, or its end.
type Point struct {
	Sequence uint64
	Time     time.Time
}

// IsZero reports whether it says nothing.
func (p Point) IsZero() bool { return p.Sequence == 0 && p.Time.IsZero() }

// ParsePoint parses a sequence number, or a time as RFC 3339 has it; "" is the zero
// Point.
func ParsePoint(s string) (p Point, err error) {
	if s == "" {
		return p, nil
	}
	if p.Sequence, err = strconv.ParseUint(s, 10, 64); err == nil && p.Sequence > 0 {
		return p, nil
	}
	if p.Time, err = time.Parse(time.RFC3339Nano, s); err != nil {
		return p, wire.Errorf(wire.BadRequest, "%q: want a sequence number, or a time such as 2026-01-02T15:04:05Z", s)
	}
	return p, nil
}

// after reports whether a message lies behind the point.
func (p Point) after(m *jetstream.RawStreamMsg) bool {
	return p.Sequence > 0 && m.Sequence > p.Sequence || !p.Time.IsZero() && m.Time.After(p.Time)
}

// Range is a part of what streams hold.
type Range struct {
	Stream   string // "" for all that take the subject, but for the host's own, KV buckets and object stores
	Subject  string // wildcards allowed; "" for all
	From, To Point  // both belong to it
	Limit    int    // how many at most: the first ones of From, or else the latest ones; default and at most MaxRange
}

// MaxRange is how many messages a list has at most.
const MaxRange = 10_000

// Wrapped by the errors for what is not there.
var (
	ErrNoEvent  = errors.New("no such event")
	ErrNoStream = errors.New("no such stream")
	ErrNoBucket = errors.New("no such bucket") // beside ErrNoStream, where the stream is that of a bucket
)

// Events returns messages that streams hold, the oldest first, without their data.
// It reads one after the other, without a consumer. The error wraps [ErrNoStream] for
// a stream that is named and is not there.
func (t *Trigger) Events(ctx context.Context, q Range) (list []StoredEvent, err error) {
	if q.Limit <= 0 || q.Limit > MaxRange {
		q.Limit = MaxRange
	}
	streams, err := t.browsed(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, stream := range streams {
		found, err := latest(ctx, stream, q)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
		slices.SortStableFunc(list, func(a, b StoredEvent) int { return a.Time.Compare(b.Time) })
		if n := len(list) - q.Limit; n > 0 && q.From.IsZero() {
			list = slices.Delete(list, 0, n)
		} else if n > 0 {
			list = list[:q.Limit]
		}
	}
	return list, nil
}

// browsed returns the streams of a range.
func (t *Trigger) browsed(ctx context.Context, q Range) (list []jetstream.Stream, err error) {
	if q.Stream != "" {
		s, err := t.namedStream(ctx, q.Stream)
		return []jetstream.Stream{s}, err
	}
	if q.From.Sequence > 0 || q.To.Sequence > 0 {
		if q.Subject == "" {
			return nil, wire.Errorf(wire.BadRequest, "a sequence number is one of a stream: name the stream, or a subject")
		}
		s, err := t.findStream(ctx, "", q.Subject)
		if errors.Is(err, errNotTaken) {
			return nil, fmt.Errorf("stream of %s: %w", q.Subject, ErrNoEvent)
		}
		return []jetstream.Stream{s}, err
	}
	lister := t.js.ListStreams(ctx)
	for info := range lister.Info() {
		if isInternal(info) || q.Subject != "" && !slices.ContainsFunc(info.Config.Subjects, func(s string) bool { return overlap(s, q.Subject) }) {
			continue
		}
		s, err := t.js.Stream(ctx, info.Config.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // it has just gone
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
		list = append(list, s)
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	return list, nil
}

// internal are the host's own streams, but for that of events.
var internal = []string{DeadStream, ScheduleStream, LaterStream, EffectStream, SeenStream, "calls", "callbacks", "runs", "ran"}

// isInternal reports whether a stream holds no events of users.
func isInternal(info *jetstream.StreamInfo) bool {
	name := info.Config.Name
	return slices.Contains(internal, name) || info.Config.Mirror != nil || strings.HasPrefix(name, "KV_") || strings.HasPrefix(name, "OBJ_")
}

func (t *Trigger) namedStream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := t.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrInvalidStreamName) {
		err = ErrNoStream
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return s, nil
}

// latest returns what of one stream belongs to a range: the first messages after its
// begin, or else the last ones before its end.
func latest(ctx context.Context, stream jetstream.Stream, q Range) ([]StoredEvent, error) {
	state := stream.CachedInfo().State
	if !q.From.IsZero() {
		first, err := sequence(ctx, stream, q.From)
		if err != nil {
			return nil, err
		}
		return collect(ctx, stream, q, first, state.LastSeq, false)
	}
	last := state.LastSeq
	if q.To.Sequence > 0 {
		last = min(last, q.To.Sequence)
	} else if !q.To.Time.IsZero() {
		after, err := sequence(ctx, stream, Point{Time: q.To.Time.Add(time.Nanosecond)})
		if err != nil {
			return nil, err
		}
		last = after - 1
	}
	// Nobody tells where the latest ones begin, so the part that is read doubles.
	for width := uint64(q.Limit); ; width *= 2 {
		first := uint64(1)
		if last > width {
			first = last - width + 1
		}
		list, err := collect(ctx, stream, q, first, last, true)
		if err != nil || len(list) == q.Limit || first <= max(state.FirstSeq, 1) {
			return list, err
		}
	}
}

// collect returns messages from first to last that belong to a range: the last ones
// of them, or the first ones.
func collect(ctx context.Context, stream jetstream.Stream, q Range, first, last uint64, latest bool) (list []StoredEvent, err error) {
	err = scan(ctx, stream, q.Subject, first, func(m *jetstream.RawStreamMsg) bool {
		if m.Sequence > last || q.To.after(m) {
			return false
		}
		if latest && len(list) == 2*q.Limit {
			list = slices.Delete(list, 0, q.Limit)
		}
		list = append(list, summary(stream.CachedInfo().Config.Name, m))
		return latest || len(list) < q.Limit
	})
	return list[max(0, len(list)-q.Limit):], err
}

// scan calls yield with the messages of a stream on a subject, "" for all, from a
// sequence number on, until it returns false.
func scan(ctx context.Context, stream jetstream.Stream, subject string, first uint64, yield func(*jetstream.RawStreamMsg) bool) error {
	for next := max(first, 1); ; {
		m, err := nextMessage(ctx, stream, subject, next)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !yield(m) {
			return nil
		}
		next = m.Sequence + 1
	}
}

// nextMessage returns the first message of a stream on a subject, "" for all, from a
// sequence number on. The error wraps [jetstream.ErrMsgNotFound] if there is none.
func nextMessage(ctx context.Context, stream jetstream.Stream, subject string, from uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if subject == "" {
		subject = ">"
	}
	m, err := stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.CachedInfo().Config.Name, err)
	}
	return m, nil
}

// sequence returns the sequence number of the first message from a point on, or the
// one after the last. Times are in the order of sequence numbers.
func sequence(ctx context.Context, stream jetstream.Stream, p Point) (uint64, error) {
	if p.Time.IsZero() {
		return p.Sequence, nil
	}
	state := stream.CachedInfo().State
	low, high := max(state.FirstSeq, 1), state.LastSeq+1
	for low < high {
		middle := low + (high-low)/2
		m, err := nextMessage(ctx, stream, "", middle)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			high = middle
		case err != nil:
			return 0, err
		case m.Time.Before(p.Time):
			low = m.Sequence + 1
		default:
			high = middle
		}
	}
	return low, nil
}

// maxBegin bounds what a list shows of an event's data, in bytes.
const maxBegin = 200

func summary(stream string, m *jetstream.RawStreamMsg) StoredEvent {
	e := StoredEvent{Stream: stream, Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Size: len(m.Data), Type: eventType(m)}
	e.Begin = strings.ToValidUTF8(string(m.Data[:min(len(m.Data), maxBegin)]), "\uFFFD")
	return e
}

// eventType returns the type of a CloudEvent, "" of what is none.
func eventType(m *jetstream.RawStreamMsg) string {
	for key, values := range m.Header {
		if strings.EqualFold(key, "ce-type") && len(values) > 0 {
			return values[0]
		}
	}
	if kind, _, _ := mime.ParseMediaType(m.Header.Get("Content-Type")); kind != "application/cloudevents+json" {
		return ""
	}
	var envelope struct{ Type string }
	json.Unmarshal(m.Data, &envelope)
	return envelope.Type
}

// Event returns one message of a stream, with its data and headers.
// The error wraps [ErrNoEvent] or [ErrNoStream] if there is none.
func (t *Trigger) Event(ctx context.Context, stream string, sequence uint64) (*StoredEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	s, err := t.namedStream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := s.GetMsg(ctx, max(sequence, 1))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence != sequence {
		err = ErrNoEvent
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s, sequence %d: %w", stream, sequence, err)
	}
	e := summary(stream, m)
	e.Data, e.Header = m.Data, m.Header
	for _, key := range []string{jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer} {
		e.Header.Del(key) // the server adds them where it answers without the stream's leader
	}
	return &e, nil
}
