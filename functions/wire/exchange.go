package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// An Exchange is one request and its response. A handler (see [Config]) reads
// the request from it and answers with either Respond, and then Write if there
// is more, or Fail. Those three must not be called concurrently; all else may.
type Exchange struct {
	s       *Session
	id      uint64
	kind    Kind
	header  Header
	payload []byte
	ctx     *requestContext // of a served exchange
	resp    *Response       // of one of ours, to be filled in

	head     chan answer // the head of the response, to who asked
	done     Done
	deadline time.Time // of an exchange of ours, zero for none
	lingers  bool      // guarded by the session's mutex

	mu       sync.Mutex
	in       *inbox  // chunks of the peer, nil while there are none to come
	outlet   *outlet // chunks to the peer, nil while none were announced
	served   bool    // opened by the peer
	answered bool    // the head of the response was sent, or received
	ended    bool    // its end was
	unwanted bool    // who asked has gone: what still comes is discarded
}

// newServed returns an exchange that f opens, and newAsked one of ours. What
// belongs to it is allocated with it.
func newServed(s *Session, f *Frame) *Exchange {
	x := &struct {
		Exchange
		ctx requestContext
	}{Exchange: Exchange{s: s, id: f.ID, kind: f.Kind, header: f.Header, payload: f.Payload, served: true}}
	x.ctx.deadline = deadlineOf(f.Header)
	x.Exchange.ctx = &x.ctx
	return &x.Exchange
}

func newAsked(s *Session, req *Request, head chan answer) *Exchange {
	x := &struct {
		Exchange
		resp Response
	}{Exchange: Exchange{s: s, kind: req.Kind, done: req.Done, head: head, deadline: req.Deadline, lingers: req.Lingers}}
	x.Exchange.resp = &x.resp
	return &x.Exchange
}

// ID returns the id that the exchange has in its session.
func (x *Exchange) ID() uint64 { return x.id }

// Kind returns the kind of the request: Invoke, Call or Describe.
func (x *Exchange) Kind() Kind { return x.kind }

// Header returns the headers of the request.
func (x *Exchange) Header() Header { return x.header }

// Payload returns the first part of the request's body, which may be all of it.
func (x *Exchange) Payload() []byte { return x.payload }

// Linger says that the answer goes on for long, and mostly silent: the session no
// longer takes the exchange for one of those that are about to send something, or to end.
func (x *Exchange) Linger() {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if _, open := x.s.open[x.id]; open && !x.lingers {
		x.lingers = true
		x.s.out.crowd.Add(-1)
	}
}

// Body returns what follows the payload, or nil if the payload was all.
func (x *Exchange) Body() io.Reader {
	if x.in == nil {
		return nil
	}
	return x.in
}

// answerKind returns the kind of the frame that answers a request of kind k.
func answerKind(k Kind) Kind {
	if k == Call {
		return Reply
	}
	return Result
}

// Respond sends the head of the response with the first part of its body, of
// any size. With more, Write sends the rest, and the end of the handler ends it.
// It returns an error if there was an answer already or the session has ended.
func (x *Exchange) Respond(h Header, payload []byte, more bool) error {
	x.mu.Lock()
	if x.answered {
		x.mu.Unlock()
		return errors.New("wire: answered twice")
	}
	first := payload[:min(len(payload), MaxPayload)]
	rest := payload[len(first):]
	x.answered, x.ended = true, !more && len(rest) == 0
	f := Frame{ID: x.id, Kind: answerKind(x.kind), Header: h, Payload: first}
	if x.ended {
		f.Flags = End
	} else if x.outlet == nil {
		x.outlet = newOutlet(x)
	}
	gone := x.unwanted
	x.mu.Unlock()
	if gone && x.outlet != nil {
		x.outlet.close(context.Canceled)
	}
	if err := x.s.out.send(&f); err != nil {
		return err
	}
	if len(rest) > 0 {
		if _, err := x.outlet.Write(rest); err != nil {
			return err
		}
	}
	return nil
}

// Write sends a further part of the response. It waits for the peer to take it,
// and fails once the peer has cancelled or the session has ended.
func (x *Exchange) Write(p []byte) (int, error) {
	if x.outlet == nil {
		return 0, errors.New("wire: Write without Respond")
	}
	return x.outlet.Write(p)
}

// Fail answers with an error, or ends an answer in progress with one.
func (x *Exchange) Fail(e *Error) error {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return nil
	}
	f := Frame{ID: x.id, Kind: answerKind(x.kind), Flags: End | Failed, Header: e.header(nil)}
	if x.answered {
		f.Kind = Chunk
	}
	x.answered, x.ended = true, true
	x.mu.Unlock()
	return x.s.out.send(&f)
}

// finish ends a served exchange when its handler has returned.
func (x *Exchange) finish() {
	x.mu.Lock()
	answered, ended, in, outlet := x.answered, x.ended, x.in, x.outlet
	x.mu.Unlock()
	switch {
	case !answered:
		x.Fail(Errorf(Internal, "the handler returned without an answer"))
	case !ended:
		x.s.out.send(&Frame{ID: x.id, Kind: Chunk, Flags: End})
	}
	x.s.forget(x.id)
	x.ctx.cancel(context.Canceled)
	if in != nil {
		in.fail(errEnded)
	}
	if outlet != nil {
		outlet.close(errEnded)
	}
}

// errEnded is what a body returns that is used after its exchange has ended.
var errEnded = errors.New("wire: the exchange has ended")

// receiveHead handles the first frame of a response.
func (x *Exchange) receiveHead(f *Frame) error {
	x.mu.Lock()
	if x.served || x.answered {
		x.mu.Unlock()
		return fmt.Errorf("%w: answer to %d not asked for", ErrFrame, x.id)
	}
	x.answered = true
	ended := f.Flags&End != 0
	wanted := !x.unwanted
	if !ended && wanted {
		x.in = newInbox(x)
	}
	x.mu.Unlock()
	if wanted {
		x.head <- answer{header: f.Header, payload: f.Payload, flags: f.Flags}
	}
	if ended {
		x.complete()
	}
	return nil
}

func (x *Exchange) receiveChunk(f *Frame) error {
	x.mu.Lock()
	in := x.in
	if x.unwanted {
		in = nil
	}
	x.mu.Unlock()
	if in != nil {
		if err := in.put(f); err != nil {
			return err
		}
	}
	if f.Flags&End != 0 && !x.served {
		x.complete()
	}
	return nil
}

func (x *Exchange) receiveCredit(f *Frame) error {
	if len(f.Payload) != 4 {
		return fmt.Errorf("%w: credit of %d bytes", ErrFrame, len(f.Payload))
	}
	x.mu.Lock()
	outlet := x.outlet
	x.mu.Unlock()
	if outlet == nil {
		return nil
	}
	return outlet.grant(binary.BigEndian.Uint32(f.Payload))
}

// receiveCancel tells the handler that nobody waits for it any more.
func (x *Exchange) receiveCancel() {
	if !x.served {
		return
	}
	x.mu.Lock()
	x.unwanted = true
	in, outlet := x.in, x.outlet
	x.mu.Unlock()
	x.ctx.cancel(context.Canceled)
	if in != nil {
		in.fail(context.Canceled)
	}
	if outlet != nil {
		outlet.close(context.Canceled)
	}
}

// complete ends an exchange of ours, whose response has come to its end.
func (x *Exchange) complete() {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	x.ended = true
	outlet := x.outlet
	x.mu.Unlock()
	x.s.forget(x.id)
	if outlet != nil {
		outlet.close(errEnded)
	}
	if x.done != nil {
		x.done.ExchangeDone()
	}
}

// abandon tells the peer that its answer is no longer wanted.
func (x *Exchange) abandon() { x.leave(true) }

// expire is abandon for who still waits for the head of the response.
func (x *Exchange) expire() {
	if x.leave(false) {
		x.head <- answer{err: context.DeadlineExceeded}
	}
}

// leave does what abandon says, once, and tells whether it did. If answered is
// false, it leaves alone an exchange whose response has begun.
func (x *Exchange) leave(answered bool) bool {
	x.mu.Lock()
	if x.unwanted || x.ended || x.answered && !answered {
		x.mu.Unlock()
		return false
	}
	x.unwanted = true
	in, outlet := x.in, x.outlet
	x.mu.Unlock()
	if in != nil {
		in.fail(context.Canceled)
	}
	if outlet != nil {
		outlet.close(context.Canceled)
	}
	x.s.out.send(&Frame{ID: x.id, Kind: Cancel})
	return true
}

// sessionEnded fails whatever waits on x.
func (x *Exchange) sessionEnded(err error) {
	if x.served {
		x.ctx.cancel(context.Canceled)
	}
	x.mu.Lock()
	waiting, in, outlet := !x.answered && !x.unwanted, x.in, x.outlet
	x.answered = true
	x.mu.Unlock()
	if in != nil {
		in.fail(err)
	}
	if outlet != nil {
		outlet.close(err)
	}
	if x.served {
		return
	}
	if waiting {
		x.head <- answer{err: err}
	}
	x.complete()
}

// response turns the head of a response into what Do returns.
func (x *Exchange) response(ctx context.Context, deadline time.Time, a answer) (*Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.flags&Failed != 0 {
		return nil, errorOf(a.header)
	}
	x.resp.Header, x.resp.Payload = a.header, a.payload
	if a.flags&End == 0 {
		x.resp.Body = newBody(ctx, deadline, x)
	}
	return x.resp, nil
}

// body is the rest of a response.
type body struct {
	x     *Exchange
	in    *inbox
	stop  func() bool
	timer *time.Timer // nil without a deadline
}

func newBody(ctx context.Context, deadline time.Time, x *Exchange) *body {
	b := &body{x: x, in: x.in}
	end := func(err error) {
		b.in.fail(err)
		x.abandon()
	}
	b.stop = context.AfterFunc(ctx, func() { end(ctx.Err()) })
	if !deadline.IsZero() {
		b.timer = time.AfterFunc(time.Until(deadline), func() { end(context.DeadlineExceeded) })
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *body) Close() error {
	b.release()
	b.x.abandon()
	return nil
}

func (b *body) release() {
	b.stop()
	if b.timer != nil {
		b.timer.Stop()
	}
}

// withRest returns a reader of p and then of rest, which may be nil.
func withRest(p []byte, rest io.Reader) io.Reader {
	if rest == nil {
		return bytes.NewReader(p)
	}
	return io.MultiReader(bytes.NewReader(p), rest)
}
