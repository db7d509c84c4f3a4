package functions

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// PublishOption says more of what is published. Each can be given once; of [Delay]
// and [At], and of [CloudEvent] and [StructuredCloudEvent], one.
type PublishOption func(wire.Header) wire.Header

// What NATS knows of it is told in the headers of NATS, which a host looks at.
const (
	headerID       = "Nats-Msg-Id"
	headerTTL      = "Nats-TTL"
	headerExpect   = "Nats-Expected-Last-Subject-Sequence"
	headerSchedule = "Nats-Schedule"
)

// ID names a message, so that a stream takes it once: a second one of the same
// name, within the stream's window (two minutes unless it is set otherwise), is
// accepted and not stored. With [Delay] or [At], so is one of the same subject and
// name for as long as the first one waits.
func ID(id string) PublishOption {
	return func(h wire.Header) wire.Header { return h.Add(headerID, id) }
}

// Delay has a message published after d, at most 30 days; if d is 0 or less, at
// once. The message is stored when [Publish] returns, and comes to its subject at
// least once, whatever ends meanwhile: what is due while no host runs is published
// when one does. Of which stream takes the subject, that moment decides, and if one
// can never take it, it becomes a dead letter.
func Delay(d time.Duration) PublishOption {
	return func(h wire.Header) wire.Header { return schedule(h, time.Now().Add(d)) }
}

// At is as [Delay], with the time at which the message is to be published.
func At(t time.Time) PublishOption {
	return func(h wire.Header) wire.Header { return schedule(h, t) }
}

func schedule(h wire.Header, t time.Time) wire.Header {
	return h.Add(headerSchedule, "@at "+t.UTC().Format(time.RFC3339Nano))
}

// TTL has the stream that takes a message forget it d after it was stored, handled
// or not: whole seconds, at least one; anything else is an error. The stream must
// allow that, as the host's own does.
func TTL(d time.Duration) PublishOption {
	return func(h wire.Header) wire.Header { return h.Add(headerTTL, d.String()) }
}

// ExpectLast has a message stored only if the latest one on its subject is the one
// of that sequence, which [Event].Sequence tells, or if there is none yet for 0. The
// error is of code [Conflict] otherwise. It does not go with [Delay] and [At].
func ExpectLast(sequence uint64) PublishOption {
	return func(h wire.Header) wire.Header {
		return h.Add(headerExpect, strconv.FormatUint(sequence, 10))
	}
}

// WithHeader gives a message a header. Those of NATS itself, and names that begin
// with a colon, cannot be set so.
func WithHeader(key, value string) PublishOption {
	return func(h wire.Header) wire.Header {
		if strings.HasPrefix(strings.ToLower(key), "nats-") || strings.HasPrefix(key, ":") {
			return h
		}
		return h.Add(key, value)
	}
}

// Publish sends v on a subject: []byte and string as they are, all else as JSON.
// If a stream takes the subject, as it does where a function's event trigger
// names it, the message is stored when Publish returns nil. Otherwise it reaches
// those who listen at that moment.
//
// It returns an *[Error]: of code [Forbidden] for a subject that the manifest's
// access list does not name, [BadRequest] for one that is none, or for options that
// are wrong or contradict each other, [Conflict] where [ExpectLast] finds something
// else, [TooLarge] for a message over the limit of the server or of the stream, or
// [Unavailable] when it cannot be stored; the error of ctx; or [ErrNoHost].
func Publish(ctx context.Context, subject string, v any, options ...PublishOption) error {
	s := scopeOf(ctx)
	if s == nil {
		return ErrNoHost
	}
	payload, err := encode(v)
	if err != nil {
		return fmt.Errorf("publish on %q: %w", subject, err)
	}
	h := wire.Header(nil).Add(wire.KeyOp, "publish").Add(wire.KeyTarget, subject).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	if depth, ok := s.header.Int(wire.KeyDepth); ok {
		h = h.AddInt(wire.KeyDepth, depth)
	}
	for _, option := range options {
		h = option(h)
	}
	if h.Get(keyCloudEvent) != "" {
		if h, payload, err = s.cloudEvent(h, v, payload); err != nil {
			return wire.OfHost(fmt.Errorf("publish on %q: %w", subject, err))
		}
	}
	if _, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h, Payload: payload}); err != nil {
		return wire.OfHost(fmt.Errorf("publish on %q: %w", subject, err))
	}
	return nil
}
