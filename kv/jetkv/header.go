package jetkv

import (
	"context"

	"github.com/nats-io/nats.go"
)

type headerKey struct{}

// WithHeader returns a context whose writes have a header: what their messages say
// beside what a bucket makes of them, for those who read its stream. The latest
// one counts. A name that the server or a bucket gives a meaning is none for it.
func WithHeader(ctx context.Context, name, value string) context.Context {
	return context.WithValue(ctx, headerKey{}, [2]string{name, value})
}

// mark gives a message the header of ctx, if that has one.
func mark(ctx context.Context, m *nats.Msg) {
	if h, ok := ctx.Value(headerKey{}).([2]string); ok {
		set(m, h[0], h[1])
	}
}
