package functions

import (
	"context"
	"fmt"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// PublishOption says more of what is published.
type PublishOption func(wire.Header) wire.Header

// ID names a message, so that a stream takes it once: a second one of the same
// name, within the stream's window (two minutes unless it is set otherwise), is
// accepted and not stored.
func ID(id string) PublishOption {
	return func(h wire.Header) wire.Header { return h.Add("Nats-Msg-Id", id) }
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
// access list does not name, [BadRequest] for one that is none, [TooLarge] for a
// message over the server's limit, or [Unavailable] when it cannot be stored; the
// error of ctx; or [ErrNoHost].
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
	if _, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h, Payload: payload}); err != nil {
		return fmt.Errorf("publish on %q: %w", subject, err)
	}
	return nil
}
