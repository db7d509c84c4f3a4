package host

import (
	"context"
	"io"

	"github.com/fnhost/fnhost/functions/wire"
)

// source is something that a follower reads: it has what there is to tell now, and
// says changed to the listener that it was opened with when there is more.
type source interface {
	// append adds the messages for what is new since the last call. An error ends
	// the following.
	append(b []byte) ([]byte, error)
	close()
}

// listener is told that a source has changed. It must not block.
type listener interface{ changed() }

// callFollow answers what a version of a function is to know as it changes. The
// answer goes on until whoever reads it has gone.
func (h *Namespace) callFollow(ctx context.Context, f *function, v *version) (*wire.Response, error) {
	fo := &follower{ctx: ctx, wake: make(chan struct{}, 1)}
	for _, open := range []func(context.Context, *function, *version, listener) (source, error){
		h.configs.follow,
	} {
		s, err := open(ctx, f, v, fo)
		if err != nil {
			fo.Close()
			return nil, err
		}
		fo.sources = append(fo.sources, s)
	}
	first, err := fo.news()
	if err != nil {
		fo.Close()
		return nil, err
	}
	first = wire.AppendMessage(first, wire.Header(nil).Add(wire.KeyOp, "ready"), nil)
	return &wire.Response{Payload: first, Body: fo}, nil
}

// follower is the body of an answer that tells what changes. It is read by one
// goroutine.
type follower struct {
	ctx     context.Context
	sources []source
	wake    chan struct{} // capacity 1
	rest    []byte        // told, and not yet read
}

// changed implements [listener].
func (f *follower) changed() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// news returns what is new, which may be nothing.
func (f *follower) news() (b []byte, err error) {
	for _, s := range f.sources {
		if b, err = s.append(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// next waits until something is.
func (f *follower) next() ([]byte, error) {
	for {
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		}
		if b, err := f.news(); len(b) > 0 || err != nil {
			return b, err
		}
	}
}

// Read implements [io.Reader].
func (f *follower) Read(p []byte) (n int, err error) {
	if len(f.rest) == 0 {
		if f.rest, err = f.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo]: what is copied needs no buffer, for each worker,
// to wait in.
func (f *follower) WriteTo(w io.Writer) (total int64, err error) {
	for {
		b, err := f.next()
		if err != nil {
			return total, err
		}
		n, err := w.Write(b)
		if total += int64(n); err != nil {
			return total, err
		}
	}
}

// Close implements [io.Closer].
func (f *follower) Close() error {
	for _, s := range f.sources {
		s.close()
	}
	f.sources = nil
	return nil
}
