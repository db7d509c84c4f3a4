package wire

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxBuffered is how much a writer holds before bounded sends wait, in bytes.
const maxBuffered = 1 << 20

// writer groups frames into writes. Whoever sends first writes, and takes along
// what others have sent meanwhile: one system call for many frames under load,
// and no hand-over to another goroutine at rest. If the peer does not read, a
// goroutine takes over, so that no sender is held longer than its context lasts.
type writer struct {
	w      io.Writer
	raw    syscall.RawConn // nil where w has no file descriptor
	try    func(fd uintptr) bool
	trying struct { // in and out of try
		buf []byte
		n   int
		err error
	}

	crowd atomic.Int32 // exchanges that are open

	mu     sync.Mutex
	room   sync.Cond // signalled when buf has been taken
	buf    []byte    // sent and not yet taken
	spare  []byte
	active bool // somebody writes
	err    error
}

func newWriter(w io.Writer) *writer {
	wr := &writer{w: w}
	wr.room.L = &wr.mu
	if c, ok := w.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			wr.raw = raw
			wr.try = wr.tryOnce
		}
	}
	return wr
}

// tryOnce writes what fits without waiting, and always reports to be done.
func (w *writer) tryOnce(fd uintptr) bool {
	t := &w.trying
	for t.n < len(t.buf) {
		n, err := syscall.Write(int(fd), t.buf[t.n:])
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			break
		}
		if err != nil {
			t.err = err
			break
		}
		t.n += n
	}
	return true
}

func (w *writer) send(f *Frame) error {
	return w.sendWith(f, nil, nil)
}

// sendBounded is send that first waits until less than maxBuffered is held.
func (w *writer) sendBounded(f *Frame) error {
	w.mu.Lock()
	for len(w.buf) > maxBuffered && w.err == nil {
		w.room.Wait()
	}
	w.mu.Unlock()
	return w.sendWith(f, nil, nil)
}

// sendWith appends f to the buffer, and writes if nobody else does. An exchange
// that f opens is registered under the same lock, so that ids leave in order.
func (w *writer) sendWith(f *Frame, s *Session, x *Exchange) error {
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	if x != nil {
		if err := s.register(x, f); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	buf, err := AppendFrame(w.buf, f)
	w.buf = buf
	if err != nil || w.active {
		w.mu.Unlock()
		return err
	}
	w.active = true
	w.mu.Unlock()
	w.flush()
	return nil
}

// flush writes until nothing is left to write, or hands that over.
func (w *writer) flush() {
	// Let those who are about to send do so: their frames go in the same write.
	if w.crowd.Load() > 1 {
		runtime.Gosched()
	}
	for {
		buf, ok := w.take()
		if !ok {
			return
		}
		if w.raw == nil {
			_, err := w.w.Write(buf)
			w.give(buf, err)
			continue
		}
		w.trying.buf, w.trying.n, w.trying.err = buf, 0, nil
		err := w.raw.Write(w.try)
		if err == nil {
			err = w.trying.err
		}
		if err == nil && w.trying.n < len(buf) {
			go w.flushSlowly(buf, w.trying.n)
			return
		}
		w.give(buf, err)
	}
}

// flushSlowly goes on where the peer's buffer was full.
func (w *writer) flushSlowly(buf []byte, from int) {
	_, err := w.w.Write(buf[from:])
	w.give(buf, err)
	w.flush()
}

// take returns what there is to write; if there is nothing, nobody writes any more.
func (w *writer) take() ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) == 0 || w.err != nil {
		w.active = false
		return nil, false
	}
	buf := w.buf
	w.buf, w.spare = w.spare[:0], nil
	w.room.Broadcast()
	return buf, true
}

// give takes a written buffer back for use, unless it has grown large.
func (w *writer) give(buf []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(buf) <= 4*MaxPayload {
		w.spare = buf[:0]
	}
	if err != nil {
		w.fail(err)
	}
}

func (w *writer) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(err)
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
		w.room.Broadcast()
	}
}
