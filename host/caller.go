package host

import (
	"io"
	"sync"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// callers remembers who asked for the invocations that run, as far as somebody has proved to:
// what a function calls in one of them is called for the same. A worker says in which of its
// invocations it calls, and not for whom; so the worst that a function can do is to act for
// another one of its own callers of the moment.
type callers struct {
	mu sync.Mutex
	m  map[string]string // identity, by ID of the invocation
}

// begin notes who asks for an invocation, and returns what forgets that.
func (c *callers) begin(inv *trigger.Invocation) (end func()) {
	identity := inv.Header.Get(wire.KeyIdentity)
	if identity == "" {
		return nil
	}
	id := inv.ID
	c.mu.Lock()
	if c.m == nil {
		c.m = make(map[string]string)
	}
	c.m[id] = identity
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		delete(c.m, id)
		c.mu.Unlock()
	}
}

// header returns that of a call which a function makes in an invocation.
func (c *callers) header(invocation string) wire.Header {
	c.mu.Lock()
	identity := c.m[invocation]
	c.mu.Unlock()
	if identity == "" {
		return nil
	}
	return wire.Header(nil).Add(wire.KeyIdentity, identity)
}

// endingBody tells of its end, perhaps more than once.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b endingBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}
