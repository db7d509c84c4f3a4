package host

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// serveCall answers what a worker of f asks the host.
func (h *Host) serveCall(ctx context.Context, f *function, m *manifest.Manifest, x *wire.Exchange) {
	r, err := h.call(ctx, f, m, &wire.Request{Header: x.Header(), Payload: x.Payload(), Body: x.Body()})
	if err != nil {
		x.Fail(wire.AsError(err))
		return
	}
	if err := x.Respond(r.Header, r.Payload, r.Body != nil); err != nil || r.Body == nil {
		return
	}
	defer r.Body.Close()
	if _, err := io.Copy(struct{ io.Writer }{x}, r.Body); err != nil {
		x.Fail(wire.AsError(err))
	}
}

// call does what a function asks the host for, if its manifest lets it.
func (h *Host) call(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	switch op := req.Header.Get(wire.KeyOp); op {
	case "invoke":
		return h.callFunction(ctx, f, m, req)
	default:
		return nil, wire.Errorf(wire.BadRequest, "this host does not know the operation %q: it may be older than the function's library", op)
	}
}

func (h *Host) callFunction(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	target := req.Header.Get(wire.KeyTarget)
	name, endpoint, _ := strings.Cut(target, "/")
	if m.Access != nil && !matchesAny(m.Access.Functions, name) {
		return nil, wire.Errorf(wire.Forbidden, "function %q may not call %q: add it to access.functions in its %s", f.name, name, manifest.FileName)
	}
	depth, _ := req.Header.Int(wire.KeyDepth)
	result, err := invoker{h}.Invoke(ctx, &trigger.Invocation{
		Function: name, Endpoint: endpoint, Trigger: trigger.Call, Caller: f.name, Depth: int(min(max(depth, 0), maxDepth)) + 1,
		Payload: req.Payload, Body: req.Body,
	})
	if err != nil {
		return nil, err
	}
	return &wire.Response{Header: result.Header, Payload: result.Payload, Body: result.Body}, nil
}

// matchesAny reports whether a pattern, in which * is any run of characters,
// matches name.
func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}
