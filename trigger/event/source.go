package event

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Source is where the events of a trigger come from: a stream, and what in it they are.
// Those of event triggers and schedules are made here, others by [Config.Sources].
type Source struct {
	Kind string // of the trigger, as an invocation has it
	// ID tells it from others of its function, whatever else changes: a consumer of the
	// same ID goes on where it was.
	ID   string
	Name string // for people, and by which it is paused: a subject, "bucket/keys"
	// Bucket and Keys are those of a kv trigger, "" for others.
	Bucket, Keys string
	// Spec says how events are handled, with their stream, if it is known, and a subject
	// that all of them are on.
	Spec manifest.Event
	// HeadersOnly has events come without their data.
	HeadersOnly bool
	// Messages says more of them. Nil takes all, as they are.
	Messages Messages
}

// Messages says what messages of a stream are as events. It is data, compared by
// [reflect.DeepEqual] to see whether a trigger has changed; its methods are safe for
// concurrent use.
type Messages interface {
	// Takes reports whether a message is an event at all. Others are acknowledged.
	Takes(m *nats.Msg) bool
	// Header adds what the function gets to know beside what all events have. stored is
	// when the message was, and maxAge that of its stream, 0 for none. Its keys begin with a colon.
	Header(h wire.Header, m *nats.Msg, stored time.Time, maxAge time.Duration) wire.Header
	// Gone returns when a message goes from its stream that nothing will take the place
	// of, the zero time for never: it is not tried again after that.
	Gone(m *nats.Msg, stored time.Time) time.Time
}

// eventSource is that of an event trigger.
func eventSource(spec *manifest.Event) Source {
	return Source{Kind: trigger.Event, ID: spec.Stream + " " + spec.Subject + " " + spec.Endpoint, Name: spec.Subject, Spec: *spec}
}

// sourcesOf returns those of a manifest, but for schedules.
func (t *Trigger) sourcesOf(m *manifest.Manifest) (list []Source) {
	for i := range m.Triggers.Event {
		list = append(list, eventSource(&m.Triggers.Event[i]))
	}
	if t.sources != nil {
		list = append(list, t.sources(m)...)
	}
	return list
}

// takes reports whether a message is an event that the trigger handles.
func (s *Source) takes(m *nats.Msg) bool { return s.Messages == nil || s.Messages.Takes(m) }

// header adds what the function gets to know of a message of this source.
func (s *Source) header(h wire.Header, m *nats.Msg, stored time.Time, maxAge time.Duration) wire.Header {
	if s.Messages == nil {
		return h
	}
	return s.Messages.Header(h, m, stored, maxAge)
}

// isNamed reports whether a name means this trigger, "" for any.
func (s *Source) isNamed(name string) bool {
	return name == "" || name == s.Name || s.Bucket != "" && name == s.Bucket
}

// beforeGone shortens the time before an event is tried again, if it were gone from its
// stream by then, and returns false if there is no time left for that.
func (r *reader) beforeGone(delay time.Duration, m jetstream.Msg, meta *jetstream.MsgMetadata) (time.Duration, bool) {
	if r.source.Messages == nil {
		return delay, true
	}
	end := r.source.Messages.Gone(bare(m), meta.Timestamp)
	if end.IsZero() {
		return delay, true
	}
	left := time.Until(end) - goneMargin
	if delay <= left {
		return delay, true
	}
	return left, left > 0 && left >= r.spec.Backoff
}

// goneMargin is how long before an event goes it is tried again at the latest.
const goneMargin = time.Second

// bare returns what there is of a message without its data.
func bare(m jetstream.Msg) *nats.Msg { return &nats.Msg{Subject: m.Subject(), Header: m.Headers()} }

// requestHeader is what the function gets to know of the message.
func (r *reader) requestHeader(m jetstream.Msg, meta *jetstream.MsgMetadata) (h wire.Header, depth int, err error) {
	h = make(wire.Header, 0, 512)
	h = h.Add(wire.KeySubject, m.Subject()).Add(wire.KeyStream, meta.Stream).AddInt(wire.KeySequence, int64(meta.Sequence.Stream)).
		AddInt(wire.KeyTime, meta.Timestamp.UnixNano()).AddInt(wire.KeyAttempt, int64(meta.NumDelivered))
	if r.source.Messages != nil {
		h = r.source.header(h, bare(m), meta.Timestamp, time.Duration(r.maxAge.Load()))
	}
	return passHeader(h, m.Headers())
}
