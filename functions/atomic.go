package functions

import (
	"context"
	"fmt"
	"sync"

	"github.com/fnhost/fnhost/functions/wire"
)

// Atomically runs fn, and then has all that fn has published by its context take
// effect, or nothing of it if fn returns an error. In the invocation for an event,
// and in an asynchronous one, that is once: when it comes again, since the host or
// the worker ended in the middle or the handler failed later on, Atomically returns
// nil without a second effect, and mostly without running fn. So a total that is kept
// by published events stays exact. A replay, and a batch, has effects each time it runs.
//
// What is covered is what goes through the host by fn's context: messages of
// [Publish], to streams that keep what was handled (of a work queue, a crash at the
// wrong moment may let one in again). The messages appear one after the other, the
// later ones soon after the first even if the host ends in between. What no stream
// takes is sent once, and perhaps again after a crash. What fn does elsewhere (a
// [Call], a file, another service) is done at once, and each time that fn runs.
// Several uses in one invocation are told apart by their order; they must not run at
// the same time, nor within each other.
//
// It returns the error of fn; an *[Error] as Publish does, of code [BadRequest] also
// for a message with an expected sequence, [TooLarge] if the messages together
// are larger than one may be, and [Unavailable] when they cannot be stored, or are
// stored and cannot take effect yet (they will); or [ErrNoHost].
func Atomically(ctx context.Context, fn func(ctx context.Context) error) error {
	s := scopeOf(ctx)
	if s == nil {
		return ErrNoHost
	}
	if _, nested := s.runtime.(*collector); nested {
		return fmt.Errorf("atomically: %w", Errorf(BadRequest, "within another one: what the outer one does is atomic already"))
	}
	number := s.atomics.Add(1)
	h := wire.Header(nil).AddInt(wire.KeyNumber, number).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	if s.header.Get(wire.KeyReplayed) == "" {
		for _, key := range []string{wire.KeyEndpoint, wire.KeyStream, wire.KeySequence} {
			if value, ok := s.header.Lookup(key); ok {
				h = h.Add(key, value)
			}
		}
	}
	if attempt, ok := s.header.Int(wire.KeyAttempt); ok && attempt > 1 {
		r, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h.Add(wire.KeyOp, "committed")})
		if err != nil {
			return fmt.Errorf("atomically: %w", err)
		}
		if string(r.Payload) == "yes" {
			return nil
		}
	}
	c := &collector{Runtime: s.runtime}
	inner := &scope{Context: ctx, function: s.function, header: s.header, runtime: c}
	inner.published.Store(uint32(number) << 16) // names of its own, the same in each attempt
	if err := fn(inner); err != nil {
		c.end()
		return err
	}
	messages := c.end()
	if len(messages) == 0 {
		return nil
	}
	if _, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h.Add(wire.KeyOp, "commit"), Payload: messages}); err != nil {
		return fmt.Errorf("atomically: %w", err)
	}
	return nil
}

// collector keeps what is to take effect later.
type collector struct {
	Runtime

	mu       sync.Mutex
	messages []byte
	ended    bool
}

// Do implements [Runtime].
func (c *collector) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	if req.Header.Get(wire.KeyOp) != "publish" {
		return c.Runtime.Do(ctx, req)
	}
	if len(req.Header) > wire.MaxHeader {
		return nil, Errorf(wire.HeaderLarge, "the headers are larger than %d bytes", wire.MaxHeader)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, Errorf(BadRequest, "the function given to Atomically has returned: nothing can be added")
	}
	c.messages = wire.AppendMessage(c.messages, req.Header, req.Payload)
	return &wire.Response{}, nil
}

// end returns what there is, and takes no more.
func (c *collector) end() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.messages
}
