package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// Invocation is what is known of one run of a function.
type Invocation struct {
	ID       string // unique; it is in every log record of the invocation
	Function string
	Endpoint string // "" for the root
	Trigger  string // what started it: "http", "rpc", "event", "schedule", "subscribe", "kv", "async", "call" or "invoke"
	Caller   string // the function that called, for the trigger "call"
	Depth    int    // how many function-to-function calls lie above it

	header wire.Header
}

// Header returns the first value of the request's header name, or "".
func (i Invocation) Header(name string) string {
	if name == "" || name[0] == ':' {
		return ""
	}
	return i.header.Get(name)
}

// Query returns the query parameters of the request. Typed handlers find them in
// their input; this is for those that take the body as it is.
func (i Invocation) Query() url.Values {
	values, _ := url.ParseQuery(i.header.Get(wire.KeyQuery)) // what can be parsed
	return values
}

// Runtime is the host, as a context reaches it. The worker's side of a session
// is one, the host itself for in-process functions, and functest's for tests.
type Runtime interface {
	// Do asks the host for something, as [wire.Session.Do] does with a Call.
	Do(ctx context.Context, req *wire.Request) (*wire.Response, error)
	// Log records what an invocation logs. attrs is a JSON object, or empty.
	Log(ctx context.Context, invocation string, level slog.Level, message string, attrs []byte)
	// Feed keeps what the host tells of as it changes: one for all invocations.
	Feed() *Feed
}

type scopeKey struct{}

// scope is the context of an invocation: the one it was made of, and what the
// package's functions need. The headers are looked at when somebody asks.
type scope struct {
	context.Context
	function string
	header   wire.Header
	runtime  Runtime

	atomics   atomic.Int64  // uses of Atomically
	published atomic.Uint32 // CloudEvents, which are numbered
}

func (s *scope) Value(key any) any {
	if key == (scopeKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// AfterFunc passes on to the context below, which needs no goroutine for it.
func (s *scope) AfterFunc(f func()) func() bool { return context.AfterFunc(s.Context, f) }

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

// NewContext returns a context for an invocation of function with the request
// headers h, under which [Call], [Log] and [InvocationFrom] reach runtime. Hosts
// and test helpers call it; functions do not.
func NewContext(ctx context.Context, function string, h wire.Header, runtime Runtime) context.Context {
	return &scope{Context: ctx, function: function, header: h, runtime: runtime}
}

// InvocationFrom returns the invocation that ctx belongs to, the zero value if none.
func InvocationFrom(ctx context.Context) Invocation {
	s := scopeOf(ctx)
	if s == nil {
		return Invocation{}
	}
	i := Invocation{Function: s.function, header: s.header}
	for key, value := range s.header.Fields() {
		switch string(key) {
		case wire.KeyInvocation:
			i.ID = string(value)
		case wire.KeyEndpoint:
			i.Endpoint = string(value)
		case wire.KeyTrigger:
			i.Trigger = string(value)
		case wire.KeyCaller:
			i.Caller = string(value)
		case wire.KeyDepth:
			i.Depth, _ = strconv.Atoi(string(value))
		}
	}
	return i
}

// ErrNoHost is returned by what needs a host when the context is not that of an
// invocation.
var ErrNoHost = fmt.Errorf("functions: the context is not that of an invocation: pass on the one that the handler got")

// Call invokes the function name ("orders", or "orders/create" for an endpoint; or
// "@acme/orders" for one that the namespace acme exports to this one)
// through the host with in, and stores its result in out, a pointer, or nil to
// ignore it. []byte and string (and pointers to them) go as they are, all else
// as JSON. The deadline and the cancellation of ctx reach the called function.
//
// It returns an *[Error]: that of the called function (for the response of an http
// handler, the one of its status from 400 on, with the body as its text), or of a code that the
// sentinels of this package name, such as [ErrNoFunction] for a function that
// there is not and [ErrForbidden] for one that the manifest's access list does
// not name, or [TooLarge] for a result of more than 64 MiB; the error of ctx; or
// [ErrNoHost].
func Call(ctx context.Context, name string, in, out any) error {
	s := scopeOf(ctx)
	if s == nil {
		return ErrNoHost
	}
	payload, err := encode(in)
	if err != nil {
		return fmt.Errorf("call %q: encode the input: %w", name, err)
	}
	h := wire.Header(nil).Add(wire.KeyOp, "invoke").Add(wire.KeyTarget, name).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	if depth, ok := s.header.Int(wire.KeyDepth); ok {
		h = h.AddInt(wire.KeyDepth, depth)
	}
	if us, ok := wire.TimeLeft(ctx); ok {
		h = h.AddInt(wire.KeyTimeout, us)
	}
	r, err := s.runtime.Do(ctx, &wire.Request{Kind: wire.Call, Header: h, Payload: payload})
	if err != nil {
		return fmt.Errorf("call %q: %w", name, err)
	}
	body := r.Payload
	if r.Body != nil {
		defer r.Body.Close()
		rest, err := io.ReadAll(io.LimitReader(r.Body, maxResult+1))
		if err != nil {
			return fmt.Errorf("call %q: %w", name, err)
		}
		if len(rest) > maxResult {
			return fmt.Errorf("call %q: %w", name, Errorf(TooLarge, "the result is larger than %d bytes", maxResult))
		}
		body = append(body[:len(body):len(body)], rest...)
	}
	if status := wire.StatusOf(r.Header, 200); status >= 400 {
		return fmt.Errorf("call %q: %w", name, statusError(status, body))
	}
	if err := decode(body, out); err != nil {
		return fmt.Errorf("call %q: decode the result: %w", name, err)
	}
	return nil
}

// statusError makes an error of the response of an http handler.
func statusError(status int, body []byte) *Error {
	code := Internal
	for c, s := range map[Code]int{
		BadRequest: 400, Unauthorized: 401, Forbidden: 403, NotFound: 404, NoMethod: 405, Conflict: 409, TooLarge: 413,
		Unprocessed: 422, TooMany: 429, Unavailable: 503, wire.Timeout: 504,
	} {
		if s == status {
			code = c
		}
	}
	text := strings.TrimSpace(string(body[:min(len(body), 1000)]))
	if text == "" {
		text = fmt.Sprintf("status %d", status)
	}
	return Errorf(code, "%s", text)
}

// maxResult bounds the result of a Call, in bytes.
const maxResult = 64 << 20

func encode(in any) ([]byte, error) {
	switch in := in.(type) {
	case nil:
		return nil, nil
	case []byte:
		return in, nil
	case string:
		return []byte(in), nil
	case *[]byte:
		if in != nil {
			return *in, nil
		}
	case *string:
		if in != nil {
			return []byte(*in), nil
		}
	}
	return json.Marshal(in)
}

func decode(b []byte, out any) error {
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = b
		return nil
	case *string:
		*out = string(b)
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// Timeout returns how long the invocation of ctx may still run; ok is false if
// it has no deadline.
func Timeout(ctx context.Context) (left time.Duration, ok bool) {
	deadline, ok := ctx.Deadline()
	return time.Until(deadline), ok
}
