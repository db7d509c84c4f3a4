package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

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
	renewals := p.renewals
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
		m := &member{proc: proc, renewals: renewals, ready: time.Now(), since: time.Now()}
		if p.closed {
			m.retiring = true
		}
		p.members = append(p.members, m)
		p.lastErr = nil
		if p.renewals > 0 {
			p.joined(m)
		}
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
		p.renew()
	})
}

// keepMin starts what is missing to the minimum.
func (p *Pool) keepMin() {
	for !p.draining && p.retry == nil && p.usable()+p.starting < p.limits.Min {
		p.launch()
	}
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
	if time.Since(m.ready) >= steady || m.answered.Load() >= steadyAnswer {
		p.backoff.reset()
	}
	p.scheduleRetry()
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
