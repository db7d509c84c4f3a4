package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger"
)

// maxDepth is how many function-to-function calls may lie above one.
const maxDepth = 32

// maxResult bounds a result that is held in memory as a whole, in bytes.
const maxResult = 64 << 20

// Invoke runs the function name, "orders" or "orders/create" for an endpoint, with
// a body, and returns the body of its result. The function's timeout bounds it,
// and the deadline of ctx if that is sooner. The error is, or wraps, an
// *[functions.Error]; errors.Is with the sentinels of package functions asks for
// its code. A result of more than 64 MiB is one of code TooLarge; after [Host.Close]
// it is one of code Unavailable that also is [ErrClosed].
func (h *Namespace) Invoke(ctx context.Context, name string, body []byte) ([]byte, error) {
	function, endpoint, _ := strings.Cut(name, "/")
	inv := invoker{h}
	r, err := inv.Invoke(ctx, &trigger.Invocation{Function: function, Endpoint: endpoint, Trigger: trigger.Direct, Payload: body})
	if err != nil {
		return nil, err
	}
	return r.ReadAll(maxResult)
}

// invoker is the host as triggers see it.
type invoker struct{ h *Namespace }

// Await implements [trigger.Invoker].
func (i invoker) Await(ctx context.Context, name, version string) (*trigger.Function, error) {
	_, v, err := i.h.serving(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return v.info.Load(), nil
}

// serving returns the function and the version of it that an invocation gets: the
// one it asks for, or one that the release chooses. It waits while the first one
// is being built.
func (h *Namespace) serving(ctx context.Context, name, version string) (*function, *version, error) {
	f := (*h.index.Load())[name]
	if f == nil {
		if h.isClosed() {
			return nil, nil, closedError{}
		}
		return nil, nil, h.notFound(name)
	}
	if version != "" {
		v, err := f.named(ctx, version)
		if err != nil && h.isClosed() {
			err = closedError{}
		}
		return f, v, err
	}
	if r := f.current.Load(); r != nil {
		return f, r.pick(), nil
	}
	select {
	case <-f.settled:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if r := f.current.Load(); r != nil {
		return f, r.pick(), nil
	}
	if next := (*h.index.Load())[name]; next != nil && next != f {
		return h.serving(ctx, name, version) // another one has taken its place
	}
	return nil, nil, f.notReady()
}

func (h *Namespace) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *Namespace) notFound(name string) error {
	names := slices.Collect(maps.Keys(*h.index.Load()))
	return wire.Errorf(wire.NoFunction, "no function %q%s", name, nearest.DidYouMean(name, names))
}

// removedError is the error of an invocation of a function that has ended, or
// with it the host.
func (h *Namespace) removedError(name string) error {
	if h.isClosed() {
		return closedError{}
	}
	return wire.Errorf(wire.Unavailable, "function %q is being removed", name)
}

// notReady returns why no version serves.
func (f *function) notReady() error {
	f.mu.Lock()
	why, removed := f.err, f.removed
	f.mu.Unlock()
	if removed || why == nil {
		return f.h.removedError(f.name)
	}
	e := &trigger.NotReady{Function: f.name, Title: shortReason(why, f.src.Root), Detail: strings.TrimSpace(why.Error())}
	if errors.Is(why, errStart) {
		e.Problem = "does not start"
	}
	list := diagnosticsOf(why)
	if len(list) == 0 {
		return e
	}
	e.Problem = "does not build"
	var detail strings.Builder
	for _, d := range list {
		fault := trigger.Fault{Message: strings.TrimRight(d.Text(f.src.Root), "\n"), Excerpt: strings.TrimRight(d.Excerpt, "\n")}
		e.Faults = append(e.Faults, fault)
		fmt.Fprintf(&detail, "%s\n", fault.Message)
		if fault.Excerpt != "" {
			fmt.Fprintf(&detail, "%s\n\n", fault.Excerpt)
		}
	}
	e.Detail = strings.TrimSpace(detail.String())
	return e
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// Invoke implements [trigger.Invoker].
func (i invoker) Invoke(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	h := i.h
	if inv.Depth > maxDepth {
		return nil, wire.Errorf(wire.Loop, "%d functions have called each other to get here: a call that comes back to itself", inv.Depth)
	}
	if err := h.admit(inv.Trigger); err != nil {
		return nil, err
	}
	f, v, err := h.serving(ctx, inv.Function, inv.Version)
	if err != nil {
		return nil, err
	}
	if inv.ID == "" {
		inv.ID = h.ids.next()
	}
	var deadline time.Time
	if v.manifest.Timeout > 0 {
		deadline = time.Now().Add(v.manifest.Timeout)
	}
	for {
		inv.Ran = v.name
		result, err := f.run(ctx, deadline, v, inv)
		if errors.Is(err, worker.ErrDraining) {
			// Another version has taken over between the look-up and here.
			next, its, gone := h.serving(ctx, inv.Function, inv.Version)
			if gone == nil && !next.isRemoved() {
				f, v = next, its
				continue
			}
			if err = gone; err == nil {
				err = h.removedError(inv.Function)
			}
		}
		if err != nil {
			err = f.explain(ctx, v, inv, err)
			f.failed(v, inv, err)
			return nil, err
		}
		f.answered(v, inv, result)
		return result, nil
	}
}

func (f *function) isRemoved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removed
}

// run hands an invocation to a version.
func (f *function) run(ctx context.Context, deadline time.Time, v *version, inv *trigger.Invocation) (*trigger.Result, error) {
	info := v.info.Load()
	if inv.Endpoint != "" || len(info.Endpoints) > 0 {
		if info.Endpoint(inv.Endpoint) == nil {
			if f.isRemoved() {
				return nil, worker.ErrDraining
			}
			return nil, noEndpoint(info, inv.Endpoint)
		}
	}
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline = d
	}
	req := &wire.Request{}
	if _, native := v.runner.(*worker.NativePool); native {
		// Workers get a copy of it, while a function of this process keeps it.
		req = requests.Get().(*wire.Request)
		defer recycle(req)
	}
	end := f.callers.begin(inv)
	*req = wire.Request{Kind: wire.Invoke, Header: invokeHeader(req.Header, inv, deadline), Payload: inv.Payload, Body: inv.Body, Deadline: deadline}
	resp, err := v.runner.Do(ctx, req)
	switch {
	case end == nil:
	case err == nil && resp.Body != nil:
		resp.Body = endingBody{resp.Body, end}
	default:
		end()
	}
	if err != nil {
		return nil, f.hideError(err)
	}
	return f.hideResult(&trigger.Result{Version: v.name, Header: resp.Header, Payload: resp.Payload, Body: resp.Body})
}

var requests = sync.Pool{New: func() any { return &wire.Request{Header: make(wire.Header, 0, 1<<10)} }}

// recycle keeps the header's memory for another request.
func recycle(req *wire.Request) {
	*req = wire.Request{Header: req.Header[:0]}
	requests.Put(req)
}

// invokeHeader appends the header of an invoke to h.
func invokeHeader(h wire.Header, inv *trigger.Invocation, deadline time.Time) wire.Header {
	h = append(h, inv.Header...)
	if inv.Endpoint != "" {
		h = h.Add(wire.KeyEndpoint, inv.Endpoint)
	}
	h = h.Add(wire.KeyInvocation, inv.ID).Add(wire.KeyTrigger, inv.Trigger)
	if !deadline.IsZero() {
		h = h.AddInt(wire.KeyTimeout, max(time.Until(deadline).Microseconds(), 1))
	}
	if inv.Caller != "" {
		h = h.Add(wire.KeyCaller, inv.Caller)
	}
	if inv.Depth > 0 {
		h = h.AddInt(wire.KeyDepth, int64(inv.Depth))
	}
	return h
}

func noEndpoint(info *trigger.Function, name string) error {
	var names []string
	for _, e := range info.Endpoints {
		if e.Name != "" {
			names = append(names, e.Name)
		}
	}
	if name == "" {
		return wire.Errorf(wire.NoFunction, "function %q has no root endpoint; it has %s", info.Name, strings.Join(names, ", "))
	}
	return wire.Errorf(wire.NoFunction, "function %q has no endpoint %q%s", info.Name, name, nearest.DidYouMean(name, names))
}

// explain turns what went wrong into what the caller is told, and logs what the
// caller is not.
func (f *function) explain(ctx context.Context, v *version, inv *trigger.Invocation, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		if d, ok := ctx.Deadline(); !ok || time.Now().Before(d) {
			return wire.Errorf(wire.Timeout, "function %q did not answer within its timeout of %v", f.name, v.manifest.Timeout)
		}
		return wire.Errorf(wire.Timeout, "function %q did not answer before the caller's deadline", f.name)
	}
	var e *wire.Error
	if errors.As(err, &e) && e.Code == wire.Panicked {
		var p *builder.Package
		if v.artifact != nil && f.src.Dir != "" {
			p = v.artifact.Package
		}
		f.h.addLog(logs.Record{Level: slog.LevelError, Function: f.name, Version: v.name, Invocation: inv.ID, Source: logs.Host,
			Message: "panic: " + e.Message + "\n" + handlerStack(e.Stack, f.name, p)})
		f.h.log.Debug("the whole stack of a panic", logs.KeyFunction, f.name, logs.KeyInvocation, inv.ID, "stack", e.Stack)
		return wire.Errorf(wire.Panicked, "function %q panicked in invocation %s: its log has the stack", f.name, inv.ID)
	}
	return err
}
