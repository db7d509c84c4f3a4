package functions

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/fnhost/fnhost/functions/wire"
)

// sdk names this library to the host.
const sdk = "go"

// ErrNotAWorker is returned by [Serve] in a process that no host has started.
var ErrNotAWorker = errors.New("functions: this program is a function and waits for a host to run it: start one with `fnhost dev DIR`")

// Serve serves the endpoints to the host that started this process, until the
// host lets go of it; it then returns nil. It returns [ErrNotAWorker] in a
// process that no host has started, and an error for an endpoint that is none or
// a name that is taken twice. A program calls it once, from main.
func Serve(endpoints ...Endpoint) error {
	name := os.Getenv(wire.WorkerEnv)
	if name == "" {
		return ErrNotAWorker
	}
	w := &worker{name: name, endpoints: make(map[string]*Endpoint)}
	if err := w.add(endpoints); err != nil {
		return err
	}
	os.Unsetenv(wire.WorkerEnv) // a child of this process is no worker
	syscall.CloseOnExec(wire.WorkerFD)
	if err := syscall.SetNonblock(wire.WorkerFD, true); err != nil {
		return fmt.Errorf("functions: channel to the host: %w", err)
	}
	return w.run(os.NewFile(wire.WorkerFD, "host"))
}

// worker is this process, as its host sees it.
type worker struct {
	name      string
	endpoints map[string]*Endpoint
	order     []*Endpoint
	session   *wire.Session
	feed      Feed
	running   atomic.Int64
	draining  atomic.Bool
	leakNote  int // the number of goroutines that is worth a note; guarded by being claimed
	noting    atomic.Bool
}

func (w *worker) add(endpoints []Endpoint) error {
	for _, e := range endpoints {
		if err := e.Err(); err != nil {
			return err
		}
		if w.endpoints[e.Name] != nil {
			return fmt.Errorf("functions: two endpoints are named %q", e.Name)
		}
		w.endpoints[e.Name] = &e
		w.order = append(w.order, &e)
	}
	return nil
}

func (w *worker) run(channel *os.File) error {
	w.leakNote = 1000
	w.session = wire.NewSession(channel, wire.Config{Serve: w.serve, Control: w.control})
	h := wire.Header(nil).Add(wire.KeyProtocol, wire.Version).Add(wire.KeySDK, sdk)
	for _, e := range w.order {
		h = h.Add(wire.KeyEndpoint, e.Name+" "+e.Kind)
	}
	if err := w.session.Send(&wire.Frame{Kind: wire.Ready, Header: h}); err != nil {
		return fmt.Errorf("functions: tell the host: %w", err)
	}
	if len(configHandlers()) > 0 {
		w.feed.follow(w.name, w)
	}
	defer w.feed.stop()
	return w.session.Run()
}

func (w *worker) control(f wire.Frame) {
	if f.Kind == wire.Drain {
		w.draining.Store(true)
		w.leaveIfDone()
	}
}

// leaveIfDone ends the session once nothing runs and the host has said drain.
func (w *worker) leaveIfDone() {
	if w.draining.Load() && w.running.Load() == 0 {
		go w.session.Close()
	}
}

func (w *worker) serve(ctx context.Context, x *wire.Exchange) {
	w.running.Add(1)
	defer w.done()
	switch x.Kind() {
	case wire.Describe:
		w.describe(x)
		return
	case wire.Invoke:
	default:
		x.Fail(Errorf(BadRequest, "a worker serves no %d", x.Kind()))
		return
	}
	h := x.Header()
	e := w.endpoints[h.Get(wire.KeyEndpoint)]
	if e == nil {
		x.Fail(Errorf(wire.NoFunction, "function %q has no endpoint %q", w.name, h.Get(wire.KeyEndpoint)))
		return
	}
	ctx = NewContext(ctx, w.name, h, w)
	r := &Request{Header: h, Payload: x.Payload(), Body: x.Body()}
	if err := e.Serve(ctx, r, x); err != nil {
		x.Fail(wire.AsError(err))
	}
}

func (w *worker) done() {
	left := w.running.Add(-1)
	if left == 0 {
		w.leaveIfDone()
	}
	if left <= 1 { // the next one may have come already
		w.noteLeaks()
	}
}

// noteLeaks says in the log when goroutines outlive the invocations that
// started them; each note doubles what the next one takes.
func (w *worker) noteLeaks() {
	if runtime.NumGoroutine() < 1000 || !w.noting.CompareAndSwap(false, true) {
		return
	}
	defer w.noting.Store(false)
	if n := runtime.NumGoroutine(); n >= w.leakNote {
		w.leakNote = 2 * n
		w.Log(context.Background(), "", slog.LevelWarn,
			fmt.Sprintf("%d goroutines are running although at most one invocation is: the function leaks them", n), nil)
	}
}

// Do asks the host.
func (w *worker) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	return w.session.Do(ctx, req)
}

// Feed implements [Runtime].
func (w *worker) Feed() *Feed { return &w.feed }

// Log sends a record to the host.
func (w *worker) Log(_ context.Context, invocation string, level slog.Level, message string, attrs []byte) {
	h := wire.Header(nil).Add(wire.KeyLevel, level.String()).Add(wire.KeyMessage, message[:min(len(message), 32<<10)])
	if invocation != "" {
		h = h.Add(wire.KeyInvocation, invocation)
	}
	if len(attrs) > wire.MaxPayload {
		attrs, _ = json.Marshal(map[string]string{"attributes": fmt.Sprintf("left out: %d bytes", len(attrs))})
	}
	w.session.SendLog(&wire.Frame{Kind: wire.Log, Header: h, Payload: attrs})
}

func (w *worker) describe(x *wire.Exchange) {
	b, err := json.Marshal(Describe(w.order))
	if err != nil {
		x.Fail(wire.AsError(err))
		return
	}
	x.Respond(nil, b, false)
}

func base64Decode(s string) ([]byte, error) {
	// A form's text may have lost its padding, and URLs have an alphabet of their own,
	// and a plus sign that was not escaped comes out of a form as a space.
	s = strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}
