package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Server is the API as an [http.Handler]. It is safe for concurrent use.
type Server struct {
	backend Backend
	log     *slog.Logger
	door    Door
	auth    *auth.Authority // nil where nobody is asked
	guesses *guesses
	known   Spaces       // also where this is the server of one namespace; nil if there are none
	unknown http.Handler // for paths that no route is for
	audit   func(r *http.Request, pattern string, status int, err error)
	mux     *http.ServeMux
	ctx     context.Context // of what does not end by itself
	cancel  context.CancelFunc
	others  sync.Map // of namespaces: name → *Server
}

// Options of a [Server].
type Options struct {
	// Door says who may do what. Default: everybody all, and nobody is asked.
	Door Door
	// Auth knows accounts, tokens and rules. Default: there are none.
	Auth *auth.Authority
	// Audit is told of each request that changes something, reads what must not be
	// read, or was refused that, when it has ended: with the pattern of its route, the
	// status of the answer, and the error in it, or what [NoteOutcome] was told. It
	// must not block. Default: nobody.
	Audit func(r *http.Request, pattern string, status int, err error)
	// TrustedProxies are those whose X-Forwarded-For says where a guess of a password comes
	// from. Default: none.
	TrustedProxies []netip.Prefix
	// Git serves the paths below /git/. Default: none.
	Git http.Handler
	// Logger gets what goes wrong beside the requests. Default: [slog.Default].
	Logger *slog.Logger
}

// NewServer returns a Server that steers backend.
func NewServer(backend Backend, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{backend: backend, log: o.Logger, door: o.Door, auth: o.Auth, guesses: newGuesses(o.TrustedProxies), audit: o.Audit, mux: http.NewServeMux()}
	s.known, _ = backend.(Spaces)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.handle()
	if o.Git != nil {
		s.mux.Handle(gitPattern, s.guard(gitLeave, http.StripPrefix("/git", o.Git)))
	}
	return s
}

func (s *Server) handle() {
	s.unknown = s.guard(leave{known: true}, http.HandlerFunc(notFound))
	for _, r := range s.routes() {
		s.mux.Handle(r.pattern, s.guard(leaves[r.pattern], http.HandlerFunc(r.serve)))
	}
}

// Close ends the requests that follow logs, which would go on for ever: to be
// called when the server that serves the API shuts down.
func (s *Server) Close() { s.cancel() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, r, end := s.audited(w, r)
	defer end()
	s.serve(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), protection)
	w.Header().Set(versionHeader, APIVersion)
	// A page of another site must not steer a host on the developer's machine:
	// neither by a form, nor by a name that is made to mean this address.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		fail(w, wire.Errorf(wire.Forbidden, "%v", err))
		return
	}
	if !meansThisMachine(r) {
		fail(w, wire.Errorf(wire.Forbidden, "the host name %q is not one of this address: use localhost, or the address itself", r.Host))
		return
	}
	s, err := s.ofNamespace(r)
	if err != nil {
		s.guard(leave{known: true}, failure{err}).ServeHTTP(w, r)
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.unknown.ServeHTTP(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// notFound answers a request that no route is for.
func notFound(w http.ResponseWriter, r *http.Request) {
	fail(w, wire.Errorf(wire.NotFound, "%s %s is not part of version %s of the management API, which this host speaks: `fnhost version` compares client and host", r.Method, r.URL.Path, APIVersion))
}

// protection are headers of all answers: what they hold is for who has asked, and for no
// page of somebody else to frame, embed, guess the type of, or learn the address of.
var protection = http.Header{
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Content-Security-Policy":      {"frame-ancestors 'none'"},
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
}

// challenge asks for a token in the way that the client knows.
func challenge(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/git/") {
		return `Basic realm="fnhost: any name, and the token as password"`
	}
	return "Bearer"
}

// APIVersion is that of the management API. The major part stands in the paths; the
// minor part grows when something is added.
const APIVersion = "1.5"

// versionHeader is the header of all answers that tells APIVersion.
const versionHeader = "Fn-Api"

// meansThisMachine reports whether a request that came to a loopback address was
// sent to one by name: a name that a stranger's DNS server has made to mean this
// machine is what a page uses to read answers that are none of its business.
func meansThisMachine(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if local == nil || !local.IP.IsLoopback() {
		return true
	}
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil
}

func reply(w http.ResponseWriter, v any) error {
	b, err := codec.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(b, '\n'))
	return err
}

func fail(w http.ResponseWriter, err error) {
	e := wire.AsError(err)
	if a, ok := w.(*auditedWriter); ok {
		a.err = e
	}
	var notReady *trigger.NotReady
	detail := e.Message
	if errors.As(err, &notReady) {
		detail = notReady.Error() + "\n" + notReady.Detail
	}
	status := trigger.StatusOf(e)
	b, err := codec.Marshal(Problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: string(e.Code)})
	if err != nil {
		b = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	w.Write(b)
}

func (s *Server) function(w http.ResponseWriter, r *http.Request) error {
	f, err := s.backend.Function(r.PathValue("name"))
	if err != nil {
		return err
	}
	return reply(w, f)
}

// maxInvokeBody bounds the body of an invocation by an operator, in bytes.
const maxInvokeBody = 64 << 20

func (s *Server) invoke(w http.ResponseWriter, r *http.Request) error {
	inv, err := s.invocation(w, r)
	if err != nil {
		return err
	}
	result, err := s.backend.Invoke(r.Context(), inv)
	if err != nil {
		return err
	}
	return s.copyResult(w, inv, result)
}

// invocation is the one that a request asks for.
func (s *Server) invocation(w http.ResponseWriter, r *http.Request) (*trigger.Invocation, error) {
	function, endpoint, _ := strings.Cut(r.PathValue("name"), "/")
	version := r.Header.Get(trigger.HeaderVersion)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInvokeBody))
	if err != nil {
		return nil, wire.Errorf(wire.TooLarge, "%v", err)
	}
	if _, err := s.backend.Await(r.Context(), function, version); err != nil {
		return nil, err
	}
	inv := &trigger.Invocation{Function: function, Endpoint: endpoint, Version: version, Trigger: trigger.Direct, Payload: body}
	inv.Header = passed(r.Header)
	query := r.URL.RawQuery
	if method := r.Header.Get(methodHeader); method != "" {
		inv.Header = inv.Header.Add(wire.KeyMethod, method)
	}
	if uri := r.Header.Get(uriHeader); uri != "" {
		inv.Header = inv.Header.Add(wire.KeyURI, uri)
		_, query, _ = strings.Cut(uri, "?")
	}
	if query != "" {
		inv.Header = inv.Header.Add(wire.KeyQuery, query)
	}
	id, err := s.verified(r)
	if err != nil {
		return nil, err
	}
	if id != nil {
		inv.Header = inv.Header.Add(wire.KeyIdentity, id.Encoded())
	}
	return inv, nil
}

// Headers of an invocation that tell handlers in the style of net/http what they
// would learn from the gateway.
const (
	methodHeader = "X-Fn-Method"
	uriHeader    = "X-Fn-Uri" // with the query
)

// passPrefix begins the names of headers that are meant for the function.
const passPrefix = "X-Fn-Pass-"

// passed returns the headers that are meant for the function. Content-Type and
// Accept are also taken from the request itself, for callers such as curl.
func passed(h http.Header) wire.Header {
	var out wire.Header
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, pass := strings.CutPrefix(key, passPrefix)
		if !pass && (key == "Content-Type" || key == "Accept") && h.Get(passPrefix+key) == "" {
			pass = true
		}
		if !pass || name == "" || strings.HasPrefix(name, "X-Fn-") {
			continue
		}
		for _, value := range h[key] {
			out = out.Add(name, value)
		}
	}
	return out
}

func (s *Server) copyResult(w http.ResponseWriter, inv *trigger.Invocation, result *trigger.Result) error {
	if ct := result.Header.Get("Content-Type"); ct != "" {
		w.Header().Set("Content-Type", ct)
	}
	w.Header().Set("X-Fn-Invocation", inv.ID)
	w.Header().Set("X-Fn-Version", result.Version)
	w.Header().Set("X-Fn-Status", strconv.Itoa(result.Status()))
	w.WriteHeader(http.StatusOK)
	w.Write(result.Payload)
	if result.Body == nil {
		return nil
	}
	defer result.Body.Close()
	rc := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		rc.Flush()
		n, err := result.Body.Read(buf)
		w.Write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must not take a part for the whole
		}
	}
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	q, err := parseLogQuery(r.URL.Query())
	if err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if q.Function != "" {
		if _, err := s.backend.Function(q.Function); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	rc.Flush()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.backend.ReadLogs(ctx, q, func(rec logs.Record) error {
		b, err := codec.Marshal(rec)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		return rc.Flush()
	})
	return nil
}

func parseLogQuery(v url.Values) (q logs.Query, err error) {
	q.Function, q.Invocation = v.Get("function"), v.Get("invocation")
	if s := v.Get("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return q, fmt.Errorf("since: want a time like 2026-01-02T15:04:05Z: %w", err)
		}
	}
	if s := v.Get("tail"); s != "" {
		if q.Tail, err = strconv.Atoi(s); err != nil {
			return q, fmt.Errorf("tail: want a number")
		}
	}
	if s := v.Get("follow"); s != "" {
		if q.Follow, err = strconv.ParseBool(s); err != nil {
			return q, fmt.Errorf("follow: want true or false")
		}
	}
	return q, nil
}
