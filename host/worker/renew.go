package worker

// Renew replaces the workers, as when their environment has changed: another one is
// started, and when it is ready, those from before end what they run, and then
// themselves. No invocation is lost. If none gets ready, the old ones go on, and the start is tried again.
func (p *Pool) Renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewals++
	p.renew()
}

// renew starts a worker, beyond the most that there may be, if there are only old
// ones. p.mu is held.
func (p *Pool) renew() {
	if p.draining || p.retry != nil || p.starting > 0 {
		return // who starts may be an old one, and is looked at when it has
	}
	for _, m := range p.members {
		if m.renewals < p.renewals && !m.retiring && !m.lost {
			p.launch()
			return
		}
	}
}

// joined retires what is old when there is a new worker, or the new one if that is old
// itself. p.mu is held.
func (p *Pool) joined(m *member) {
	fresh := m.renewals == p.renewals
	for _, other := range p.members {
		fresh = fresh || other.renewals == p.renewals && !other.retiring && !other.lost
	}
	if !fresh {
		p.renew()
		return
	}
	for _, other := range p.members {
		if other.renewals < p.renewals && !other.retiring {
			other.retiring = true
			p.retireIfDone(other)
		}
	}
}
