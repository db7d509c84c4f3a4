package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an Invoker whose functions are one func. It keeps what it was asked.
type fake struct {
	run   func(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error)
	await func(ctx context.Context, name string) (*trigger.Function, error)

	mu   sync.Mutex
	last *trigger.Invocation
}

func (f *fake) Invoke(ctx context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	inv.ID = "i1"
	f.mu.Lock()
	f.last = inv
	f.mu.Unlock()
	if f.run == nil {
		return &trigger.Result{Version: "v1"}, nil
	}
	return f.run(ctx, inv)
}

func (f *fake) Await(ctx context.Context, name, version string) (*trigger.Function, error) {
	if f.await == nil {
		return nil, wire.Errorf(wire.NoFunction, "no function %q", name)
	}
	return f.await(ctx, name)
}

// invocation returns the latest one.
func (f *fake) invocation() *trigger.Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// function returns one with endpoints "name" or "name:kind"; "" is the root.
func function(name string, endpoints ...string) *trigger.Function {
	fn := &trigger.Function{Name: name, Manifest: manifest.Default()}
	fn.Manifest.Name = name
	for _, e := range endpoints {
		name, kind, ok := strings.Cut(e, ":")
		if !ok {
			kind = wire.EndpointHTTP
		}
		fn.Endpoints = append(fn.Endpoints, trigger.Endpoint{Name: name, Kind: kind})
	}
	return fn
}

// routed adds routes to a function.
func routed(fn *trigger.Function, routes ...manifest.Route) *trigger.Function {
	fn.Manifest.Triggers.HTTP = append(fn.Manifest.Triggers.HTTP, routes...)
	return fn
}

// fixture is a gateway behind a server.
type fixture struct {
	*fake
	gateway *Gateway
	server  *httptest.Server
	log     *bytes.Buffer
}

// start serves functions; change may change the server before it starts.
func start(t *testing.T, change func(*httptest.Server), functions ...*trigger.Function) *fixture {
	t.Helper()
	f := &fixture{fake: &fake{}, log: &bytes.Buffer{}}
	f.gateway = New(Config{Invoker: f.fake, Logger: slog.New(slog.NewTextHandler(&synced{w: f.log}, nil))})
	table := &trigger.Table{Functions: make(map[string]*trigger.Function)}
	for _, fn := range functions {
		table.Functions[fn.Name] = fn
	}
	f.gateway.Update(table)
	f.server = httptest.NewUnstartedServer(f.gateway)
	f.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if change != nil {
		change(f.server)
	}
	f.server.Start()
	t.Cleanup(f.server.Close)
	return f
}

// synced is a writer for several goroutines.
type synced struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// request returns a request to the gateway, with headers in pairs.
func (f *fixture) request(t *testing.T, method, path string, body io.Reader, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

// do sends it and reads the whole response. Redirects are not followed.
func (f *fixture) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := f.server.Client().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (f *fixture) get(t *testing.T, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	return f.do(t, f.request(t, "GET", path, nil, headers...))
}

// checkProblem checks that a response is a problem document.
func checkProblem(t *testing.T, resp *http.Response, body string, status int, code wire.Code) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%d, not a problem document: %v: %q", resp.StatusCode, err, body)
		return p
	}
	if resp.StatusCode != status || p.Status != status || p.Code != string(code) || p.Title == "" {
		t.Errorf("status %d, %+v; want %d, code %s", resp.StatusCode, p, status, code)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	return p
}

// result returns one with headers in pairs.
func result(body string, headers ...string) *trigger.Result {
	r := &trigger.Result{Version: "v1", Payload: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		r.Header = r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// readAll returns the body of an invocation.
func readAll(inv *trigger.Invocation) (string, error) {
	if inv.Body == nil {
		return string(inv.Payload), nil
	}
	b, err := io.ReadAll(inv.Body)
	return string(inv.Payload) + string(b), err
}
