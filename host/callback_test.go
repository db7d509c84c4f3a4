package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/runs"
	"github.com/fnhost/fnhost/trigger"
)

// receiver takes callbacks.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	fails    int // the first so many
}

func newReceiver(t *testing.T, fails int) *receiver {
	r := &receiver{fails: fails}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests, r.bodies = append(r.requests, req), append(r.bodies, string(b))
		if len(r.requests) <= r.fails {
			w.WriteHeader(500)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() ([]*http.Request, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests), slices.Clone(r.bodies)
}

func private(c *host.Config) { c.PrivateCallbacks = true }

func TestACallbackGetsTheSignedResult(t *testing.T) {
	f := handle(t, map[string]any{
		"hello":  func(name string) string { return "Hello, " + name },
		"broken": func() error { return functions.Permanent(functions.Errorf(functions.Unprocessed, "it is broken")) },
	}, private)
	secret, err := f.CallbackSecret()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		function, status, body string
		fails                  int
	}{
		{"hello", "200", "Hello, Ada", 0},
		{"hello", "200", "Hello, Ada", 2},
		{"broken", "422", `"it is broken"`, 0},
	} {
		t.Run(fmt.Sprint(test.function, test.fails), func(t *testing.T) {
			r := newReceiver(t, test.fails)
			location := f.async("POST", "/"+test.function, "Ada", "X-Callback-Url", r.URL+"/done?x=1")
			f.await("the callback arrives", func() bool { list, _ := r.got(); return len(list) > test.fails })
			requests, bodies := r.got()
			req, body := requests[test.fails], bodies[test.fails]
			h := req.Header
			if req.Method != "POST" || req.URL.String() != "/done?x=1" || !strings.Contains(body, test.body) || h.Get("X-Function-Status") != test.status ||
				h.Get("X-Function-Name") != test.function || "/_runs/"+h.Get("X-Call-Id") != location || h.Get("X-Duration-Seconds") == "" {
				t.Errorf("%s %s %v %s", req.Method, req.URL, h, body)
			}
			var at int64
			fmt.Sscanf(h.Get("X-Fn-Signature"), "t=%d,", &at)
			if want := runs.Sign(secret, time.Unix(at, 0), h, []byte(body)); want != h.Get("X-Fn-Signature") || time.Since(time.Unix(at, 0)) > time.Minute {
				t.Errorf("signature %s, want %s", h.Get("X-Fn-Signature"), want)
			}
		})
	}
}

func TestACallbackTellsThatARunWasCanceled(t *testing.T) {
	running := make(chan bool, 1)
	f := handle(t, map[string]any{
		"slow": func(ctx context.Context) error {
			running <- true
			<-ctx.Done()
			return ctx.Err()
		},
		"broken": func() error { return functions.RetryAfter(errors.New("not yet"), time.Hour) },
	}, private)
	for function, state := range map[string]trigger.RunState{"slow": trigger.RunRunning, "broken": trigger.RunRetrying} {
		r := newReceiver(t, 0)
		location := f.async("POST", "/"+function, "", "X-Callback-Url", r.URL)
		f.await("it runs", func() bool {
			run, err := f.LookUpRun(t.Context(), strings.TrimPrefix(location, "/_runs/"))
			return err == nil && run.State == state
		})
		if function == "slow" {
			<-running
		}
		if status, body, _ := f.do("DELETE", location, ""); status != 204 {
			t.Fatalf("%d %s", status, body)
		}
		f.await("the callback arrives", func() bool { list, _ := r.got(); return len(list) > 0 })
		requests, bodies := r.got()
		if h := requests[0].Header; h.Get("X-Function-Status") != "499" || !strings.Contains(bodies[0], `"code":"canceled"`) || !strings.Contains(bodies[0], "was canceled") {
			t.Errorf("%s: %v %s", function, h, bodies[0])
		}
	}
}

func TestACallbackToANameOfThisMachineIsRefused(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }})
	r := newReceiver(t, 0)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.URL, "http://"), ":")
	location := f.async("POST", "/hello", "", "X-Callback-Url", "http://localhost:"+port+"/")
	if status, _, _ := f.result(location); status != 200 {
		t.Errorf("%d", status)
	}
	f.await("it is given up", func() bool {
		return slices.ContainsFunc(f.logLines("hello"), func(line string) bool { return strings.Contains(line, "is not a public address") })
	})
	if list, _ := r.got(); len(list) > 0 {
		t.Error("it has arrived")
	}
}

func TestACallbackFollowsNoRedirect(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }}, private)
	inner := newReceiver(t, 0)
	var asked atomic.Int32
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(outer.Close)
	f.async("POST", "/hello", "", "X-Callback-Url", outer.URL)
	f.await("it is tried again", func() bool { return asked.Load() >= 2 })
	if list, _ := inner.got(); len(list) > 0 {
		t.Error("the redirect was followed")
	}
}

func TestACallbackOutlivesItsHost(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }}, private)
	r := newReceiver(t, 1)
	location := f.async("POST", "/hello", "", "X-Callback-Url", r.URL)
	f.await("the first attempt", func() bool { list, _ := r.got(); return len(list) == 1 })
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(func(c *host.Config) { c.Watch = nil; private(c) })
	f.await("another attempt", func() bool { list, _ := r.got(); return len(list) == 2 })
	if _, bodies := r.got(); bodies[1] != "hi" {
		t.Errorf("it got %q", bodies[1])
	}
	if status, body, _ := f.do("GET", location, ""); status != 200 || body != "hi" { // also without the function
		t.Errorf("%d %s", status, body)
	}
}
