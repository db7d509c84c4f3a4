package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// ErrClosed is the error of exchanges whose session ended under them, because
// either side closed it or a process died.
var ErrClosed = errors.New("wire: session closed")

// Config says how a Session deals with what its peer sends. The callbacks run
// on the goroutine that reads: they must not block.
type Config struct {
	// Host is set on the host's side; it decides which ids the session uses.
	Host bool
	// Serve handles one request of the peer, in a goroutine that does nothing
	// else meanwhile, and may serve others afterwards. Its context ends when the
	// peer cancels, when the request's :timeout passes, and with the session.
	// Serve must answer x with Respond or Fail, and close a body it opened. Nil
	// refuses every request.
	Serve func(ctx context.Context, x *Exchange)
	// Control receives the frames that belong to no exchange: Ready, Log, Drain.
	Control func(f Frame)
}

// Session multiplexes exchanges over one stream. Its methods are safe for
// concurrent use.
type Session struct {
	cfg     Config
	rwc     io.ReadWriteCloser
	in      *Reader // of whose turn it is
	out     *writer
	crew    *crew
	turn    turn
	stopped chan error // why nobody reads any more; capacity 1

	mu       sync.Mutex
	nextID   uint64
	lastPeer uint64 // the highest id the peer has opened
	open     map[uint64]*Exchange
	err      error         // why the session ended
	done     chan struct{} // closed with err set
	alarm    *time.Timer   // looks for exchanges whose deadline has passed
	alarmAt  time.Time     // when it rings, zero for never
}

// NewSession returns a Session over rwc. Nothing is received until [Session.Run].
func NewSession(rwc io.ReadWriteCloser, cfg Config) *Session {
	s := &Session{
		cfg:     cfg,
		rwc:     rwc,
		in:      NewReader(rwc),
		out:     newWriter(rwc),
		stopped: make(chan error, 1),
		open:    make(map[uint64]*Exchange),
		done:    make(chan struct{}),
	}
	s.crew = newCrew(s.serve)
	s.turn.cool = coolness
	if !cfg.Host {
		s.nextID = ^uint64(0) // the first one is 1
	}
	return s
}

// Run reads frames until the stream ends, the peer breaks the protocol, or
// Close; it then ends all exchanges, waits for the handlers it started, and
// returns nil if the other side has gone, or for a Close, otherwise why it ended.
func (s *Session) Run() error {
	s.crew.members.Go(s.lead)
	err := <-s.stopped
	select {
	case <-s.done:
		err = nil
	default:
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) { // the latter if the other side has left something unread
			err = nil
		}
	}
	s.end(err)
	s.crew.dismiss()
	return err
}

// Close ends the session at once: exchanges in progress fail with [ErrClosed].
func (s *Session) Close() error {
	s.end(nil)
	return nil
}

// Done returns a channel that is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Send sends a frame that belongs to no exchange.
func (s *Session) Send(f *Frame) error { return s.out.send(f) }

// SendLog sends a log frame. It blocks while much is buffered, so that a
// function cannot log faster than its host reads.
func (s *Session) SendLog(f *Frame) error { return s.out.sendBounded(f) }

func (s *Session) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = ErrClosed
	if err != nil {
		s.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	exchanges := s.open
	s.open = nil
	if s.alarm != nil {
		s.alarm.Stop()
	}
	close(s.done)
	s.mu.Unlock()

	s.out.close(s.err)
	s.rwc.Close()
	for _, x := range exchanges {
		x.sessionEnded(s.err)
	}
}

// receive handles one frame; a request that it opens is still to be served. An
// error is the peer's breach of the protocol.
func (s *Session) receive(f *Frame) (request *Exchange, err error) {
	switch f.Kind {
	case Ready, Log, Drain:
		if s.cfg.Control != nil {
			s.cfg.Control(*f)
		}
		return nil, nil
	case Invoke, Call, Describe:
		return s.accept(f)
	}
	s.mu.Lock()
	x := s.open[f.ID]
	s.mu.Unlock()
	if x == nil {
		return nil, nil
	}
	switch f.Kind {
	case Result, Reply:
		return nil, x.receiveHead(f)
	case Chunk:
		return nil, x.receiveChunk(f)
	case Credit:
		return nil, x.receiveCredit(f)
	case Cancel:
		x.receiveCancel()
	}
	return nil, nil
}

// accept opens the exchange that the peer's frame asks for.
func (s *Session) accept(f *Frame) (*Exchange, error) {
	fromHost := f.ID%2 == 0
	if fromHost == s.cfg.Host || f.ID == 0 {
		return nil, fmt.Errorf("%w: id %d opened by the wrong side", ErrFrame, f.ID)
	}
	x := newServed(s, f)
	if f.Flags&End == 0 {
		x.in = newInbox(x)
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return nil, nil
	}
	if f.ID <= s.lastPeer {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: id %d opened twice", ErrFrame, f.ID)
	}
	s.lastPeer = f.ID
	s.open[f.ID] = x
	s.out.crowd.Add(1)
	s.mu.Unlock()
	return x, nil
}

// deadlineOf returns when the time of a request with these headers is up, zero
// for never.
func deadlineOf(h Header) time.Time {
	if us, ok := h.Int(KeyTimeout); ok && us >= 0 && us < int64(1<<62)/int64(time.Microsecond) {
		return time.Now().Add(time.Duration(us) * time.Microsecond)
	}
	return time.Time{}
}

func (s *Session) serve(x *Exchange) {
	defer x.finish() // deferred, since a handler may call runtime.Goexit
	if s.cfg.Serve == nil {
		x.Fail(Errorf(NotFound, "wire: requests are not served here"))
		return
	}
	s.cfg.Serve(x.ctx, x)
}

// forget removes an exchange that both sides have done with.
func (s *Session) forget(id uint64) {
	s.mu.Lock()
	if x, ok := s.open[id]; ok {
		delete(s.open, id)
		if !x.lingers {
			s.out.crowd.Add(-1)
		}
	}
	s.mu.Unlock()
}

// A Request opens an exchange.
type Request struct {
	Kind    Kind // Invoke, Call or Describe
	Header  Header
	Payload []byte
	// Body is what follows Payload, nil for nothing. It is read, in a goroutine
	// of its own, until its end or that of the exchange; Do never closes it.
	Body io.Reader
	// Deadline bounds the exchange, the body of the response included, as one of
	// the context would, and is cheaper. Zero is none.
	Deadline time.Time
	// Done, if set, is told once, when the peer has finished with the exchange,
	// which may be long after Do has returned (when it was cancelled, or while the
	// body of the response is read). It is not told if Do returned an error that
	// wraps [ErrNotSent].
	Done Done
	// Lingers says that the exchange is there for long and mostly silent, so that
	// nobody waits for what it sends next. See [Exchange.Linger].
	Lingers bool
}

// Done is told of the end of an exchange. It must not block.
type Done interface{ ExchangeDone() }

// A Response is the answer to a Request.
type Response struct {
	Header  Header
	Payload []byte
	// Body is what follows Payload, nil if that was all. Closing it before its
	// end cancels the exchange. It must be read to its end or closed.
	Body io.ReadCloser
}

// ErrNotSent is wrapped by an error of [Session.Do] when the request never left:
// it can be sent elsewhere without being run twice.
var ErrNotSent = errors.New("wire: not sent")

// Do sends a request and waits for the head of its response. The error is an
// *[Error] if the peer answered with one, that of ctx if it ended first (the
// peer is then told to cancel), or wraps [ErrClosed] if the session ended.
// Once it has returned, neither req nor its header is looked at any more.
func (s *Session) Do(ctx context.Context, req *Request) (*Response, error) {
	head := heads.Get().(chan answer)
	x := newAsked(s, req, head)
	if err := s.start(x, req); err != nil {
		heads.Put(head)
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	s.goOn()
	var a answer
	if done := ctx.Done(); done == nil {
		a = <-head
	} else {
		select {
		case a = <-head:
		case <-done:
			x.abandon()
			return nil, ctx.Err()
		}
	}
	heads.Put(head) // nothing is sent to it any more
	return x.response(ctx, req.Deadline, a)
}

// answer is the head of a response, or why there is none.
type answer struct {
	header  Header
	payload []byte
	flags   Flags
	err     error
}

var heads = sync.Pool{New: func() any { return make(chan answer, 1) }}

// start registers x under the next id and sends its opening frame, in one
// critical section of the writer, so that ids leave in order.
func (s *Session) start(x *Exchange, req *Request) error {
	f := Frame{Kind: req.Kind, Header: req.Header, Payload: req.Payload}
	rest := req.Body
	if len(f.Payload) > MaxPayload {
		rest = withRest(f.Payload[MaxPayload:], rest)
		f.Payload = f.Payload[:MaxPayload]
	}
	if rest == nil {
		f.Flags = End
	} else {
		x.outlet = newOutlet(x)
	}
	if err := s.out.sendWith(&f, s, x); err != nil {
		s.forget(x.id)
		return err
	}
	if rest != nil {
		go x.outlet.pump(rest)
	}
	return nil
}

// register opens x under the next id.
func (s *Session) register(x *Exchange, f *Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.nextID += 2
	f.ID, x.id = s.nextID, s.nextID
	s.open[x.id] = x
	if !x.lingers {
		s.out.crowd.Add(1)
	}
	s.expireAt(x.deadline)
	return nil
}

// TimeLeft returns the value of a :timeout header for the time that ctx has
// left, at least 1; ok is false if ctx has no deadline.
func TimeLeft(ctx context.Context) (us int64, ok bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return max(time.Until(deadline).Microseconds(), 1), true
}

// StatusOf returns the :status of a response, or otherwise if it has none.
func StatusOf(h Header, otherwise int) int {
	if n, err := strconv.Atoi(h.Get(KeyStatus)); err == nil && n >= 100 && n <= 999 {
		return n
	}
	return otherwise
}
