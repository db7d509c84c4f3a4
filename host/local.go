package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger"
)

// Handle makes fn, a Go function of this program, the function name: reachable
// as the others are, and by them, at no cost of a process. fn is of one of the
// shapes of package functions, or a [functions.Endpoint] made by httpfn. A
// function of that name in this program or in a watched folder is replaced; what
// runs in it ends in it. It returns an error for a name that is not valid, an fn
// of no accepted shape, [ErrClosed], and an *[functions.Error] of code Conflict
// for the name of a deployed function.
func (h *Namespace) Handle(name string, fn any) error {
	if err := manifest.ValidName(name); err != nil {
		return fmt.Errorf("host: handle %q: %w", name, err)
	}
	e, ok := fn.(functions.Endpoint)
	if !ok {
		e = functions.Handle("", fn)
	}
	if err := e.Err(); err != nil {
		return fmt.Errorf("host: handle %q: %w", name, err)
	}
	m := manifest.Default()
	m.Name = name
	d := functions.Describe([]*functions.Endpoint{&e})[0]
	info := &trigger.Function{Name: name, Manifest: m, Endpoints: []trigger.Endpoint{{Name: e.Name, Kind: e.Kind,
		Request: schemaJSON(document(d.Request, nil)), Response: schemaJSON(document(d.Response, nil))}}}
	f, err := h.localFunction(name)
	if err != nil {
		return fmt.Errorf("host: handle %q: %w", name, err)
	}
	f.mu.Lock()
	f.versions++
	number := f.versions
	info.Version = registry.VersionName(number)
	f.mu.Unlock()
	v := &version{id: info.Version, name: info.Version, number: number, manifest: m}
	v.runner = &local{h: h, f: f, v: v, endpoint: &e}
	v.info.Store(info)
	f.switchTo(wholeRelease(v), Event{})
	return nil
}

// localFunction returns the in-process function name, which takes the place of a
// watched one of that name.
func (h *Namespace) localFunction(name string) (*function, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	before := h.functions[name]
	switch {
	case before == nil:
	case before.isLocal():
		return before, nil
	case before.deployed != nil:
		return nil, wire.Errorf(wire.Conflict, "function %q is a deployed one: choose another name, or remove that one first", name)
	}
	f := newFunction(h, name, builder.Source{})
	h.functions[name] = f
	h.reindex()
	if before != nil { // retired only now: who waits for it is to find f in its place
		before.retire()
		h.tasks.Go(func() { before.stopWithin(h.cfg.Drain) })
		h.rediscover() // which says that its folder is left out
	}
	return f, nil
}

func schemaJSON(s *functions.Schema) []byte {
	if s == nil {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return b
}

// local runs an in-process function.
type local struct {
	h        *Namespace
	f        *function
	v        *version
	endpoint *functions.Endpoint
	feed     functions.Feed

	mu       sync.Mutex
	draining bool
	running  int
	idle     chan struct{} // closed when draining and nothing runs
}

// Do runs the handler in a goroutine of its own, so that one that ignores its
// context does not hold the caller.
func (l *local) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	l.mu.Lock()
	if l.draining {
		l.mu.Unlock()
		return nil, worker.ErrDraining
	}
	l.running++
	l.mu.Unlock()
	answer := newLocalAnswer()
	cancel := func() {}
	if !req.Deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, req.Deadline)
	}
	go func() {
		defer cancel()
		l.run(ctx, req, answer)
	}()
	select {
	case <-answer.head:
		return answer.resp, answer.err
	case <-ctx.Done():
		select {
		case <-answer.head: // it was that which ended the context
			return answer.resp, answer.err
		default:
		}
		answer.abandon()
		return nil, ctx.Err()
	}
}

func (l *local) run(ctx context.Context, req *wire.Request, answer *localAnswer) {
	defer l.leave()
	var err error = wire.Errorf(wire.Internal, "the handler returned without an answer")
	defer func() { answer.end(err) }() // deferred, since a handler may call runtime.Goexit
	ctx = functions.NewContext(ctx, l.f.name, req.Header, localRuntime{l})
	err = l.endpoint.Serve(ctx, &functions.Request{Header: req.Header, Payload: req.Payload, Body: req.Body}, answer)
}

func (l *local) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running--; l.running == 0 && l.draining {
		close(l.idle)
	}
}

// Drain takes no more invocations and waits for those that run.
func (l *local) Drain(ctx context.Context) {
	l.mu.Lock()
	if !l.draining {
		l.draining = true
		l.idle = make(chan struct{})
		if l.running == 0 {
			close(l.idle)
		}
	}
	l.mu.Unlock()
	select {
	case <-l.idle:
	case <-ctx.Done():
	}
	l.feed.Close(ctx)
}

// Stats implements runner.
func (l *local) Stats() worker.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return worker.Stats{Running: l.running}
}

// localRuntime is the host, as the handler of an in-process function reaches it.
type localRuntime struct{ l *local }

func (r localRuntime) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	return r.l.h.call(ctx, r.l.f, r.l.v, req)
}

func (r localRuntime) Feed() *functions.Feed { return &r.l.feed }

func (r localRuntime) Log(_ context.Context, invocation string, level slog.Level, message string, attrs []byte) {
	record := logs.Record{Level: level, Function: r.l.f.name, Invocation: invocation, Source: logs.Log,
		Message: message, Attrs: append([]byte(nil), attrs...)}
	r.l.f.hide(&record)
	r.l.h.addLog(record)
}

// localAnswer is the answer of an in-process handler: a head, and a pipe for
// what is streamed after it.
type localAnswer struct {
	head chan struct{} // closed with resp or err set
	resp *wire.Response
	err  error
	body *io.PipeWriter

	mu       sync.Mutex
	answered bool
	unwanted bool
}

func newLocalAnswer() *localAnswer { return &localAnswer{head: make(chan struct{})} }

// Respond implements [functions.Responder].
func (a *localAnswer) Respond(h wire.Header, payload []byte, more bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answered {
		return errors.New("answered twice")
	}
	a.answered = true
	a.resp = &wire.Response{Header: h, Payload: payload}
	if more {
		r, w := io.Pipe()
		a.resp.Body, a.body = r, w
		if a.unwanted {
			r.Close()
		}
	}
	close(a.head)
	return nil
}

// Write implements [functions.Responder].
func (a *localAnswer) Write(p []byte) (int, error) {
	if a.body == nil {
		return 0, errors.New("Write without Respond")
	}
	return a.body.Write(p)
}

// end completes the answer when the handler has returned.
func (a *localAnswer) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.answered && err == nil {
		err = wire.Errorf(wire.Internal, "the handler returned without an answer")
	}
	if err != nil {
		e := *wire.AsError(err)
		e.Remote = true // the function's, not the host's
		err = &e
	}
	if a.answered {
		if a.body != nil {
			a.body.CloseWithError(err) // nil is the end of the body
		}
		return
	}
	a.answered, a.err = true, err
	close(a.head)
}

// abandon lets a handler that still streams find nobody reading.
func (a *localAnswer) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unwanted = true
	if a.resp != nil && a.resp.Body != nil {
		a.resp.Body.Close()
	}
}
