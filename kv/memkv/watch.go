package memkv

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// watcher has a place in the bucket's log; nobody writes to it, so one that is not read costs nothing.
type watcher struct {
	bucket  *Bucket
	options kv.WatchOptions
	stop    func() bool // forgets the context of Watch
	once    sync.Once
	closed  chan struct{}

	initial []*message // what was there before
	ready   bool       // OpReady is to come
	seen    uint64     // revision up to which all has been returned
}

// Watch follows keys.
func (b *Bucket) Watch(ctx context.Context, options kv.WatchOptions) (kv.Watcher, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	w := &watcher{bucket: b, options: options, closed: make(chan struct{}), seen: b.last, ready: options.Initial}
	if options.From > 0 {
		w.seen = options.From - 1
	}
	if options.Initial {
		for m := range b.live(options.Filter, "", false) {
			w.initial = append(w.initial, m)
		}
		slices.SortFunc(w.initial, byRevision)
	}
	w.stop = context.AfterFunc(ctx, w.close)
	return w, nil
}

func byRevision(a, b *message) int {
	if a.Revision < b.Revision {
		return -1
	}
	return 1
}

// Next waits for the next change.
func (w *watcher) Next(ctx context.Context) (kv.Entry, error) {
	for {
		select {
		case <-w.closed:
			return kv.Entry{}, kv.ErrClosed
		default:
		}
		e, found, changed, due, err := w.look(ctx)
		if err != nil || found {
			return e, err
		}
		if err := w.wait(ctx, changed, due); err != nil {
			return kv.Entry{}, err
		}
	}
}

// look returns the next change, or what to wait for: a write, or the time at which
// something expires, zero if nothing will.
func (w *watcher) look(ctx context.Context) (e kv.Entry, found bool, changed <-chan struct{}, due time.Time, err error) {
	b := w.bucket
	if err := b.enter(ctx); err != nil {
		return kv.Entry{}, false, nil, due, err
	}
	defer b.mu.Unlock()
	if len(w.initial) > 0 {
		m := w.initial[0]
		w.initial = w.initial[1:]
		return m.entry(!w.options.KeysOnly), true, nil, due, nil
	}
	if w.ready {
		w.ready = false
		return kv.Entry{Op: kv.OpReady}, true, nil, due, nil
	}
	at, _ := slices.BinarySearchFunc(b.log, w.seen, func(m *message, seen uint64) int {
		if m.Revision <= seen {
			return -1
		}
		return 1
	})
	for _, m := range b.log[at:] {
		w.seen = m.Revision
		if !m.gone && w.options.Match(m.Key) {
			return m.entry(!w.options.KeysOnly), true, nil, due, nil
		}
	}
	if len(b.due) > 0 {
		due = b.due[0].end
	}
	return kv.Entry{}, false, b.changed, due, nil
}

// wait returns when it is worth to look again. Nothing but who waits has a timer.
func (w *watcher) wait(ctx context.Context, changed <-chan struct{}, due time.Time) error {
	var expiry <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		expiry = t.C
	}
	select {
	case <-changed:
	case <-expiry:
	case <-w.closed:
		return kv.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Close ends the watcher.
func (w *watcher) Close() error {
	w.stop()
	w.close()
	return nil
}

func (w *watcher) close() { w.once.Do(func() { close(w.closed) }) }
