package event

import (
	"context"
	"sync"
	"time"
)

// gate keeps a flow in order from beginning too early. What the server has sent to
// a reader that is no more, or lost its connection, comes again only when it is
// missed, and later than newer events. So nothing begins until all that the server
// waits for is in hand. Since one node alone is sent events, all that comes
// after that is newer.
type gate struct {
	open    bool
	last    uint64 // delivery of the consumer that has come
	pending int    // what the server has waited for when it was last asked
	warned  int    // how often it was asked
}

// came closes the gate if a delivery is missing before this one.
func (g *gate) came(delivery uint64) {
	if g.open && delivery != g.last+1 {
		*g = gate{}
	}
	g.last = delivery
}

// lookSoon has the flow ask the server whether the gate may open. f.mu is held.
func (f *flow) lookSoon() {
	select {
	case f.look <- struct{}{}:
	default:
	}
}

// tryOpen opens the gate if all that the server waits for is in hand.
func (f *flow) tryOpen(ctx context.Context) {
	f.mu.Lock()
	// Counted before the server counts, so that what comes meanwhile is too few and not too many.
	inHand, left, last := len(f.hands), f.left, f.gate.last
	skip := f.gate.open || f.closed || last == 0
	f.mu.Unlock()
	if skip { // or nothing has come yet, and so this node is not the one that reads
		return
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	info, err := f.consumer.Info(ctx)
	if err != nil {
		return // asked again soon
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate.pending = info.NumAckPending
	if info.NumAckPending <= inHand && f.left == left {
		f.gate.open = true
		f.begin()
		return
	}
	if f.gate.warned++; f.gate.warned == int(2*f.ackWait/lookAgain) {
		f.r.t.log.Warn("events in order wait for others that another node has, or that are to be tried again",
			"function", f.r.function, "subject", f.r.spec.Subject, "in hand", inHand, "of", info.NumAckPending)
	}
}

// recent knows the latest events of a reader that have ended, so that one whose
// acknowledgement was lost is not handled again after others of its key.
type recent struct {
	mu    sync.Mutex
	since time.Time // the consumer was made
	known map[uint64]bool
	ring  []uint64
	next  int
}

// of forgets what was of another consumer, whose sequences may be used again.
func (r *recent) of(since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.since.Equal(since) {
		r.since, r.known, r.ring, r.next = since, nil, nil, 0
	}
}

func (r *recent) has(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[seq]
}

func (r *recent) add(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known, r.ring = make(map[uint64]bool), make([]uint64, 0, 2*maxHeld)
	}
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, seq)
	} else {
		delete(r.known, r.ring[r.next])
		r.ring[r.next] = seq
		r.next = (r.next + 1) % len(r.ring)
	}
	r.known[seq] = true
}
