package jetkv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/kv"
)

// liveTimeout is how long going through all keys may take: some seconds for a million.
const liveTimeout = 5 * time.Minute

// watcher reads an ordered consumer, which nats.go makes anew, from where it was, if
// it has missed something or the connection was lost.
type watcher struct {
	bucket *Bucket
	filter kv.Filter
	sub    *nats.Subscription
	gone   *nats.Subscription // tells of the end of the bucket, which is none of a consumer's business
	stop   func() bool        // forgets the context of Watch
	keys   bool               // no values
	closed atomic.Bool
	ended  atomic.Bool // the bucket was removed
	once   sync.Once
	err    error // of closing

	initial bool   // what was there before is not through yet
	pending uint64 // messages of that
}

// deletedAdvisory begins the subjects on which the server tells of streams that are
// removed.
const deletedAdvisory = "$JS.EVENT.ADVISORY.STREAM.DELETED."

// Watch follows keys.
func (b *Bucket) Watch(ctx context.Context, options kv.WatchOptions) (kv.Watcher, error) {
	w, err := b.watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (b *Bucket) watch(ctx context.Context, options kv.WatchOptions) (*watcher, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opts := []nats.SubOpt{nats.BindStream(b.stream), nats.OrderedConsumer()}
	switch {
	case options.Initial:
		opts = append(opts, nats.DeliverLastPerSubject())
	case options.From > 0:
		opts = append(opts, nats.StartSequence(options.From))
	default:
		opts = append(opts, nats.DeliverNew())
	}
	if options.KeysOnly {
		opts = append(opts, nats.HeadersOnly())
	}
	w := &watcher{bucket: b, filter: options.Filter, initial: options.Initial, keys: options.KeysOnly}
	var err error
	if w.sub, err = b.legacy.SubscribeSync(b.subject(options.Filter), opts...); errors.Is(err, nats.ErrStreamNotFound) {
		err = errors.Join(kv.ErrNoBucket, err)
	}
	if err != nil {
		return nil, b.fail(ctx, "", err)
	}
	if w.gone, err = b.conn.Subscribe(deletedAdvisory+b.stream, func(*nats.Msg) { w.end() }); err == nil && options.Initial {
		w.pending, err = w.sub.InitialConsumerPending()
	}
	if err != nil {
		w.close()
		return nil, b.fail(ctx, "", err)
	}
	w.stop = context.AfterFunc(ctx, func() { w.close() })
	return w, nil
}

// Next waits for the next change.
func (w *watcher) Next(ctx context.Context) (kv.Entry, error) {
	for {
		if w.closed.Load() {
			return kv.Entry{}, kv.ErrClosed
		}
		if w.initial && w.pending == 0 {
			w.initial = false
			return kv.Entry{Op: kv.OpReady}, nil
		}
		m, err := w.sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrSlowConsumer) {
			continue // the consumer is made anew, at the gap
		}
		if err != nil {
			return kv.Entry{}, w.fail(ctx, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			continue // not of the stream
		}
		wasInitial := w.initial
		if w.initial {
			w.pending = min(w.pending-1, meta.NumPending)
		}
		e := w.bucket.entry(m.Subject[len(w.bucket.prefix):], meta.Sequence.Stream, meta.Timestamp, m.Header, m.Data)
		if !w.filter.Match(e.Key) || wasInitial && e.Op != kv.OpPut {
			continue
		}
		if w.keys {
			e.Value = nil
		}
		return e, nil
	}
}

func (w *watcher) fail(ctx context.Context, err error) error {
	switch {
	case w.closed.Load():
		return kv.ErrClosed
	case w.ended.Load():
		return fmt.Errorf("%w: %q was removed", kv.ErrNoBucket, w.bucket.name)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return w.bucket.fail(ctx, "", err)
}

// end is for a bucket that was removed: nothing comes any more, also if there is
// another one of the name.
func (w *watcher) end() {
	w.ended.Store(true)
	w.sub.Unsubscribe()
}

// Close ends the watcher.
func (w *watcher) Close() error {
	w.stop()
	return w.close()
}

func (w *watcher) close() error {
	w.once.Do(func() {
		w.closed.Store(true)
		if w.gone != nil {
			w.gone.Unsubscribe()
		}
		// The end of the connection is an end, too.
		if err := w.sub.Unsubscribe(); !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			w.err = err
		}
	})
	return w.err
}

// Count returns how many keys there are.
func (b *Bucket) Count(ctx context.Context, filter kv.Filter) (n int, err error) {
	err = b.live(ctx, filter, func(string) { n++ })
	return n, err
}

// live goes through all keys of a filter, in no order of theirs, by the headers of
// their messages, which tell keys from what a delete has left.
func (b *Bucket) live(ctx context.Context, filter kv.Filter, each func(key string)) error {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	w, err := b.watch(ctx, kv.WatchOptions{Filter: filter, Initial: true, KeysOnly: true})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		e, err := w.Next(ctx)
		if errors.Is(err, kv.ErrClosed) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if e.Op == kv.OpReady {
			return nil
		}
		each(e.Key)
	}
}
