package event

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// maxBatchBytes is how much of the data of events a batch holds.
const maxBatchBytes = 4 << 20

// batcher gathers the events that are handled together. One that comes again comes
// alone, so that an event that cannot be handled takes no others along for long.
type batcher struct {
	r *reader
	p *puller

	mu      sync.Mutex
	list    []*batched
	bytes   int
	timer   *time.Timer // runs while there is something in list, until late
	late    bool        // the time of list is up, and there is no place for it
	ready   [][]*batched
	running int // batches
	closed  bool
}

// batched is an event of a batch.
type batched struct {
	*message
	meta   *jetstream.MsgMetadata
	keep   *keeper
	header wire.Header // of the event, in the batch
	depth  int
	bad    error // why the function cannot get it
}

// newBatcher returns nil for a trigger of single events.
func newBatcher(r *reader, p *puller) *batcher {
	if r.spec.Batch == nil {
		return nil
	}
	b := &batcher{r: r, p: p}
	b.timer = time.AfterFunc(time.Hour, b.timeUp)
	b.timer.Stop()
	return b
}

// add takes an event that has come.
func (b *batcher) add(m *message) {
	meta, err := m.Metadata()
	if err != nil {
		b.r.t.log.Error("a message without metadata is left: "+err.Error(), "function", b.r.function)
		return
	}
	b.p.busy.Add(1)
	x := &batched{message: m, meta: meta, keep: b.r.t.keep(m)}
	x.header, x.depth, x.bad = b.r.requestHeader(m, meta)
	b.mu.Lock()
	defer b.mu.Unlock()
	if meta.NumDelivered > 1 || x.bad != nil {
		b.ready = append(b.ready, []*batched{x})
		b.begin()
		return
	}
	size := m.msg.Size() // with what it has of headers
	if len(b.list) > 0 && b.bytes+size > maxBatchBytes {
		b.flush()
	}
	if len(b.list) == 0 {
		b.timer.Reset(b.r.spec.Batch.Window)
	}
	b.list = append(b.list, x)
	b.bytes += size
	if len(b.list) == b.r.spec.Batch.Size {
		b.flush()
	}
}

func (b *batcher) timeUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = true
	b.begin()
}

// flush has what there is wait for its turn. b.mu is held.
func (b *batcher) flush() {
	b.timer.Stop()
	if len(b.list) > 0 {
		b.ready = append(b.ready, b.list)
	}
	b.list, b.bytes, b.late = nil, 0, false
	b.begin()
}

// begin begins with batches as far as there are places. One whose time is up without
// a place takes further events until there is one. b.mu is held.
func (b *batcher) begin() {
	for !b.closed && b.running < b.r.spec.InFlight {
		if len(b.ready) == 0 {
			if b.late {
				b.flush()
			}
			return
		}
		list := b.ready[0]
		b.ready[0] = nil
		b.ready = b.ready[1:]
		b.running++
		b.r.t.tasks.Go(func() {
			b.r.handleBatch(list)
			b.end(len(list))
		})
	}
}

// end is told when the function has run for a batch of n.
func (b *batcher) end(n int) {
	for range n {
		b.p.end()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	b.begin()
}

// close hands back what has not begun.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.timer.Stop()
	for _, list := range append(b.ready, b.list) {
		for _, x := range list {
			b.r.t.release(x.keep)
			x.Nak()
			b.p.end()
		}
	}
	b.ready, b.list = nil, nil
}

// handleBatch runs the function for several events, and says what becomes of each.
func (r *reader) handleBatch(list []*batched) {
	items, err := r.invokeBatch(list)
	for delay := r.spec.Backoff; hostFault(err) && r.wait(delay, err, list[0].meta); delay = min(2*delay, r.spec.BackoffMax, maxHostDelay) {
		items, err = r.invokeBatch(list)
	}
	for i, x := range list {
		r.t.release(x.keep)
		if e := items[i]; e != nil && err == nil {
			r.conclude(x.message, x.meta, e)
		} else {
			r.conclude(x.message, x.meta, err)
		}
	}
}

// invokeBatch returns the errors of single events, or why all of them failed.
func (r *reader) invokeBatch(list []*batched) (map[int]*wire.Error, error) {
	if bad := list[0].bad; bad != nil { // which comes alone
		return nil, bad
	}
	inv := &trigger.Invocation{Function: r.function, Endpoint: r.spec.Endpoint, Trigger: r.source.Kind,
		Header: wire.Header(nil).AddInt(wire.KeyBatch, int64(len(list)))}
	for _, x := range list {
		inv.Depth = max(inv.Depth, x.depth)
		inv.Payload = wire.AppendMessage(inv.Payload, x.header, x.Data())
	}
	begin := time.Now()
	result, items, err := r.t.runBatch(r.t.work, inv)
	if r.t.runs != nil {
		for i, x := range list {
			if e := items[i]; e != nil && err == nil {
				r.record(inv, x.message, x.meta, begin, result, e)
			} else {
				r.record(inv, x.message, x.meta, begin, result, err)
			}
		}
	}
	return items, err
}

// runBatch returns the result without what it has of an answer, which is of no single
// event, and the errors of single events, or why all of them failed.
func (t *Trigger) runBatch(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, map[int]*wire.Error, error) {
	result, err := t.invoker.Invoke(ctx, inv)
	if err != nil {
		return nil, nil, err
	}
	body, err := result.ReadAll(maxBatchBytes)
	bare := &trigger.Result{Version: result.Version, Header: result.Header}
	if err != nil {
		return bare, nil, err
	}
	if _, some := result.Header.Int(wire.KeyFailed); some {
		items, err := wire.ItemErrors(body)
		return bare, items, err
	}
	return bare, nil, failure(result)
}

// runAlone runs a function for one event beside its trigger, as a batch of one where
// that has batches.
func (t *Trigger) runAlone(ctx context.Context, inv *trigger.Invocation, spec *manifest.Event) error {
	if spec == nil || spec.Batch == nil {
		return finish(t.invoker.Invoke(ctx, inv))
	}
	one := *inv
	one.Header, one.Payload = wire.Header(nil).AddInt(wire.KeyBatch, 1), wire.AppendMessage(nil, inv.Header, inv.Payload)
	_, items, err := t.runBatch(ctx, &one)
	if e := items[0]; e != nil && err == nil {
		return e
	}
	return err
}

// specOf returns the trigger that an event of a function came by, nil for none.
func (t *Trigger) specOf(ctx context.Context, function, version, endpoint, subject string) *manifest.Event {
	fn, err := t.invoker.Await(ctx, function, version)
	if err != nil {
		return nil // which shows when it is run
	}
	for _, s := range t.sourcesOf(fn.Manifest) {
		if s.Spec.Endpoint == endpoint && Covers(s.Spec.Subject, subject) {
			return &s.Spec
		}
	}
	return nil
}
