package worker

import (
	"context"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

type waiter struct {
	got chan grant // capacity 1
}

type grant struct {
	m   *member
	err error
}

// place is acquire with a deadline beside that of the context.
func (p *Pool) place(ctx context.Context, deadline time.Time) (*member, error) {
	p.mu.Lock()
	if !p.draining && p.waiting.Len() == 0 {
		if m := p.pick(); m != nil {
			m.running++
			p.mu.Unlock()
			return m, nil
		}
	}
	p.mu.Unlock()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	return p.acquire(ctx, false)
}

// acquire returns a member with a place for one more invocation. With warming
// the wait is for a worker to be ready, queue or not.
func (p *Pool) acquire(ctx context.Context, warming bool) (*member, error) {
	p.mu.Lock()
	if p.draining {
		p.mu.Unlock()
		return nil, ErrDraining
	}
	if p.waiting.Len() == 0 {
		if m := p.pick(); m != nil {
			m.running++
			p.mu.Unlock()
			return m, nil
		}
	}
	p.grow(p.waiting.Len() + 1)
	room := p.limits.Queue + p.starting*p.limits.Concurrency
	if !warming && p.waiting.Len() >= room {
		err := p.full()
		p.mu.Unlock()
		return nil, err
	}
	w := &waiter{got: make(chan grant, 1)}
	e := p.waiting.PushBack(w)
	p.mu.Unlock()

	select {
	case g := <-w.got:
		return g.m, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	select {
	case g := <-w.got: // granted at the same moment
		p.mu.Unlock()
		if g.m != nil {
			p.release(g.m, false)
		}
	default:
		p.waiting.Remove(e)
		p.mu.Unlock()
	}
	return nil, ctx.Err()
}

// full returns why nobody can wait any more.
func (p *Pool) full() error {
	if len(p.members) == 0 && p.lastErr != nil {
		return wire.Errorf(wire.Unavailable, "no worker is ready: %v", p.lastErr)
	}
	return wire.Errorf(wire.Overloaded, "all %d workers run %d invocations each, and %d wait", len(p.members), p.limits.Concurrency, p.waiting.Len())
}

// pick returns the member with the fewest invocations, nil if all are full.
func (p *Pool) pick() *member {
	var best *member
	for _, m := range p.members {
		if m.retiring || m.lost || m.running >= p.limits.Concurrency {
			continue
		}
		if best == nil || m.running < best.running {
			best = m
		}
	}
	return best
}

// release gives a place back, to the next who waits if there is one.
func (p *Pool) release(m *member, stuck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.running--
	if stuck {
		m.stuck--
	}
	if m.running == 0 {
		m.since = time.Now()
	}
	if m.retiring {
		p.retireIfDone(m)
	} else if p.waiting.Len() > 0 {
		p.serveWaiting()
	}
	if m.running == 0 {
		p.scheduleReap()
	}
	if p.draining && m.running <= m.stuck {
		p.touched()
	}
}

func (p *Pool) serveWaiting() {
	for p.waiting.Len() > 0 {
		m := p.pick()
		if m == nil {
			return
		}
		m.running++
		p.waiting.Remove(p.waiting.Front()).(*waiter).got <- grant{m: m}
	}
}

func (p *Pool) failWaiting(err error) {
	for p.waiting.Len() > 0 {
		p.waiting.Remove(p.waiting.Front()).(*waiter).got <- grant{err: err}
	}
}

// call is one invocation that holds a place in a worker.
type call struct {
	p     *Pool
	m     *member
	mu    sync.Mutex
	ended bool
	timer *time.Timer
	stuck bool
}

// ExchangeDone gives the place back when the worker has answered.
func (c *call) ExchangeDone() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	stuck := c.stuck
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.p.release(c.m, stuck)
}

// watch gives an invocation whose context has ended the grace period; if it
// still runs then, its worker is replaced.
func (c *call) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.timer = time.AfterFunc(c.p.limits.Grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended {
			return
		}
		c.stuck = true
		c.p.recycle(c.m)
	})
}
