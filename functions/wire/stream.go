package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// inbox holds the chunks that have come and were not read yet: at most Window
// bytes, since the peer has no credit for more.
type inbox struct {
	x *Exchange

	mu       sync.Mutex
	more     sync.Cond
	chunks   [][]byte
	size     int
	consumed int   // read, and not yet granted anew
	err      error // what Read returns after the chunks
}

func newInbox(x *Exchange) *inbox {
	in := &inbox{x: x}
	in.more.L = &in.mu
	return in
}

func (in *inbox) put(f *Frame) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return nil
	}
	if in.size+in.consumed+len(f.Payload) > Window {
		return fmt.Errorf("%w: chunks beyond the credit of exchange %d", ErrFrame, in.x.id)
	}
	if len(f.Payload) > 0 {
		in.chunks = append(in.chunks, f.Payload)
		in.size += len(f.Payload)
	}
	switch {
	case f.Flags&Failed != 0:
		in.err = errorOf(f.Header)
	case f.Flags&End != 0:
		in.err = io.EOF
	}
	in.more.Broadcast()
	return nil
}

// fail makes Read return err once what has come was read.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
		in.more.Broadcast()
	}
}

func (in *inbox) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	in.mu.Lock()
	if len(in.chunks) == 0 && in.err == nil {
		in.x.s.goOn()
	}
	for len(in.chunks) == 0 && in.err == nil {
		in.more.Wait()
	}
	if len(in.chunks) == 0 {
		defer in.mu.Unlock()
		return 0, in.err
	}
	n := copy(p, in.chunks[0])
	if n == len(in.chunks[0]) {
		in.chunks[0] = nil
		in.chunks = in.chunks[1:]
	} else {
		in.chunks[0] = in.chunks[0][n:]
	}
	in.size -= n
	in.consumed += n
	grant := 0
	if in.consumed >= Window/4 && in.err == nil {
		grant, in.consumed = in.consumed, 0
	}
	in.mu.Unlock()
	if grant > 0 {
		in.x.s.out.send(&Frame{ID: in.x.id, Kind: Credit, Payload: binary.BigEndian.AppendUint32(nil, uint32(grant))})
	}
	return n, nil
}

// outlet sends chunks, as far as the peer's credit allows.
type outlet struct {
	x *Exchange

	mu     sync.Mutex
	change sync.Cond
	credit int
	err    error
}

func newOutlet(x *Exchange) *outlet {
	o := &outlet{x: x, credit: Window}
	o.change.L = &o.mu
	return o
}

func (o *outlet) grant(n uint32) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n > Window || o.credit+int(n) > Window {
		return fmt.Errorf("%w: credit of %d on top of %d", ErrFrame, n, o.credit)
	}
	o.credit += int(n)
	o.change.Broadcast()
	return nil
}

func (o *outlet) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
		o.change.Broadcast()
	}
}

// spend waits for credit and takes up to n of it.
func (o *outlet) spend(n int) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.credit == 0 && o.err == nil {
		o.x.s.goOn()
	}
	for o.credit == 0 && o.err == nil {
		o.change.Wait()
	}
	if o.err != nil {
		return 0, o.err
	}
	n = min(n, o.credit, MaxPayload)
	o.credit -= n
	return n, nil
}

// Write sends p in chunks.
func (o *outlet) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := o.spend(len(p) - sent)
		if err != nil {
			return sent, err
		}
		if err := o.x.s.out.send(&Frame{ID: o.x.id, Kind: Chunk, Payload: p[sent : sent+n]}); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// pump sends all of r and then the end. If r fails, the peer is told.
func (o *outlet) pump(r io.Reader) {
	_, err := io.CopyBuffer(struct{ io.Writer }{o}, struct{ io.Reader }{r}, make([]byte, MaxPayload/2))
	o.mu.Lock()
	closed := o.err != nil
	o.mu.Unlock()
	if closed {
		return
	}
	f := Frame{ID: o.x.id, Kind: Chunk, Flags: End}
	if err != nil {
		f.Flags |= Failed
		f.Header = AsError(err).header(nil)
	}
	o.x.s.out.send(&f)
}
