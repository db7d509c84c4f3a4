package event

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

const (
	maxHeld     = 1024                   // events of a trigger that wait for others of their key
	maxHeldKeys = 10_000                 // keys of a trigger that wait for their time
	lookAgain   = 250 * time.Millisecond // at what the server counts, before an order begins
)

// flow holds the events of a trigger that depend on others of their key, from
// their coming to their end, and begins with each when it may. It has the server
// told of all that it holds.
type flow struct {
	r        *reader
	p        *puller
	consumer jetstream.Consumer
	key      keyer
	order    bool
	limit    int           // of events of one key at once
	quiet    time.Duration // debounce
	apart    time.Duration // throttle
	ackWait  time.Duration

	timer *time.Timer   // of the first of times
	look  chan struct{} // has one when the gate may open

	mu      sync.Mutex
	lanes   map[string]*lane
	hands   map[uint64]*held // by sequence
	awaited map[uint64]*lane // of what was handed back to be counted, and comes again
	ready   []*lane          // that may begin with an event
	times   times
	running int
	left    int // events that were in hand and are not any more
	closed  bool
	gate    gate
}

// lane is what there is of one key.
type lane struct {
	key     string
	waiting []*held // by sequence
	running int
	awaited uint64    // sequence of what is awaited, 0 for nothing
	since   time.Time // it is
	due     time.Time // nothing begins before
	queued  bool      // in ready
	wake    time.Time // the first of its times, zero for none
}

// held is an event in hand. One that failed stays there until its time has come: only
// then the server gets it back, to count, and sends it at once. So after a crash no
// event comes later than those that nobody has told the server of.
type held struct {
	*message
	flow     *flow
	lane     *lane
	sequence uint64
	failed   bool
	after    time.Time // of one that failed: its next attempt
	running  bool
	ended    bool // and not handed back
	told     bool // old enough to tell the server of
}

// NakWithDelay keeps an event that failed, if those behind it depend on it.
func (h *held) NakWithDelay(d time.Duration) error {
	if !h.flow.keepsFailed() {
		return h.message.NakWithDelay(d)
	}
	h.failed, h.after = true, time.Now().Add(d)
	return nil
}

func (h *held) Ack() error {
	h.ended = true
	return h.message.Ack()
}

func (h *held) DoubleAck(ctx context.Context) error {
	h.ended = true
	return h.message.DoubleAck(ctx)
}

func (h *held) TermWithReason(reason string) error {
	h.ended = true
	return h.message.TermWithReason(reason)
}

// newFlow returns nil for a trigger whose events do not depend on each other.
func newFlow(r *reader, p *puller, consumer jetstream.Consumer) *flow {
	if !isHeld(&r.spec) {
		return nil
	}
	f := &flow{
		r: r, p: p, consumer: consumer, key: newKeyer(r.spec.Key), order: isOrdered(&r.spec), limit: max(r.spec.PerKey, 1),
		quiet: r.spec.Debounce, apart: r.spec.Throttle, ackWait: consumer.CachedInfo().Config.AckWait,
		timer: time.NewTimer(time.Hour), look: make(chan struct{}, 1),
		lanes: make(map[string]*lane), hands: make(map[uint64]*held), awaited: make(map[uint64]*lane),
	}
	f.gate.open = !f.order
	r.ended.of(consumer.CachedInfo().Created)
	return f
}

// isHeld reports whether events of a trigger depend on others of their key.
func isHeld(s *manifest.Event) bool { return isPinned(s) || s.PerKey > 0 && s.InFlight > 1 }

// isPinned reports whether one node alone is to read the events of a trigger.
func isPinned(s *manifest.Event) bool { return isOrdered(s) || s.Debounce > 0 || s.Throttle > 0 }

// isOrdered reports whether events of one key are in order. Those that are handled
// one by one are anyway.
func isOrdered(s *manifest.Event) bool { return s.Order == manifest.OrderKey && s.InFlight > 1 }

// places is how many events of a trigger a node has at once.
func places(s *manifest.Event) int {
	switch {
	case s.Debounce > 0 || s.Throttle > 0:
		return maxHeldKeys + s.InFlight
	case isHeld(s):
		return max(s.InFlight, min(16*s.InFlight, maxHeld))
	case s.Batch != nil:
		return s.InFlight * s.Batch.Size
	}
	return s.InFlight
}

func (f *flow) latest() bool      { return f.quiet > 0 || f.apart > 0 }
func (f *flow) keepsFailed() bool { return f.order || f.latest() }

// add takes an event that has come.
func (f *flow) add(m *message) {
	meta, err := m.Metadata()
	if err != nil {
		f.r.t.log.Error("a message without metadata is left: "+err.Error(), "function", f.r.function)
		return
	}
	key, seq := f.key.of(m.msg), meta.Sequence.Stream
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.order {
		f.gate.came(meta.Sequence.Consumer)
	}
	switch {
	case f.hands[seq] != nil: // the server has missed a sign, and the one in hand will do
		return
	case f.order && meta.NumDelivered > 1 && f.r.ended.has(seq): // it was handled before the server knew
		m.Ack()
		return
	}
	l := f.lanes[key]
	if l == nil {
		l = f.lane(key)
	}
	again := l.awaited == seq
	if again {
		l.awaited = 0
		delete(f.awaited, seq)
	}
	h := &held{message: m, flow: f, lane: l, sequence: seq}
	f.hands[seq] = h
	f.p.busy.Add(1)
	if f.quiet > 0 && !again {
		l.due = time.Now().Add(f.quiet)
	}
	f.wait(h)
	f.consider(l)
	f.begin()
	if !f.gate.open && len(f.hands) >= f.gate.pending {
		f.lookSoon()
	}
}

// lane makes that of a key. f.mu is held.
func (f *flow) lane(key string) *lane {
	if len(f.lanes) >= 2*maxHeldKeys { // of a throttle: some that wait for nothing but their time
		for k, l := range f.lanes {
			if l.idle() {
				delete(f.lanes, k)
				break
			}
		}
	}
	l := &lane{key: key}
	f.lanes[key] = l
	return l
}

func (l *lane) idle() bool { return len(l.waiting) == 0 && l.running == 0 && l.awaited == 0 }

// wait has an event wait in its lane, in its place; where the latest alone is
// wanted, instead of the other. f.mu is held.
func (f *flow) wait(h *held) {
	l := h.lane
	i, _ := slices.BinarySearchFunc(l.waiting, h.sequence, func(o *held, seq uint64) int {
		if o.sequence < seq {
			return -1
		}
		return 1
	})
	l.waiting = slices.Insert(l.waiting, i, h)
	for f.latest() && len(l.waiting) > 1 {
		f.skip(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// skip takes an event off without handling it. f.mu is held.
func (f *flow) skip(h *held) {
	f.r.skip(h.message, "a later one of its key has come")
	h.message.Ack()
	f.leave(h)
}

// leave forgets an event in hand, and gives its place back. f.mu is held.
func (f *flow) leave(h *held) {
	delete(f.hands, h.sequence)
	f.left++
	f.p.end()
}

// consider has a lane wait for its turn, or for its time, or be forgotten. f.mu is held.
func (f *flow) consider(l *lane) {
	if f.closed || l.queued || l.running >= f.limit || l.awaited != 0 {
		return
	}
	due := l.due
	if len(l.waiting) > 0 && l.waiting[0].after.After(due) {
		due = l.waiting[0].after
	}
	switch {
	case time.Until(due) > 0:
		f.wakeAt(l, due)
	case len(l.waiting) > 0:
		l.queued = true
		f.ready = append(f.ready, l)
	case l.running == 0 && f.lanes[l.key] == l:
		delete(f.lanes, l.key)
	}
}

// begin begins with events as far as there are places. f.mu is held.
func (f *flow) begin() {
	for f.gate.open && !f.closed && f.running < f.r.spec.InFlight && len(f.ready) > 0 {
		l := f.ready[0]
		f.ready[0] = nil
		f.ready = f.ready[1:]
		l.queued = false
		if len(l.waiting) == 0 || l.running >= f.limit || l.awaited != 0 {
			continue
		}
		if d := time.Until(l.due); d > 0 { // it has come to be later
			f.wakeAt(l, l.due)
			continue
		}
		h := l.waiting[0]
		l.waiting[0] = nil
		if l.waiting = l.waiting[1:]; len(l.waiting) == 0 {
			l.waiting = nil
		}
		if h.failed {
			f.handBack(h)
		} else {
			f.start(h)
		}
		f.consider(l)
	}
}

// start runs the function for an event. f.mu is held.
func (f *flow) start(h *held) {
	h.running = true
	h.lane.running++
	f.running++
	if f.apart > 0 {
		h.lane.due = time.Now().Add(f.apart)
	}
	f.r.t.tasks.Go(func() {
		f.r.handle(h)
		f.end(h)
	})
}

// handBack gives the server an event that is to be tried again, which it sends at
// once, counted. f.mu is held.
func (f *flow) handBack(h *held) {
	l := h.lane
	l.awaited, l.since = h.sequence, time.Now()
	f.awaited[h.sequence] = l
	h.message.Nak()
	f.leave(h)
}

// end is told when the function has run for an event.
func (f *flow) end(h *held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := h.lane
	h.running = false
	l.running--
	f.running--
	switch {
	case h.failed && f.closed:
		h.message.Nak()
		f.leave(h)
	case h.failed && f.latest() && len(l.waiting) > 0 && l.waiting[0].sequence > h.sequence:
		f.skip(h)
	case h.failed:
		f.wait(h)
	default:
		if f.order && h.ended {
			f.r.ended.add(h.sequence)
		}
		f.leave(h)
	}
	f.consider(l)
	f.begin()
}

// close hands back what has not begun. What has goes to its end.
func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var left []*held
	for _, h := range f.hands {
		if !h.running {
			left = append(left, h)
		}
	}
	slices.SortFunc(left, func(a, b *held) int {
		if a.sequence < b.sequence {
			return -1
		}
		return 1
	})
	for _, h := range left {
		h.message.Nak()
		f.leave(h)
	}
	f.lanes, f.ready, f.times = nil, nil, nil
}
