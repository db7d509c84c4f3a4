package worker

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
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
	running  int
	stuck    int  // of those, the ones that ignore the end of their context
	retiring bool // takes no more
	lost     bool // cannot be reached: it is ending by itself
	gone     bool
	ready    time.Time
	since    time.Time // idle since, if running is 0
}

type waiter struct {
	got chan grant // capacity 1
}

type grant struct {
	m   *member
	err error
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

// lose takes a worker out of the choice whose channel is closed, before its end
// is known.
func (p *Pool) lose(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.countCrash(m)
}

// countCrash notes, once, that a worker ends by itself, and delays the next
// start. p.mu is held.
func (p *Pool) countCrash(m *member) {
	if m.lost || m.retiring {
		return
	}
	m.lost = true
	p.stats.Crashed++
	if time.Since(m.ready) >= steady {
		p.backoff.reset()
	}
	p.scheduleRetry()
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

// grow starts workers for want invocations without a place, as far as it may.
func (p *Pool) grow(want int) {
	if p.draining || p.retry != nil {
		return
	}
	for want > p.starting*p.limits.Concurrency && p.usable()+p.starting < p.limits.Max {
		p.launch()
	}
}

// usable counts the members that are not on their way out.
func (p *Pool) usable() int {
	n := 0
	for _, m := range p.members {
		if !m.retiring && !m.lost {
			n++
		}
	}
	return n
}

func (p *Pool) launch() {
	p.starting++
	p.tasks.Go(func() {
		proc, err := p.start(p.ctx)
		p.mu.Lock()
		p.starting--
		if err != nil {
			p.startFailed(err)
			p.mu.Unlock()
			p.notify("start", err)
			return
		}
		p.stats.Started++
		m := &member{proc: proc, ready: time.Now(), since: time.Now()}
		if p.closed {
			m.retiring = true
		}
		p.members = append(p.members, m)
		p.lastErr = nil
		p.serveWaiting()
		p.touched()
		if m.retiring {
			p.retireIfDone(m)
		}
		p.scheduleReap()
		p.mu.Unlock()
		p.attend(m)
	})
}

// startFailed delays the next start, and tells those who wait if there is
// nobody to serve them.
func (p *Pool) startFailed(err error) {
	p.lastErr = err
	p.scheduleRetry()
	if len(p.members) == 0 && p.starting == 0 {
		p.failWaiting(wire.Errorf(wire.Unavailable, "no worker is ready: %v", err))
	}
	p.touched()
}

// scheduleRetry arranges for the next start after a failure.
func (p *Pool) scheduleRetry() {
	if p.draining || p.retry != nil {
		return
	}
	p.retry = time.AfterFunc(p.backoff.next(), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.retry = nil
		if p.draining {
			return
		}
		p.keepMin()
		p.grow(p.waiting.Len())
	})
}

// keepMin starts what is missing to the minimum.
func (p *Pool) keepMin() {
	for !p.draining && p.retry == nil && p.usable()+p.starting < p.limits.Min {
		p.launch()
	}
}

// attend waits for the end of a worker. One that ends by itself has crashed.
func (p *Pool) attend(m *member) {
	<-m.proc.Exited()
	p.mu.Lock()
	m.gone = true
	for i, other := range p.members {
		if other == m {
			p.members = append(p.members[:i:i], p.members[i+1:]...)
			break
		}
	}
	crash := !m.retiring
	if crash {
		p.countCrash(m)
	}
	m.retiring = true
	if !crash {
		p.keepMin()
		p.grow(p.waiting.Len())
	}
	p.touched()
	p.mu.Unlock()
	if crash {
		p.notify("crash", errors.New(m.proc.ExitReason()))
	}
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

// recycle retires a worker in which an invocation would not end.
func (p *Pool) recycle(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.stuck++
	if p.draining {
		p.touched()
	}
	if m.gone {
		return
	}
	if !m.retiring {
		m.retiring = true
		p.stats.Recycled++
		go p.notify("recycle", fmt.Errorf("an invocation ran on for %v after its deadline", p.limits.Grace))
		p.keepMin()
		p.grow(p.waiting.Len())
	}
	p.retireIfDone(m)
}

// retireIfDone stops a retiring member that runs nothing worth waiting for.
func (p *Pool) retireIfDone(m *member) {
	if m.running <= m.stuck && !m.gone {
		m.gone = true
		go m.proc.Stop()
	}
}

// scheduleReap arranges for the next look at idle workers.
func (p *Pool) scheduleReap() {
	if p.reaper != nil || p.draining || p.usable() <= p.limits.Min {
		return
	}
	p.reaper = time.AfterFunc(p.limits.Idle, p.reap)
}

// reap stops workers that have been idle for long, down to the minimum.
func (p *Pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	if p.draining {
		return
	}
	next := p.limits.Idle
	for _, m := range p.members {
		if m.retiring || m.running > 0 || p.usable() <= p.limits.Min {
			continue
		}
		if left := p.limits.Idle - time.Since(m.since); left > 0 {
			next = min(next, left)
			continue
		}
		m.retiring = true
		p.retireIfDone(m)
	}
	if p.usable() > p.limits.Min {
		p.reaper = time.AfterFunc(next, p.reap)
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
