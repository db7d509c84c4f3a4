package functions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/kv"
)

// Atomically runs fn, and then has all that fn has published, and changed in a bucket, by its context take
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
// takes is sent once, and perhaps again after a crash. Of buckets ([KV]) one can be changed, each key once;
// fn reads what was there before, gets 0 for revisions, and of Add the sum as it would be now: adding is no
// conflict, whoever else adds. If a condition does not hold in the end, also that of a Touch (that nobody else has changed the key), nothing
// happens, and fn is run again, up to 10 times in all; then Atomically returns a
// *[kv.ConflictError]. Such a commit takes some milliseconds. What fn does elsewhere (a
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
		return wire.OfHost(fmt.Errorf("atomically: %w", Errorf(BadRequest, "within another one: what the outer one does is atomic already")))
	}
	number := s.atomics.Add(1)
	h := wire.Header(nil).AddInt(wire.KeyNumber, number).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	if s.header.Get(wire.KeyReplayed) == "" {
		for _, key := range []string{wire.KeyEndpoint, wire.KeyStream, wire.KeySequence, wire.KeyTime} {
			if value, ok := s.header.Lookup(key); ok {
				h = h.Add(key, value)
			}
		}
	}
	if attempt, ok := s.header.Int(wire.KeyAttempt); ok && attempt > 1 {
		r, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h.Add(wire.KeyOp, "committed")})
		if err != nil {
			return wire.OfHost(fmt.Errorf("atomically: %w", err))
		}
		if string(r.Payload) == "yes" {
			return nil
		}
	}
	for try := 1; ; try++ {
		err := s.commit(ctx, number, h, fn)
		if err == nil || try == atomicTries || !errors.Is(err, errRefused) {
			return err
		}
		select { // those who were in the way have to get out of it
		case <-time.After(rand.N(time.Duration(try) * 5 * time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
}

// atomicTries is how often what a condition has refused is tried.
const atomicTries = 10

// refused is the error of effects that a condition has refused.
type refused struct{ error }

var errRefused = errors.New("refused")

func (r refused) Unwrap() []error { return []error{r.error, errRefused} }

// commit runs fn once, and has its effects take place.
func (s *scope) commit(ctx context.Context, number int64, h wire.Header, fn func(ctx context.Context) error) error {
	c := &collector{Runtime: s.runtime}
	inner := &scope{Context: ctx, function: s.function, header: s.header, runtime: c}
	inner.published.Store(uint32(number) << 16) // names of its own, the same in each attempt
	if err := fn(inner); err != nil {
		c.end()
		return err
	}
	effects := c.end()
	if len(effects) == 0 {
		return nil
	}
	r, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h.Add(wire.KeyOp, "commit"), Payload: effects})
	if err != nil {
		return wire.OfHost(fmt.Errorf("atomically: %w", err))
	}
	err = kvwire.FaultOf(r)
	if errors.Is(err, kv.ErrConflict) {
		err = refused{err}
	}
	if err != nil {
		return fmt.Errorf("atomically: %w", err)
	}
	return nil
}

// collector keeps what is to take effect later.
type collector struct {
	Runtime

	mu       sync.Mutex
	messages []byte
	bucket   string // that is changed, "" for none
	changes  []byte
	depth    int64 // of the invocation
	ended    bool
}

// Do implements [Runtime].
func (c *collector) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	op := req.Header.Get(wire.KeyOp)
	if kvwire.Changing(op) {
		return c.change(ctx, req)
	}
	if op != "publish" {
		return c.Runtime.Do(ctx, req)
	}
	if len(req.Header) > wire.MaxHeader {
		return nil, Errorf(wire.HeaderLarge, "the headers are larger than %d bytes", wire.MaxHeader)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, errReturned
	}
	c.messages = wire.AppendMessage(c.messages, req.Header, req.Payload)
	return &wire.Response{}, nil
}

var errReturned = Errorf(BadRequest, "the function given to Atomically has returned: nothing can be added")

// change keeps changes of a bucket.
func (c *collector) change(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	changes, r, err := kvwire.Collect(ctx, c.Runtime.Do, req)
	if err != nil || len(changes) == 0 {
		return r, err
	}
	name := req.Header.Get(wire.KeyTarget)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return nil, errReturned
	case c.bucket != "" && c.bucket != name:
		return nil, Errorf(BadRequest, "the buckets %q and %q cannot be changed atomically: one of them can", c.bucket, name)
	}
	c.bucket = name
	c.depth, _ = req.Header.Int(wire.KeyDepth)
	c.changes = append(c.changes, changes...)
	return r, nil
}

// end returns what there is, and takes no more.
func (c *collector) end() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.bucket != "" {
		h := wire.Header(nil).Add(wire.KeyOp, "kv.commit").Add(wire.KeyTarget, c.bucket).AddInt(wire.KeyDepth, c.depth)
		c.messages = wire.AppendMessage(c.messages, h, c.changes)
	}
	return c.messages
}
