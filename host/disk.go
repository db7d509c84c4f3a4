package host

import (
	"context"
	"errors"
	"syscall"

	"github.com/fnhost/fnhost/functions/wire"
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
func (h *Host) checkRoom(need int64) error {
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
func (h *Host) whileStoring(parent context.Context) (ctx context.Context, stop func()) {
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

// explainEnd returns the error of what was done under a context: the cause of its end,
// if that has come, whatever was broken off by it has said, and else err, or what
// to do about it if the disk is full.
func (h *Host) explainEnd(ctx context.Context, err error) error {
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
