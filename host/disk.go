package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
)

// reserve is what must stay free on the disk, beside what a deploy stores: the
// NATS server stops storing anything when there is no room.
const reserve = 64 << 20

// freeSpace returns how many bytes may still be written where dir lies, -1 if
// that is not known.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// checkRoom returns an error of code Unavailable if there is no room for need
// bytes, beside the reserve, or if nothing can be stored because there was none.
func (h *Namespace) checkRoom(need int64) error {
	if free := freeSpace(h.cfg.Dir); free >= 0 && free < need+reserve {
		return wire.Errorf(wire.Unavailable, "no room for a new version: %d MiB are free where %s lies, and %d MiB are needed: make room and try again; what serves goes on",
			free>>20, h.cfg.Dir, (need+reserve)>>20)
	}
	return unavailable(h.bus.StorageErr())
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return wire.Errorf(wire.Unavailable, "%v; what serves goes on", err)
}

// whileStoring returns a context that ends, with an error of code Unavailable as
// its cause, when nothing can be stored any more: a stream that has stopped does
// not answer.
func (h *Namespace) whileStoring(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stopped := h.bus.Stopped()
	go func() {
		select {
		case <-stopped:
			cancel(unavailable(h.bus.StorageErr()))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// untilRestored returns a context that ends with parent, and when storage is back after
// it was gone: a watcher finds that out only after a while, and is to begin anew. stop
// must be called, and waits for what it has begun.
func (h *shared) untilRestored(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	restored := h.bus.Restored()
	var waiter sync.WaitGroup
	waiter.Go(func() {
		select {
		case <-restored:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		waiter.Wait()
	}
}

// explainEnd returns the error of what was done under a context: the cause of its end,
// if that has come, whatever was broken off by it has said, and else err, or what
// to do about it if the disk is full.
func (h *Namespace) explainEnd(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil || cause != nil && errors.Is(err, cause):
		return err
	case cause != nil:
		return cause
	case errors.Is(err, syscall.ENOSPC):
		return wire.Errorf(wire.Unavailable, "no room: %v: make room where %s lies and try again; what serves goes on", err, h.cfg.Dir)
	}
	return err
}

// fullBelow is how many bytes are free where a write that has failed has done so for
// want of more.
const fullBelow = 8 << 20

// noRoom returns the error of a write: one of code Unavailable that says what to do, if
// it has failed because nothing can be stored, and else err. The server itself tells of
// that by not answering, or by an error of its own that names no reason.
func (h *Namespace) noRoom(ctx context.Context, err error) error {
	var e *wire.Error
	if err == nil || ctx.Err() != nil || errors.As(err, &e) {
		return err
	}
	if _, other := kvwire.Fault(err); other == nil { // a bucket has refused it
		return err
	}
	if full := unavailable(h.storageErr()); full != nil {
		return full
	}
	return err
}

// storageErr is why nothing can be stored: what the server has noticed, or that there is
// no room, which it notices with the next write.
func (h *Namespace) storageErr() error {
	if err := h.bus.StorageErr(); err != nil || h.cfg.NATSURL != "" {
		return err
	}
	if free := freeSpace(h.cfg.Dir); free >= 0 && free < fullBelow {
		return fmt.Errorf("%w: %d KiB are free: make room where %s lies", bus.ErrStorage, free>>10, h.cfg.Dir)
	}
	return nil
}

// storing is a bucket whose writes say what to do where nothing can be stored.
type storing struct {
	kv.Bucket
	h *Namespace
}

func (b storing) Put(ctx context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return 0, err
	}
	revision, err := b.Bucket.Put(ctx, key, value, options...)
	return revision, b.h.noRoom(ctx, err)
}

func (b storing) Delete(ctx context.Context, key string, options ...kv.Option) error {
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return err
	}
	return b.h.noRoom(ctx, b.Bucket.Delete(ctx, key, options...))
}

func (b storing) Add(ctx context.Context, key string, delta int64, options ...kv.Option) (int64, error) {
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return 0, err
	}
	sum, err := b.Bucket.Add(ctx, key, delta, options...)
	return sum, b.h.noRoom(ctx, err)
}

// storingBlobs is storing for blobs.
type storingBlobs struct {
	kv.Blobs
	h *Namespace
}

func (b storingBlobs) Put(ctx context.Context, name string, r io.Reader) (kv.Blob, error) {
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return kv.Blob{}, err
	}
	about, err := b.Blobs.Put(ctx, name, r)
	return about, b.h.noRoom(ctx, err)
}

func (b storingBlobs) Delete(ctx context.Context, name string) error {
	if err := unavailable(b.h.bus.StorageErr()); err != nil {
		return err
	}
	return b.h.noRoom(ctx, b.Blobs.Delete(ctx, name))
}
