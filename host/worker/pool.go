package worker

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// ErrDraining is returned by [Pool.Do] once the pool takes no more invocations:
// another version has taken over, so who asked asks again.
var ErrDraining = errors.New("worker: pool is draining")

// process is what a pool needs of a worker: to run invocations in it, to know
// that it has ended, and to end it.
type process interface {
	Do(ctx context.Context, req *wire.Request) (*wire.Response, error)
	Exited() <-chan struct{}
	ExitReason() string // after Exited
	Stop()              // asks it to end, then makes it
}

// Limits say how a pool scales. All of them must be set.
type Limits struct {
	Min         int           // workers that are kept though idle
	Max         int           // workers at once
	Concurrency int           // invocations at once in one worker
	Queue       int           // invocations that may wait for a place
	Idle        time.Duration // after which a worker that does nothing is stopped
	Grace       time.Duration // for an invocation to end after its context has
}

// Pool runs the invocations of one version in its workers: in the one with the
// fewest, then in another one, then they wait. Its methods are safe for
// concurrent use.
type Pool struct {
	limits Limits
	start  func(ctx context.Context) (process, error)
	notify func(event string, err error) // crashes, failed starts, recycling; may be nil

	mu       sync.Mutex
	members  []*member
	starting int
	waiting  list.List // of *waiter
	renewals int       // see Renew
	draining bool
	closed   bool
	backoff  backoff
	retry    *time.Timer // the next start, while backing off
	lastErr  error       // of the latest start
	reaper   *time.Timer
	changed  chan struct{} // closed and replaced when members or their load change
	ctx      context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	stats    Stats
}

// member is a worker of the pool.
type member struct {
	proc     process
	renewals int // of the pool, when it was started
	running  int
	stuck    int  // of those, the ones that ignore the end of their context
	retiring bool // takes no more
	lost     bool // cannot be reached: it is ending by itself
	gone     bool
	ready    time.Time
	since    time.Time // idle since, if running is 0
	answered atomic.Int64
}

// Stats counts what a pool has done.
type Stats struct {
	Workers  int   `json:"workers"`
	Starting int   `json:"starting"`
	Running  int   `json:"running"` // invocations
	Waiting  int   `json:"waiting"`
	Started  int64 `json:"started"` // workers, ever
	Crashed  int64 `json:"crashed"`
	Recycled int64 `json:"recycled"` // workers replaced because an invocation would not end
}

// Add adds the numbers of another pool.
func (s *Stats) Add(o Stats) {
	s.Workers += o.Workers
	s.Starting += o.Starting
	s.Running += o.Running
	s.Waiting += o.Waiting
	s.Started += o.Started
	s.Crashed += o.Crashed
	s.Recycled += o.Recycled
}

func newPool(limits Limits, start func(context.Context) (process, error), notify func(string, error)) *Pool {
	if notify == nil {
		notify = func(string, error) {}
	}
	p := &Pool{limits: limits, start: start, notify: notify, changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Stats returns what the pool does now and has done so far.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Starting, s.Waiting = p.starting, p.waiting.Len()
	for _, m := range p.members {
		s.Workers++
		s.Running += m.running
	}
	return s
}

// Warm starts a worker unless there is one, and waits until it is ready. It
// returns why the worker did not become ready, or the error of ctx.
func (p *Pool) Warm(ctx context.Context) error {
	m, err := p.acquire(ctx, true)
	if err != nil {
		return err
	}
	p.release(m, false)
	return nil
}

// Do runs one invocation. It sets req.Done. Besides the errors of
// [wire.Session.Do] it returns [ErrDraining], and *[wire.Error] of code
// Overloaded when the queue is full, of Unavailable when no worker starts, and of
// Crashed when the worker ended in the middle. The context, and the deadline of
// the request, bound the waiting, too.
func (p *Pool) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	for try := 0; ; try++ {
		m, err := p.place(ctx, req.Deadline)
		if err != nil {
			return nil, err
		}
		c := &call{p: p, m: m}
		req.Done = c
		resp, err := m.proc.Do(ctx, req)
		switch {
		case err == nil:
			m.answered.Add(1)
			return resp, nil
		case errors.Is(err, wire.ErrNotSent):
			p.lose(m)
			c.ExchangeDone()
			if try < 3 {
				continue // the worker died before it had the request
			}
			return nil, p.crashed(m)
		case errors.Is(err, wire.ErrClosed):
			return nil, p.crashed(m)
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			c.watch()
		}
		return nil, err
	}
}

// crashed returns the error of an invocation whose worker ended.
func (p *Pool) crashed(m *member) error {
	select {
	case <-m.proc.Exited():
		return wire.Errorf(wire.Crashed, "the worker ended in the middle of the invocation: %s; its output is in the log", m.proc.ExitReason())
	case <-time.After(time.Second):
		return wire.Errorf(wire.Crashed, "the worker closed its channel in the middle of the invocation")
	}
}

// touched wakes those who watch the pool drain.
func (p *Pool) touched() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Drain takes no more invocations, sends those who wait away with [ErrDraining],
// lets the running ones end, and then stops the workers. If ctx ends first, the
// workers are stopped all the same. It returns when all processes have ended.
func (p *Pool) Drain(ctx context.Context) {
	p.mu.Lock()
	p.draining = true
	p.failWaiting(ErrDraining)
	for _, t := range []*time.Timer{p.retry, p.reaper} {
		if t != nil {
			t.Stop()
		}
	}
	p.mu.Unlock()
	p.awaitIdle(ctx)
	p.mu.Lock()
	p.closed = true
	for _, m := range p.members {
		m.retiring = true
		m.stuck = m.running // nobody waits for them any more
		p.retireIfDone(m)
	}
	p.mu.Unlock()
	p.cancel()
	p.tasks.Wait()
}

// awaitIdle waits until nothing runs or starts.
func (p *Pool) awaitIdle(ctx context.Context) {
	for {
		p.mu.Lock()
		busy, changed := false, p.changed
		for _, m := range p.members {
			busy = busy || m.running > m.stuck
		}
		p.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
