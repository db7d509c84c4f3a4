// Package gateway is HTTP in: the trigger that turns requests into invocations.
//
// The path /orders is the root endpoint of the function orders, /orders/create
// its endpoint create, and what follows is left to the handler; /orders/x, where
// there is no endpoint x, is the root's too. Routes of a manifest, patterns of
// [http.ServeMux], are looked at first.
//
// A typed endpoint gets query, form and path values merged into its input; a
// multipart form is turned into a plain one, with files in base64. Raw and http
// endpoints get the body as it is, streamed if it is long or of unknown length.
// Responses stream as they are written.
//
// A route with an event invokes nothing: what is posted there becomes a message of
// its subject, and is answered with 202 and its place when a stream has stored it.
//
// A request with "Prefer: respond-async" is stored, and answered with 202 and the
// place of its run, /_runs/<id>, only then. There, GET answers as the function
// has, once it has (?wait=10s waits, at most 60 s), and with 202 before; DELETE cancels.
// Who knows the ID may do both; one that the gateway makes cannot be guessed. Of a call whose
// caller was known, only that one may. A client
// that chooses it, by X-Call-Id, may repeat the request: it is one run all the same, and
// one of another body is refused with 409. The result is sent to X-Callback-Url, if that
// is given; that of a run that was canceled is an error of status 499. An event whose
// headers are those of a CloudEvent (Ce-…) needs all that a CloudEvent must have.
//
// Where there is a [Door], a request that it does not let in is answered with 401, and with 403
// where it is known who asks. The token that proves somebody is not passed on, but who that is.
//
// A manifest may limit how many requests are let in, each caller for himself: one too
// many is answered with 429 and Retry-After, and all answers tell how many are left
// (RateLimit). A node counts for itself; requests over NATS, events and the management
// API are not counted.
//
// Hop-by-hop headers and X-Fn-… are not passed on. A request asks for a version of
// the function by X-Fn-Version; without it the release decides. Who may not call what
// serves may not call another version. The response names
// the version and the invocation (X-Fn-Version, X-Fn-Invocation). Errors are problem
// documents (RFC 9457) with the member "code", one of package wire's.
package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Config says how a Gateway works.
type Config struct {
	// Invoker runs the functions.
	Invoker trigger.Invoker
	// Publisher stores events. Default: routes that do are answered with 503.
	Publisher Publisher
	// Index has "/" tell which functions there are, browsers by a page of links.
	// Default: that is nobody's business.
	Index bool
	// Async stores calls that are answered later. Default: there are none, and the
	// preference for it is not heard.
	Async Async
	// Door says who may come in. Default: everybody, and nobody is asked.
	Door Door
	// TrustedProxies are those whose X-Forwarded-For says where a request comes from, for
	// limits. Default: none, it comes from the address of the connection.
	TrustedProxies []netip.Prefix
	// Logger gets what goes wrong beside the requests. Default: [slog.Default].
	Logger *slog.Logger
}

// Gateway is an [http.Handler]. It is safe for concurrent use.
type Gateway struct {
	cfg    Config
	log    *slog.Logger
	routes atomic.Pointer[routes]
}

// New returns a Gateway that knows of no functions yet.
func New(cfg Config) *Gateway {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger}
	g.routes.Store(&routes{})
	return g
}

// target is what a request is for.
type target struct {
	fn       *trigger.Function
	serves   *trigger.Function // of that name, where fn is a version that was asked for; nil for none
	endpoint *trigger.Endpoint
	prefix   string // the part of the path that is the function's, not the handler's
	uri      string // what the handler sees of the path, escaped
	values   []string
	route    *manifest.Route // nil for the function's own path
	identity Identity        // of who has come in
	cookie   string          // that may be what has proved it
	limit    *limited        // of the route, nil for none
	fnLimit  *limited        // of the function
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt := g.routes.Load()
	if strings.HasPrefix(r.URL.Path, runsPath) && g.cfg.Async != nil {
		g.serveRun(rt, w, r)
		return
	}
	if rt.mux != nil && g.serveRoute(rt, w, r) {
		return
	}
	if g.cfg.Index && r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		g.serveIndex(rt, w, r)
		return
	}
	t, err := g.resolve(rt, r)
	if err != nil {
		if allow := rt.methodsFor(r); allow != "" {
			w.Header().Set("Allow", allow)
			err = wire.Errorf(wire.NoMethod, "%s is not allowed here; allowed: %s", r.Method, allow)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		g.fail(w, r, "", g.forStrangers(r, name, err))
		return
	}
	g.serve(w, r, rt, t)
}

// resolve finds the function and endpoint of a path.
func (g *Gateway) resolve(rt *routes, r *http.Request) (*target, error) {
	path := r.URL.EscapedPath()
	name, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if name == "" {
		return nil, wire.Errorf(wire.NoFunction, "no function is named: paths are /function or /function/endpoint")
	}
	fn := rt.functions[name]
	if fn == nil || r.Header.Get(trigger.HeaderVersion) != "" {
		var err error
		if fn, err = g.await(r, name); err != nil {
			return nil, err
		}
	}
	t := &target{fn: fn, prefix: path[:len(path)-len(rest)]}
	if first, below, _ := strings.Cut(rest, "/"); first != "" {
		if t.endpoint = fn.Endpoint(first); t.endpoint != nil {
			t.uri = "/" + below
			t.prefix = path[:len(path)-len(below)]
		}
	}
	if t.endpoint == nil {
		t.uri = "/" + rest
		if t.endpoint = fn.Endpoint(""); t.endpoint == nil {
			// The invoker says which endpoints there are.
			first, _, _ := strings.Cut(rest, "/")
			t.endpoint = &trigger.Endpoint{Name: first, Kind: wire.EndpointRaw}
		}
	}
	t.prefix = strings.TrimSuffix(t.prefix, "/")
	return t, nil
}

// awaitTimeout bounds the waiting for the first build of a function.
const awaitTimeout = 30 * time.Second

// await returns a function that is not in the table (yet), or the version that a
// request asks for.
func (g *Gateway) await(r *http.Request, name string) (*trigger.Function, error) {
	ctx, cancel := context.WithTimeout(r.Context(), awaitTimeout)
	defer cancel()
	fn, err := g.cfg.Invoker.Await(ctx, name, r.Header.Get(trigger.HeaderVersion))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, wire.Errorf(wire.Unavailable, "function %q is still being built for the first time", name)
	}
	return fn, err
}

// serve applies CORS, and then invokes.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, rt *routes, t *target) {
	t.fnLimit, t.serves = rt.limits[t.fn.Name], rt.functions[t.fn.Name]
	if c := rt.cors[t.fn.Name]; c != nil {
		c.ServeHTTP(w, r, func(w http.ResponseWriter, r *http.Request) { g.invoke(w, r, t) })
		return
	}
	g.invoke(w, r, t)
}

// headers are kept for other requests: an invoker copies what it is given.
var headers = sync.Pool{New: func() any { h := make(wire.Header, 0, 1<<10); return &h }}

func (g *Gateway) invoke(w http.ResponseWriter, r *http.Request, t *target) {
	var err error
	if t.identity, err = g.enterFor(r, t); err != nil {
		g.fail(w, r, "", err)
		return
	}
	if g.cfg.Door != nil { // the cookie is not for functions, whatever has proved who asks
		t.cookie = g.cfg.Door.Cookie()
	}
	if (t.limit != nil || t.fnLimit != nil) && !g.admit(w, r, t.identity, t.limit, t.fnLimit) {
		return
	}
	if g.cfg.Async != nil && wantsAsync(r) {
		g.submit(w, r, t)
		return
	}
	inv := &trigger.Invocation{Function: t.fn.Name, Endpoint: t.endpoint.Name, Version: r.Header.Get(trigger.HeaderVersion), Trigger: trigger.HTTP}
	space := headers.Get().(*wire.Header)
	defer headers.Put(space)
	if *space, err = requestHeader((*space)[:0], r, t); err != nil {
		g.fail(w, r, "", err)
		return
	}
	inv.Header = *space
	b, err := readBody(w, r, t, inv)
	if err != nil {
		g.fail(w, r, "", err)
		return
	}
	if b != nil {
		defer b.release()
	}
	result, err := g.cfg.Invoker.Invoke(r.Context(), inv)
	if b != nil && (err != nil || result.Body == nil) {
		b.release() // nobody reads it any more, and the response can still say so
	}
	if err != nil {
		g.fail(w, r, inv.ID, err)
		return
	}
	g.respond(w, r, inv, result)
}

// respond writes a result.
func (g *Gateway) respond(w http.ResponseWriter, r *http.Request, inv *trigger.Invocation, result *trigger.Result) {
	if result.Body != nil {
		defer result.Body.Close()
	}
	status := result.Status()
	if status < 200 {
		g.fail(w, r, inv.ID, wire.Errorf(wire.Internal, "the function answered with status %d, which is none of a complete response", status))
		return
	}
	h := w.Header()
	copyHeader(h, result.Header)
	h["X-Fn-Invocation"] = []string{inv.ID}
	h["X-Fn-Version"] = []string{result.Version}
	if result.Body == nil {
		setLength(h, r, result)
		w.WriteHeader(status)
		w.Write(result.Payload)
		return
	}
	h.Del("Content-Length") // it was said of a body that may still end early
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return // closing the body ends the function, which may stream for ever
	}
	if err := copyFlushing(w, result); err != nil {
		if r.Context().Err() == nil {
			g.log.Warn("response broken off: "+err.Error(), "function", inv.Function, "invocation", inv.ID)
		}
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

// copyHeader adds the headers of a result to h, but for those that are not its own.
func copyHeader(h http.Header, from wire.Header) {
	var dropped map[string]bool
	if named := from.Get("Connection"); named != "" {
		dropped = connectionHeaders(http.Header{"Connection": {named}})
	}
	for key, value := range from.Fields() {
		if key[0] == ':' {
			continue
		}
		name := http.CanonicalHeaderKey(string(key))
		if name == "Strict-Transport-Security" {
			delete(h, name) // the function knows better than the host
		}
		if !isHopByHop(name) && !strings.HasPrefix(name, "X-Fn-") && !dropped[name] {
			h[name] = append(h[name], string(value))
		}
	}
}

// copyFlushing passes on each part as it comes.
func copyFlushing(w http.ResponseWriter, result *trigger.Result) error {
	rc := http.NewResponseController(w)
	if _, err := w.Write(result.Payload); err != nil {
		return err
	}
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := result.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// bodyError says what is wrong with a body that could not be read.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &tooLarge):
		return trigger.BodyTooLarge(tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wire.Errorf(codeSlow, "the body did not arrive in time")
	}
	return wire.Errorf(wire.BadRequest, "reading the body: %v", err)
}

// codeSlow is the gateway's own code: nobody else waits for a client.
const codeSlow wire.Code = "request_timeout"
