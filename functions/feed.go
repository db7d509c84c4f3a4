package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// Config returns the configuration of the function as it is now: what is set for it
// and for its namespace with `fnhost config set`, over the defaults in its function.yaml.
// The first use asks the host; from then on it tells of each change, and Config reads memory
// alone. If the host can no longer be followed, the next use asks anew, so that what
// is returned is never older than what the host has told. See [OnConfig] for being told.
//
// It returns an *[Error], of code [Unavailable] if the host cannot tell, and of code
// [Unprocessed] if what is set does not fit the function's schema; the error of ctx; or
// [ErrNoHost].
func Config(ctx context.Context) (*Settings, error) {
	s := scopeOf(ctx)
	if s == nil {
		return nil, ErrNoHost
	}
	f := s.runtime.Feed()
	if c := f.current.Load(); c != nil {
		return c, nil
	}
	return f.config(ctx, s.function, s.runtime)
}

var onConfig struct {
	mu       sync.Mutex
	handlers []func(old, new *Settings)
	calling  sync.Mutex // held while they are called
}

// OnConfig has fn called with the configuration when it is first known, where old is
// nil, and when it has changed. The handlers are called one after the other, never two
// at once, and beside the invocations, which see a change at once; of changes that follow each other quickly a
// handler may see the last one only. A panic in one is logged. Call OnConfig before [Serve], as
// in an init function: then the function follows its configuration from its start on. In a
// program with in-process functions it is told of all that use [Config], which new.Function names.
func OnConfig(fn func(old, new *Settings)) {
	onConfig.mu.Lock()
	defer onConfig.mu.Unlock()
	onConfig.handlers = append(onConfig.handlers, fn)
}

func configHandlers() []func(old, new *Settings) {
	onConfig.mu.Lock()
	defer onConfig.mu.Unlock()
	return slices.Clone(onConfig.handlers)
}

// Feed keeps what a host tells a function of as it changes. The zero value is ready
// for use. It is for those who implement [Runtime]; functions use [Config].
type Feed struct {
	current atomic.Pointer[Settings] // nil while none is known to be current

	mu      sync.Mutex
	stream  *stream // that is read, nil for none
	stopped bool
	cancel  context.CancelFunc // of the streams
	readers sync.WaitGroup
	ctx     context.Context

	fresh   *Settings // that handlers are to be told of
	told    *Settings // that they were told of last
	telling chan struct{}
}

// stream is what the host tells, from the asking to its end.
type stream struct {
	first chan struct{} // closed when it has told all that there was at first, or err is set
	err   error
}

const (
	maxFeed   = 4 << 20 // bytes of a message
	feedAgain = time.Second
)

var errStopped = Errorf(Unavailable, "the worker ends, and is told nothing any more")

// config waits until the configuration is known.
func (f *Feed) config(ctx context.Context, function string, r Runtime) (*Settings, error) {
	for range 3 {
		s := f.follow(function, r)
		select {
		case <-s.first:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.err != nil {
			return nil, wire.OfHost(fmt.Errorf("config: %w", s.err))
		}
		if c := f.current.Load(); c != nil {
			return c, nil
		}
	}
	return nil, wire.OfHost(fmt.Errorf("config: %w", Errorf(Unavailable, "the host tells it, and ends at once")))
}

// follow asks the host, unless that was done.
func (f *Feed) follow(function string, r Runtime) *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream != nil {
		return f.stream
	}
	s := &stream{first: make(chan struct{})}
	if f.stopped {
		s.err = errStopped
		close(s.first)
		return s
	}
	if f.ctx == nil {
		f.ctx, f.cancel = context.WithCancel(context.Background())
	}
	f.stream = s
	f.readers.Add(1)
	go func() {
		defer f.readers.Done()
		f.run(s, function, r)
	}()
	return s
}

// run reads a stream to its end. Where there are handlers, it begins anew then.
func (f *Feed) run(s *stream, function string, r Runtime) {
	err := f.read(s, function, r)
	f.mu.Lock()
	f.current.Store(nil)
	f.stream = nil
	f.mu.Unlock()
	select {
	case <-s.first:
	default:
		s.err = err
		close(s.first)
	}
	if len(configHandlers()) == 0 {
		return
	}
	select {
	case <-time.After(feedAgain):
		f.follow(function, r)
	case <-f.ctx.Done():
	}
}

func (f *Feed) read(s *stream, function string, r Runtime) error {
	resp, err := r.Do(f.ctx, &wire.Request{Kind: wire.Call, Header: wire.Header(nil).Add(wire.KeyOp, "follow"), Lingers: true})
	if errors.Is(err, context.Canceled) {
		return errStopped
	}
	if err != nil {
		return err
	}
	var body io.Reader = bytes.NewReader(resp.Payload)
	if resp.Body != nil {
		defer resp.Body.Close()
		body = io.MultiReader(body, resp.Body)
	}
	for ready := false; ; {
		m, err := wire.ReadMessage(body, maxFeed)
		if err != nil {
			return Errorf(Unavailable, "the host tells nothing any more: %v", err)
		}
		switch op := m.Header.Get(wire.KeyOp); {
		case op == "config":
			if err := f.take(function, m, r); err != nil {
				return err
			}
		case op == "ready" && !ready:
			ready = true
			close(s.first)
		}
	}
}

// take makes a message what is current.
func (f *Feed) take(function string, m wire.Message, r Runtime) error {
	revision, _ := m.Header.Int(wire.KeyRevision)
	c, err := newSettings(function, uint64(revision), m.Header.Get(wire.KeyPartial) != "", m.Payload)
	if err != nil {
		return Errorf(Internal, "%v", err)
	}
	f.current.Store(c)
	f.tell(c, r)
	return nil
}

// Set makes a JSON object the configuration, without a host to follow, and returns
// when the handlers of [OnConfig] were told. It returns an error for what is no object.
func (f *Feed) Set(function string, revision uint64, data []byte, r Runtime) error {
	c, err := newSettings(function, revision, false, data)
	if err != nil {
		return err
	}
	f.current.Store(c)
	f.tell(c, r)
	f.awaitTold(context.Background())
	return nil
}

// tell has handlers told, in a goroutine that ends when there is nothing to tell.
func (f *Feed) tell(c *Settings, r Runtime) {
	if len(configHandlers()) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = c
	if f.telling == nil {
		f.telling = make(chan struct{})
		go f.tellAll(r)
	}
}

func (f *Feed) tellAll(r Runtime) {
	for {
		f.mu.Lock()
		old, c := f.told, f.fresh
		if f.fresh = nil; c == nil {
			close(f.telling)
			f.telling = nil
			f.mu.Unlock()
			return
		}
		f.told = c
		f.mu.Unlock()
		if old != nil && bytes.Equal(old.data, c.data) {
			continue // it was asked for anew, and is the same
		}
		onConfig.calling.Lock()
		for _, fn := range configHandlers() {
			callConfig(fn, old, c, r)
		}
		onConfig.calling.Unlock()
	}
}

// callConfig calls a handler, which may panic, and may end its goroutine.
func callConfig(fn func(old, new *Settings), old, c *Settings, r Runtime) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				stack, _ := json.Marshal(map[string]string{"stack": string(debug.Stack())})
				r.Log(context.Background(), "", slog.LevelError, fmt.Sprintf("a handler of OnConfig panicked: %v", v), stack)
			}
		}()
		fn(old, c)
	}()
	<-done
}

// awaitTold waits until handlers were told all that there is.
func (f *Feed) awaitTold(ctx context.Context) {
	f.mu.Lock()
	telling := f.telling
	f.mu.Unlock()
	if telling == nil {
		return
	}
	select {
	case <-telling:
	case <-ctx.Done():
	}
}

// stop ends what is read.
func (f *Feed) stop() {
	f.mu.Lock()
	f.stopped = true
	cancel := f.cancel
	f.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Close ends the following, and waits until that has ended and handlers have returned,
// or for the latter until ctx ends. What was known is no longer current.
func (f *Feed) Close(ctx context.Context) {
	f.stop()
	f.readers.Wait()
	f.awaitTold(ctx)
}
