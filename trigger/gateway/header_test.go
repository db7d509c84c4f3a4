package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// raw sends bytes over a connection of its own and returns what comes back
// until the server closes it.
func (f *fixture) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, request)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("the server did not close: %v", err)
	}
	return string(answer)
}

func TestRequestHeadersThatStayHere(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.raw(t, "GET /f HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Named, ,te\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n"+
		"Proxy-Authorization: x\r\nTE: trailers\r\nUpgrade: websocket\r\nx-fn-invocation: forged\r\nX-FN-Anything: x\r\nX-Named: x\r\n"+
		"Traceparent: 00-1\r\nCookie: a=1\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n")
	inv := f.invocation()
	if inv == nil {
		t.Fatal("no invocation")
	}
	var got []string
	for key, value := range inv.Header.All() {
		if key == wire.KeyRemote {
			value = "…"
		}
		got = append(got, key+"="+value)
	}
	slices.Sort(got)
	want := []string{":host=a.test", ":method=GET", ":remote=…", ":uri=/", "Cookie=a=1", "Traceparent=00-1", "X-Forwarded-Prefix=/f", "X-Twice=1", "X-Twice=2"}
	if !slices.Equal(got, want) {
		t.Errorf("headers %q\nwant    %q", got, want)
	}
}

func TestResponseHeadersThatStayHere(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		return result("body", "connection", "x-named, close", "transfer-encoding", "chunked", "Keep-Alive", "1", "upgrade", "h2c", "X-Named", "x",
			"x-fn-version", "forged", "X-Fn-Secret", "x", ":status", "201", ":code", "x", "set-cookie", "a=1", "Set-Cookie", "b=2", "Content-Length", "999",
			"X-Split", "a\r\nInjected: 1"), nil
	}
	resp, body := f.get(t, "/f")
	h := resp.Header
	if resp.StatusCode != 201 || body != "body" || resp.ContentLength != 4 || h.Get("X-Fn-Version") != "v1" || h.Get("X-Fn-Invocation") != "i1" {
		t.Errorf("status %d, body %q, %v", resp.StatusCode, body, h)
	}
	if !slices.Equal(h["Set-Cookie"], []string{"a=1", "b=2"}) || resp.TransferEncoding != nil || resp.Close {
		t.Errorf("headers %v, encoding %v, close %v", h, resp.TransferEncoding, resp.Close)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Upgrade", "X-Named", "X-Fn-Secret", "Injected"} {
		if h.Get(name) != "" {
			t.Errorf("%s: %q came through", name, h.Get(name))
		}
	}
}

func TestHeadersTooLarge(t *testing.T) {
	f := start(t, nil, function("f", ""))
	for name, headers := range map[string][]string{
		"value": {"X-Large", strings.Repeat("x", 70_000)},
		"name":  {"X-" + strings.Repeat("x", 300), "1"},
		"sum":   {"X-A", strings.Repeat("x", 33_000), "X-B", strings.Repeat("x", 33_000)},
	} {
		resp, body := f.get(t, "/f", headers...)
		checkProblem(t, resp, body, 431, wire.HeaderLarge)
		if f.invocation() != nil {
			t.Errorf("%s: the function was invoked", name)
		}
	}
	resp, body := f.get(t, "/f?"+strings.Repeat("q", 33_000)) // stands in the URI and by itself
	checkProblem(t, resp, body, 431, wire.HeaderLarge)
	if resp, _ := f.get(t, "/f", "X-Large", strings.Repeat("x", 60_000)); resp.StatusCode != 200 {
		t.Errorf("status %d for what fits", resp.StatusCode)
	}
}

func TestStatusOfResults(t *testing.T) {
	f := start(t, nil, function("f", ""))
	for _, test := range []struct {
		status, body, length string
		want                 int
		got                  string
	}{
		{"", "body", "", 200, "body"},
		{"404", "body", "", 404, "body"},
		{"204", "", "7", 204, ""},
		{"204", "not allowed", "", 204, ""},
		{"304", "", "", 304, ""},
		{"999", "body", "", 999, "body"},
		{"1000", "body", "", 200, "body"},
		{"abc", "body", "", 200, "body"},
		{"101", "body", "", 500, "*"},
		{"103", "body", "", 500, "*"},
	} {
		for _, streamed := range []bool{false, true} {
			f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
				r := result(test.body, ":status", test.status, "Content-Length", test.length)
				if streamed && test.body == "body" {
					r.Payload, r.Body = nil, io.NopCloser(strings.NewReader(test.body))
				}
				return r, nil
			}
			resp, body := f.get(t, "/f")
			if resp.StatusCode != test.want || body != test.got && test.got != "*" {
				t.Errorf("%q, streamed %v: status %d, body %q; want %d, %q", test.status, streamed, resp.StatusCode, body, test.want, test.got)
			}
			if test.want == 204 && resp.Header.Get("Content-Length") != "" {
				t.Errorf("204 with length %q", resp.Header.Get("Content-Length"))
			}
		}
	}
}

// endless is a body that goes on until it is closed.
type endless struct{ closed chan struct{} }

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, io.ErrClosedPipe
	case <-time.After(time.Millisecond):
		return copy(p, "more"), nil
	}
}

func (e *endless) Close() error {
	close(e.closed)
	return nil
}

func TestHEAD(t *testing.T) {
	f := start(t, nil, function("f", ""))
	for length, want := range map[string]int64{"": 4, "12345": 12345} {
		f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			if length == "" {
				return result("body"), nil
			}
			return result("", "Content-Length", length), nil
		}
		resp, body := f.do(t, f.request(t, "HEAD", "/f", nil))
		if resp.StatusCode != 200 || body != "" || resp.ContentLength != want {
			t.Errorf("status %d, body %q, length %d; want %d", resp.StatusCode, body, resp.ContentLength, want)
		}
	}
	e := &endless{make(chan struct{})}
	f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		return &trigger.Result{Payload: []byte("x"), Body: e}, nil
	}
	resp, body := f.do(t, f.request(t, "HEAD", "/f", nil))
	if resp.StatusCode != 200 || body != "" {
		t.Errorf("status %d, body %q", resp.StatusCode, body)
	}
	<-e.closed
}

func TestCORS(t *testing.T) {
	fn := routed(function("f", ""), manifest.Route{Path: "/items/{id}", Methods: []string{"PUT"}})
	fn.Manifest.CORS = &manifest.CORS{Origins: []string{"https://*.good.test"}, Methods: []string{"GET", "PUT"}, Headers: []string{"X-Token"},
		Expose: []string{"X-Total"}, Credentials: true, MaxAge: time.Minute}
	f := start(t, nil, fn, routed(function("plain", ""), manifest.Route{Path: "/plain-route", Methods: []string{"PUT"}}))
	const origin = "https://app.good.test"
	preflight := func(path, origin, method string) http.Header {
		resp, _ := f.do(t, f.request(t, "OPTIONS", path, nil, "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "x-token"))
		resp.Header.Set("Status", fmt.Sprint(resp.StatusCode))
		return resp.Header
	}
	for _, path := range []string{"/f", "/f/x", "/items/7"} {
		h := preflight(path, origin, "PUT")
		if h.Get("Status") != "204" || h.Get("Access-Control-Allow-Origin") != origin || h.Get("Access-Control-Allow-Methods") != "PUT" ||
			h.Get("Access-Control-Allow-Headers") != "x-token" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "60" {
			t.Errorf("%s: preflight %v", path, h)
		}
		if h := preflight(path, "https://evil.test", "PUT"); h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: preflight of another origin %v", path, h)
		}
	}
	if h := preflight("/f", origin, "DELETE"); h.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("preflight of another method %v", h)
	}
	if f.invocation() != nil {
		t.Error("a preflight ran the function")
	}
	if h := preflight("/plain-route", origin, "PUT"); h.Get("Status") != "405" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight where there is no CORS: %v", h)
	}
	resp, _ := f.get(t, "/f", "Origin", origin)
	if h := resp.Header; h.Get("Access-Control-Allow-Origin") != origin || h.Get("Access-Control-Expose-Headers") != "X-Total" || !strings.Contains(strings.Join(h["Vary"], ","), "Origin") {
		t.Errorf("actual request: %v", h)
	}
	f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		return nil, wire.Errorf(wire.Internal, "no")
	}
	if resp, _ := f.get(t, "/f", "Origin", origin); resp.Header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("an error without CORS headers cannot be read by the page: %v", resp.Header)
	}
	if resp, _ := f.get(t, "/plain", "Origin", origin); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("CORS headers without CORS: %v", resp.Header)
	}
}
