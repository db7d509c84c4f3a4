package httpfn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fields returns a header of pairs.
func fields(pairs ...string) wire.Header {
	var h wire.Header
	for i := 0; i < len(pairs); i += 2 {
		h = h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// recorder is a [functions.Responder] that keeps what it is given.
type recorder struct {
	header wire.Header
	parts  []string // the payload of Respond, and of each Write
	more   bool
	err    error // what it answers with
}

func (r *recorder) Respond(h wire.Header, payload []byte, more bool) error {
	r.header, r.more, r.parts = h, more, append(r.parts, string(payload))
	return r.err
}

func (r *recorder) Write(p []byte) (int, error) {
	r.parts = append(r.parts, string(p))
	return len(p), r.err
}

// serve runs h for a request.
func serve(t *testing.T, r *functions.Request, h http.HandlerFunc) (*recorder, error) {
	t.Helper()
	e := HandleFunc("x", h)
	if e.Kind != wire.EndpointHTTP || e.Name != "x" || e.Err() != nil {
		t.Fatalf("endpoint %+v", e)
	}
	w := &recorder{}
	return w, e.Serve(functions.NewContext(t.Context(), "f", r.Header, nil), r, w)
}

func TestRequests(t *testing.T) {
	type seen struct {
		Method, URI, Path, RawPath, Query, Host, Remote, Value string
		Length                                                 int64
		Header                                                 http.Header
		Body                                                   string
	}
	base := func(change func(*seen)) seen {
		s := seen{Method: "POST", URI: "/", Path: "/", Header: http.Header{}}
		if change != nil {
			change(&s)
		}
		return s
	}
	long := strings.Repeat("x", 100_000)
	tests := []struct {
		name string
		r    functions.Request
		want seen
	}{
		{"not over HTTP", functions.Request{}, base(nil)},
		{"a call with a body", functions.Request{Payload: []byte("abc")}, base(func(s *seen) { s.Length, s.Body = 3, "abc" })},
		{"method, host, remote", functions.Request{Header: fields(wire.KeyMethod, "PATCH", wire.KeyHost, "a.test:80", wire.KeyRemote, "1.2.3.4:5")},
			base(func(s *seen) { s.Method, s.Host, s.Remote = "PATCH", "a.test:80", "1.2.3.4:5" })},
		{"path and query", functions.Request{Header: fields(wire.KeyURI, "/a/b?c=d", wire.KeyQuery, "c=d")},
			base(func(s *seen) { s.URI, s.Path, s.Query = "/a/b?c=d", "/a/b", "c=d" })},
		{"query alone, as by NATS", functions.Request{Header: fields(wire.KeyQuery, "c=d")},
			base(func(s *seen) { s.URI, s.Query = "/?c=d", "c=d" })},
		{"escaped path", functions.Request{Header: fields(wire.KeyURI, "/a%2Fb%20c")},
			base(func(s *seen) { s.URI, s.Path, s.RawPath = "/a%2Fb%20c", "/a/b c", "/a%2Fb%20c" })},
		{"two slashes are no host", functions.Request{Header: fields(wire.KeyURI, "//evil.test/x")},
			base(func(s *seen) { s.URI, s.Path = "//evil.test/x", "//evil.test/x" })},
		{"wildcard", functions.Request{Header: fields(wire.KeyValue, "id=a=b", wire.KeyValue, "other=1")},
			base(func(s *seen) { s.Value = "a=b" })},
		{"headers", functions.Request{Header: fields("accept", "a", "Accept", "b", "X-Empty", "", ":invocation", "i")},
			base(func(s *seen) { s.Header = http.Header{"Accept": {"a", "b"}, "X-Empty": {""}} })},
		{"streamed, length unknown", functions.Request{Payload: []byte("ab"), Body: strings.NewReader(long)},
			base(func(s *seen) { s.Length, s.Body = -1, "ab"+long })},
		{"streamed, length known", functions.Request{Header: fields("Content-Length", "100000"), Body: strings.NewReader(long)},
			base(func(s *seen) {
				s.Length, s.Body, s.Header = 100_000, long, http.Header{"Content-Length": {"100000"}}
			})},
		{"streamed, senseless length", functions.Request{Header: fields("Content-Length", "-7"), Body: strings.NewReader("abc")},
			base(func(s *seen) { s.Length, s.Body, s.Header = -1, "abc", http.Header{"Content-Length": {"-7"}} })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := serve(t, &test.r, func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.Body.Close() != nil {
					t.Errorf("body: %v", err)
				}
				got := seen{r.Method, r.RequestURI, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.Host, r.RemoteAddr, r.PathValue("id"), r.ContentLength, r.Header, string(body)}
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("got  %.300v\nwant %.300v", got, test.want)
				}
				if r.Proto != "HTTP/1.1" || !r.ProtoAtLeast(1, 1) || functions.InvocationFrom(r.Context()).Function != "f" {
					t.Errorf("protocol %q, invocation %+v", r.Proto, functions.InvocationFrom(r.Context()))
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadURIIsTheCallersFault(t *testing.T) {
	for _, uri := range []string{"", "%zz", "no-slash", "/%zz"} {
		_, err := serve(t, &functions.Request{Header: fields(wire.KeyURI, uri)}, func(http.ResponseWriter, *http.Request) {
			t.Errorf("%q: the handler ran", uri)
		})
		if !errors.Is(err, functions.ErrBadRequest) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestFormsAreParsed(t *testing.T) {
	h := fields(wire.KeyMethod, "POST", wire.KeyURI, "/?a=query", "Content-Type", "application/x-www-form-urlencoded")
	_, err := serve(t, &functions.Request{Header: h, Payload: []byte("a=form&b=2")}, func(_ http.ResponseWriter, r *http.Request) {
		if r.FormValue("a") != "form" || r.FormValue("b") != "2" || len(r.Form["a"]) != 2 {
			t.Errorf("form %v", r.Form)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestResponses(t *testing.T) {
	kib := func(n int) string { return strings.Repeat("x", n<<10) }
	tests := []struct {
		name   string
		h      func(w http.ResponseWriter)
		status int // as the header has it, 0 for none
		parts  []string
		more   bool
	}{
		{"nothing", func(w http.ResponseWriter) {}, 0, []string{""}, false},
		{"status", func(w http.ResponseWriter) { w.WriteHeader(404) }, 404, []string{""}, false},
		{"the first status counts", func(w http.ResponseWriter) { w.WriteHeader(201); w.WriteHeader(500) }, 201, []string{""}, false},
		{"a status after the body is late", func(w http.ResponseWriter) { io.WriteString(w, "a"); w.WriteHeader(500) }, 0, []string{"a"}, false},
		{"informational ones do not count", func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(201) }, 201, []string{""}, false},
		{"small", func(w http.ResponseWriter) { io.WriteString(w, "a"); io.WriteString(w, "b") }, 0, []string{"ab"}, false},
		{"32 KiB", func(w http.ResponseWriter) { io.WriteString(w, kib(31)); io.WriteString(w, kib(1)) }, 0, []string{kib(32)}, false},
		{"more", func(w http.ResponseWriter) { io.WriteString(w, kib(32)); io.WriteString(w, "b") }, 0, []string{kib(32), "b"}, true},
		{"one large write", func(w http.ResponseWriter) { io.WriteString(w, kib(100)) }, 0, []string{"", kib(100)}, true},
		{"small, then large", func(w http.ResponseWriter) { io.WriteString(w, "a"); io.WriteString(w, kib(100)) }, 0, []string{"a", kib(100)}, true},
		{"small ones after a flush", func(w http.ResponseWriter) {
			w.WriteHeader(202)
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
			io.WriteString(w, "c")
			w.(http.Flusher).Flush()
			w.(http.Flusher).Flush()
			io.WriteString(w, "d")
		}, 202, []string{"a", "bc", "d"}, true},
		{"flush of nothing", func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, 0, []string{""}, true},
		{"large after a flush", func(w http.ResponseWriter) {
			http.NewResponseController(w).Flush()
			io.WriteString(w, "a")
			io.WriteString(w, kib(32))
		}, 0, []string{"", "a", kib(32)}, true},
		{"no content", func(w http.ResponseWriter) { noBody(t, w, 204) }, 204, []string{""}, false},
		{"not modified", func(w http.ResponseWriter) { noBody(t, w, 304) }, 304, []string{""}, false},
		{"copied", func(w http.ResponseWriter) { io.Copy(w, bufio.NewReader(strings.NewReader("abc"))) }, 0, []string{"abc"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := serve(t, &functions.Request{}, func(w http.ResponseWriter, _ *http.Request) { test.h(w) })
			if err != nil {
				t.Fatal(err)
			}
			status, _ := w.header.Int(wire.KeyStatus)
			if int(status) != test.status || w.more != test.more {
				t.Errorf("status %d, more %v; want %d, %v", status, w.more, test.status, test.more)
			}
			if !slices.Equal(w.parts, test.parts) {
				t.Errorf("parts %.60q, want %.60q", w.parts, test.parts)
			}
		})
	}
}

func noBody(t *testing.T, w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	if _, err := io.WriteString(w, "a"); !errors.Is(err, http.ErrBodyNotAllowed) {
		t.Errorf("Write = %v, want ErrBodyNotAllowed", err)
	}
}

func TestResponseHeaders(t *testing.T) {
	w, err := serve(t, &functions.Request{}, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		h["lower"] = []string{"v"}
		h["None"] = nil
		h[":status"] = []string{"500"} // not a header's name: it must not become the protocol's
		h[""] = []string{"x"}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for key, value := range w.header.All() {
		got = append(got, key+"="+value)
	}
	slices.Sort(got)
	if want := []string{"Set-Cookie=a=1", "Set-Cookie=b=2", "lower=v"}; !slices.Equal(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	_, err = serve(t, &functions.Request{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Huge", strings.Repeat("x", 70_000))
	})
	if err == nil || !strings.Contains(err.Error(), "response headers over") {
		t.Errorf("huge header: %v", err)
	}
}

func TestWhatEndsAHandler(t *testing.T) {
	gone := errors.New("the caller has gone")
	w := &recorder{err: gone}
	e := HandleFunc("", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != gone {
			t.Errorf("Flush = %v", err)
		}
		if _, err := w.Write(make([]byte, 40<<10)); err != gone {
			t.Errorf("Write = %v", err)
		}
	})
	e.Serve(t.Context(), &functions.Request{}, w)
	for name, test := range map[string]struct {
		panics any
		want   string
	}{
		"panic":        {"boom", "boom"},
		"abort":        {http.ErrAbortHandler, "net/http: abort Handler"},
		"invalid code": {nil, "invalid WriteHeader code 42"},
	} {
		_, err := serve(t, &functions.Request{}, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "held back")
			if test.panics == nil {
				w.WriteHeader(42)
			}
			panic(test.panics)
		})
		if !errors.Is(err, functions.ErrPanicked) || err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := http.NewResponseController(&responseWriter{}).Hijack()
	if !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("Hijack = %v", err)
	}
}

// session returns the host's side of a session whose worker is h.
func session(t *testing.T, h http.HandlerFunc) *wire.Session {
	t.Helper()
	a, b := net.Pipe()
	e := HandleFunc("", h)
	host := wire.NewSession(a, wire.Config{Host: true})
	worker := wire.NewSession(b, wire.Config{Serve: func(ctx context.Context, x *wire.Exchange) {
		if err := e.Serve(ctx, &functions.Request{Header: x.Header(), Payload: x.Payload(), Body: x.Body()}, x); err != nil {
			x.Fail(wire.AsError(err))
		}
	}})
	var wg sync.WaitGroup
	wg.Go(func() { host.Run() })
	wg.Go(func() { worker.Run() })
	t.Cleanup(func() {
		host.Close()
		worker.Close()
		wg.Wait()
	})
	return host
}

func TestBothWaysAtOnce(t *testing.T) {
	host := session(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			rc.Flush()
		}
	})
	pr, pw := io.Pipe()
	first := make(chan bool)
	go func() { io.WriteString(pw, "0\n"); close(first) }()
	r, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke, Body: pr})
	if err != nil {
		t.Fatal(err)
	}
	<-first
	lines := bufio.NewReader(io.MultiReader(strings.NewReader(string(r.Payload)), r.Body))
	for i := range 5 {
		if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("echo %d\n", i) {
			t.Fatalf("line %q, %v", got, err)
		}
		if i < 4 {
			fmt.Fprintf(pw, "%d\n", i+1)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestAbortBreaksTheStreamOff(t *testing.T) {
	host := session(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	r, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke})
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r.Body); !errors.Is(err, functions.ErrPanicked) {
		t.Errorf("after the part: %q, %v; want an error, not the end", rest, err)
	}
}

func TestCallerThatGoesEndsTheHandler(t *testing.T) {
	ended := make(chan error, 1)
	host := session(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.Flush()
		<-r.Context().Done()
		for {
			if _, err := io.WriteString(w, "x"); err != nil {
				ended <- err
				return
			}
			if err := rc.Flush(); err != nil {
				ended <- err
				return
			}
		}
	})
	r, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Flush = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler still writes")
	}
}
