package kvwire

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Watch follows keys.
func (b *Bucket) Watch(ctx context.Context, options kv.WatchOptions) (kv.Watcher, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	h := addFlag(addFilter(b.head("kv.watch"), options.Filter), keyInitial, options.Initial)
	r, err := b.send(ctx, addFlag(addUint(h, keyFrom, options.From), keyKeys, options.KeysOnly), nil)
	if err != nil {
		return nil, err
	}
	if err := faultOf(r.Header, r.Payload); err != nil {
		return nil, err
	}
	if r.Body == nil {
		return nil, kv.ErrClosed
	}
	w := &watcher{ctx: ctx, values: !options.KeysOnly, body: r.Body, entries: make(chan kv.Entry), closed: make(chan struct{})}
	go w.read(io.MultiReader(bytes.NewReader(r.Payload), r.Body))
	return w, nil
}

// maxEntry bounds the value of an entry, in bytes.
const maxEntry = 64 << 20

// watcher reads the entries of an answer. A goroutine does it, since a reader knows
// no context.
type watcher struct {
	ctx     context.Context // of Watch
	values  bool
	body    io.Closer
	entries chan kv.Entry // closed with err set
	err     error
	once    sync.Once
	closed  chan struct{}
}

func (w *watcher) read(r io.Reader) {
	defer close(w.entries)
	for {
		m, err := wire.ReadMessage(r, maxEntry)
		if err == nil {
			err = faultOf(m.Header, m.Payload)
		} else if err != io.EOF {
			err = wire.OfHost(err)
		}
		var e kv.Entry
		if err == nil {
			e, err = entryOf(m.Header, m.Payload, w.values)
		}
		if err != nil {
			w.err = err
			return
		}
		select {
		case w.entries <- e:
		case <-w.closed:
			w.err = kv.ErrClosed
			return
		case <-w.ctx.Done(): // nobody has to close it then
			w.Close()
			w.err = kv.ErrClosed
			return
		}
	}
}

// Next waits for the next change.
func (w *watcher) Next(ctx context.Context) (kv.Entry, error) {
	select {
	case <-w.closed:
		return kv.Entry{}, kv.ErrClosed
	default:
	}
	select {
	case e, ok := <-w.entries:
		if ok {
			return e, nil
		}
		if w.err == io.EOF || w.ctx.Err() != nil {
			return kv.Entry{}, kv.ErrClosed
		}
		return kv.Entry{}, w.err
	case <-w.closed:
		return kv.Entry{}, kv.ErrClosed
	case <-ctx.Done():
		return kv.Entry{}, ctx.Err()
	}
}

// Close ends the watcher.
func (w *watcher) Close() error {
	w.once.Do(func() {
		close(w.closed)
		w.body.Close()
	})
	return nil
}
