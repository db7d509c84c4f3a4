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
	m  map[string]asked // by ID of the invocation
}

// asked is who asks for the invocations of one ID: a client may choose that of an asynchronous
// call, and so one that runs already.
type asked struct {
	identity string // "" for nobody, and for more than one
	running  int
}

// begin notes who asks for an invocation, and returns what forgets that, which may be called
// more than once. There is nothing to be forgotten of who is nobody, unless the ID is the client's.
func (c *callers) begin(inv *trigger.Invocation) (end func()) {
	identity := inv.Header.Get(wire.KeyIdentity)
	if identity == "" && inv.Trigger != trigger.Async {
		return nil
	}
	id := inv.ID
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[string]asked)
	}
	a, runs := c.m[id]
	if a.running++; !runs {
		a.identity = identity
	} else if a.identity != identity {
		a.identity = ""
	}
	c.m[id] = a
	ended := false
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if ended {
			return
		}
		ended = true
		if a := c.m[id]; a.running > 1 {
			a.running--
			c.m[id] = a
		} else {
			delete(c.m, id)
		}
	}
}

// header returns that of a call which a function makes in an invocation.
func (c *callers) header(invocation string) wire.Header {
	c.mu.Lock()
	identity := c.m[invocation].identity
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
