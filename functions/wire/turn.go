package wire

import (
	"sync"
	"time"
)

const (
	// quick is how long a reader may serve, 20 times what the plainest handler takes.
	quick = 200 * time.Microsecond
	// coolness is for how many requests one that took longer serves none.
	coolness = 256
	// lookEvery is how often somebody looks whether it still does: twice that
	// time is the longest that nobody reads.
	lookEvery = 5 * time.Millisecond
)

// turn is whose turn it is to read. One goroutine at a time does. When a request
// comes alone, it serves that itself, which saves waking another goroutine, and
// mostly another thread; the price is that a frame may have to wait. So the turn
// is there for others to take meanwhile: a handler that is about to wait for the
// peer has somebody take it at once, and a timer takes notice of one that takes
// long in another way. Handlers that are not quick are left to other goroutines.
type turn struct {
	mu    sync.Mutex
	free  bool // whose turn it was serves a request
	lent  uint // how often it was free
	seen  uint // lent, at the last look
	cool  int  // for how many requests it is not to be
	timer *time.Timer
	armed bool
}

// lend frees the turn, unless that has lately proved to be unwise.
func (t *turn) lend(look func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cool > 0 {
		t.cool--
		return false
	}
	t.free = true
	t.lent++
	if t.armed {
		return true
	}
	t.armed = true
	if t.timer == nil {
		t.timer = time.AfterFunc(lookEvery, look)
	} else {
		t.timer.Reset(lookEvery)
	}
	return true
}

// retake takes the turn back. If it does not, somebody else has it.
func (t *turn) retake(slow bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slow {
		t.cool = coolness
	}
	free := t.free
	t.free = false
	return free
}

// late reports whether the turn has been free since the last call, and arranges
// for the next one while there is something to look at.
func (t *turn) late() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	same := t.lent == t.seen
	t.seen = t.lent
	if t.armed = !same; t.armed {
		t.timer.Reset(lookEvery)
	}
	return same && t.free
}

// lead reads frames, and handles them, until the session ends or another
// goroutine has taken the turn.
func (s *Session) lead() {
	serving := false
	defer func() {
		if serving && s.turn.retake(true) { // the handler has ended the goroutine
			s.crew.members.Go(s.lead)
		}
	}()
	var f Frame
	for {
		err := s.in.Next(&f)
		var x *Exchange
		if err == nil {
			x, err = s.receive(&f)
		}
		if err != nil {
			s.stopped <- err
			return
		}
		if x == nil {
			continue
		}
		if !s.alone(x) || !s.turn.lend(s.look) {
			s.crew.hand(x)
			continue
		}
		began := time.Now()
		serving = true
		s.serve(x)
		serving = false
		if !s.turn.retake(time.Since(began) > quick) {
			return
		}
	}
}

// alone reports whether the peer wants nothing else than that x is served. A
// host's handlers wait for others, so that they are not served by who reads.
func (s *Session) alone(x *Exchange) bool {
	return !s.cfg.Host && x.in == nil && s.in.buffered() == 0 && s.out.crowd.Load() == 1
}

// look has somebody read if the turn has been free for long.
func (s *Session) look() {
	if s.turn.late() {
		s.goOn()
	}
}

// goOn has another goroutine read if whose turn it was serves a request. It is
// called before waiting for the peer.
func (s *Session) goOn() {
	if s.cfg.Host {
		return
	}
	s.turn.mu.Lock()
	defer s.turn.mu.Unlock()
	if s.turn.free {
		s.turn.free = false
		s.turn.cool = coolness
		s.crew.members.Go(s.lead) // counted: who serves still is
	}
}
