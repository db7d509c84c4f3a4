package host_test

import (
	"context"
	"encoding/json"
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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/httpfn"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

// async has a request of the gateway answered later. It returns the place of its run.
func (f *fixture) async(method, path, body string, header ...string) (location string) {
	f.t.Helper()
	status, text, h := f.do(method, path, body, append(header, "Prefer", "respond-async")...)
	if status != 202 {
		f.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	var run struct{ ID, Status, Location string }
	if err := json.Unmarshal([]byte(text), &run); err != nil {
		f.t.Fatalf("%s: %v", text, err)
	}
	if run.ID == "" || run.Location != "/_runs/"+run.ID || h.Get("Location") != run.Location || h.Get("X-Call-Id") != run.ID || h.Get("Preference-Applied") != "respond-async" {
		f.t.Errorf("%s with %v", text, h)
	}
	return run.Location
}

// result waits for the end of a run.
func (f *fixture) result(location string) (int, string, http.Header) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		status, body, h := f.do("GET", location+"?wait=10s", "")
		if status != 202 {
			return status, body, h
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s has not ended: %s", location, body)
		}
	}
}

// handle starts a host with in-process functions alone.
func handle(t *testing.T, functions map[string]any, change ...func(*host.Config)) *fixture {
	t.Helper()
	f := start(t, nil, func(c *host.Config) {
		c.Watch = nil
		for _, do := range change {
			do(c)
		}
	})
	for name, fn := range functions {
		if err := f.Handle(name, fn); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestAnAsynchronousCallIsAnsweredLater(t *testing.T) {
	f := handle(t, map[string]any{"hello": func(ctx context.Context, in struct{ Name string }) (map[string]string, error) {
		return map[string]string{"message": "Hello, " + in.Name}, nil
	}})
	location := f.async("POST", "/hello", `{"Name":"Ada"}`, "Content-Type", "application/json")
	status, body, h := f.result(location)
	if status != 200 || body != `{"message":"Hello, Ada"}` || h.Get("Content-Type") != "application/json" || h.Get("X-Fn-Version") != "v1" {
		t.Errorf("%d %s %v", status, body, h)
	}
	if status, again, _ := f.do("GET", location, ""); status != 200 || again != body {
		t.Errorf("the second time: %d %s", status, again)
	}
}

func TestAnAsynchronousCallKeepsItsRequest(t *testing.T) {
	f := handle(t, map[string]any{"tell": httpfn.HandleFunc("", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("X-Color"), b)
	})})
	status, body, h := f.result(f.async("PUT", "/tell/a/b%20c?x=1&y=2", "body", "X-Color", "red"))
	if status != http.StatusTeapot || body != "PUT /a/b c x=1&y=2 red body" || h.Get("X-Answer") != "yes" {
		t.Errorf("%d %s %v", status, body, h)
	}
}

func TestPreferencesAreReadAsTheyAreWritten(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }})
	for _, test := range []struct {
		prefer string
		want   int
	}{
		{"respond-async", 202},
		{"wait=10, respond-async", 202},
		{"Respond-Async; foo=bar", 202},
		{"respond-async=yes", 202},
		{`foo="a, b";x=1,respond-async`, 202},
		{`foo="a, respond-async, b"`, 200},
		{`foo="\", respond-async"`, 200},
		{"respond-asyncs", 200},
		{"wait=10", 200},
		{`"respond-async`, 200},
		{",,,", 200},
	} {
		if status, body, _ := f.do("POST", "/hello", "", "Prefer", test.prefer); status != test.want {
			t.Errorf("%s: %d %s, want %d", test.prefer, status, body, test.want)
		}
	}
}

func TestAnAsynchronousCallOfWhatIsNotThereIsRefusedAtOnce(t *testing.T) {
	f := start(t, map[string]string{
		"echo/echo.go": echoSource, "echo/function.yaml": "body: 10\ntriggers:\n  http:\n    - {path: /only, methods: [PUT]}\n",
	}, nil)
	if _, err := f.Invoke(t.Context(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
		code                     string
	}{
		{"a function", "POST", "/nothing", "", nil, 404, "no_function"},
		{"a method", "POST", "/only", "", nil, 405, "no_method"},
		{"a version", "POST", "/echo", "", []string{"X-Fn-Version", "v77"}, 404, "no_function"},
		{"a body over the limit", "POST", "/echo", "more than ten bytes", nil, 413, "too_large"},
		{"an ID with a space", "POST", "/echo", "", []string{"X-Call-Id", "a b"}, 400, "bad_request"},
		{"an ID that is too long", "POST", "/echo", "", []string{"X-Call-Id", strings.Repeat("a", 65)}, 400, "bad_request"},
		{"a callback without a scheme", "POST", "/echo", "", []string{"X-Callback-Url", "example.com/x"}, 400, "bad_request"},
		{"a callback of another scheme", "POST", "/echo", "", []string{"X-Callback-Url", "file:///etc/passwd"}, 400, "bad_request"},
		{"a callback with a password", "POST", "/echo", "", []string{"X-Callback-Url", "https://a:b@example.com/"}, 400, "bad_request"},
		{"a callback to this machine", "POST", "/echo", "", []string{"X-Callback-Url", "http://127.0.0.1:80/"}, 400, "bad_request"},
		{"a callback to this machine, as IPv6", "POST", "/echo", "", []string{"X-Callback-Url", "http://[::ffff:127.0.0.1]/"}, 400, "bad_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body, _ := f.do(test.method, test.path, test.body, append(test.header, "Prefer", "respond-async")...)
			if status != test.want || !strings.Contains(body, `"`+test.code+`"`) {
				t.Errorf("%d %s, want %d %s", status, body, test.want, test.code)
			}
		})
	}
	if list, err := f.Runs(t.Context(), host.RunQuery{Limit: 10}); err != nil || len(list) > 0 {
		t.Errorf("stored all the same: %+v %v", list, err)
	}
	for _, path := range []string{"/_runs/nothing", "/_runs/", "/_runs/a.b", "/_runs/*", "/_runs/%3E"} {
		for _, method := range []string{"GET", "DELETE"} {
			if status, body, _ := f.do(method, path, ""); status != 404 && status != 400 {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
		}
	}
}

func TestACallOfAKnownIDIsStoredOnce(t *testing.T) {
	var calls atomic.Int32
	release := make(chan bool)
	f := handle(t, map[string]any{
		"slow":  func() string { calls.Add(1); <-release; return "done" },
		"other": func() string { return "other" },
	})
	location := f.async("POST", "/slow", "", "X-Call-Id", "order-1")
	if location != "/_runs/order-1" {
		t.Errorf("location %s", location)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { f.async("POST", "/slow", "", "X-Call-Id", "order-1") })
	}
	wg.Wait()
	if status, body, _ := f.do("POST", "/other", "", "X-Call-Id", "order-1", "Prefer", "respond-async"); status != 409 {
		t.Errorf("for another function: %d %s", status, body)
	}
	if status, body, _ := f.do("POST", "/slow", "another body", "X-Call-Id", "order-1", "Prefer", "respond-async"); status != 409 {
		t.Errorf("of another body: %d %s", status, body)
	}
	close(release)
	if status, body, _ := f.result(location); status != 200 || body != "done" {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := f.do("POST", "/slow", "another body", "X-Call-Id", "order-1", "Prefer", "respond-async"); status != 409 {
		t.Errorf("of another body, after the end: %d %s", status, body)
	}
	f.async("POST", "/slow", "", "X-Call-Id", "order-1")
	if status, body, _ := f.do("POST", "/other", "", "X-Call-Id", "order-1", "Prefer", "respond-async"); status != 409 {
		t.Errorf("for another function, after the end: %d %s", status, body)
	}
	// Many at once, of an ID that is new.
	for range 20 {
		wg.Go(func() { f.async("POST", "/slow", "", "X-Call-Id", "order-2") })
	}
	wg.Wait()
	f.result("/_runs/order-2")
	if n := calls.Load(); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

func TestFailuresAreTriedAgainAndEndTheRun(t *testing.T) {
	var flaky, broken, permanent, refusing atomic.Int32
	f := start(t, nil, func(c *host.Config) { c.Watch = nil })
	for name, fn := range map[string]any{
		"flaky": func() (string, error) {
			if flaky.Add(1) < 2 {
				return "", errors.New("not yet")
			}
			return "at last", nil
		},
		"broken":    func() error { broken.Add(1); return functions.RetryAfter(errors.New("never"), time.Millisecond) },
		"permanent": func() error { permanent.Add(1); return functions.Permanent(errors.New("for good")) },
		"refusing":  func() error { refusing.Add(1); return functions.Errorf(functions.NotFound, "no such order") },
	} {
		if err := f.Handle(name, fn); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		status int
		body   string
		calls  *atomic.Int32
		want   int32
	}{
		{"flaky", 200, "at last", &flaky, 2},
		{"broken", 500, "never", &broken, 4},
		{"permanent", 500, "for good", &permanent, 1},
		{"refusing", 404, "no such order", &refusing, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			location := f.async("POST", "/"+test.name, "the input")
			status, body, _ := f.result(location)
			if n := test.calls.Load(); status != test.status || !strings.Contains(body, test.body) || n != test.want {
				t.Errorf("%d %s after %d calls, want %d %s after %d", status, body, n, test.status, test.body, test.want)
			}
			run, err := f.LookUpRun(t.Context(), strings.TrimPrefix(location, "/_runs/"))
			if err != nil || run.Attempts != int(test.want) || run.Version == "" || !run.State.Ended() || run.Trigger != trigger.Async {
				t.Errorf("%+v %v", run, err)
			}
			if run.State == trigger.RunFailed && string(run.Data) != "the input" {
				t.Errorf("its input is %q", run.Data)
			}
		})
	}
}

func TestARunIsCanceled(t *testing.T) {
	ended := make(chan error, 1)
	running := make(chan bool, 1)
	var calls atomic.Int32
	f := handle(t, map[string]any{"slow": func(ctx context.Context) error {
		if calls.Add(1) == 1 {
			running <- true
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	location := f.async("POST", "/slow", "")
	<-running
	if status, body, _ := f.do("GET", location, ""); status != 202 || !strings.Contains(body, `"running"`) {
		t.Errorf("before: %d %s", status, body)
	}
	if status, body, _ := f.do("DELETE", location, ""); status != 204 {
		t.Fatalf("cancel: %d %s", status, body)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("its context ended with %v", err)
	}
	if status, body, _ := f.result(location); status != 499 || !strings.Contains(body, "was canceled") {
		t.Errorf("after: %d %s", status, body)
	}
	if status, _, _ := f.do("DELETE", location, ""); status != 409 {
		t.Errorf("the second time: %d", status)
	}
}

func TestTheEffectsOfACanceledRunLeaveNoRecord(t *testing.T) {
	running := make(chan error, 1)
	f := handle(t, map[string]any{"slow": func(ctx context.Context) error {
		running <- functions.Atomically(ctx, func(ctx context.Context) error { return functions.Publish(ctx, "out", "x") })
		<-ctx.Done()
		return ctx.Err()
	}})
	records := func() uint64 {
		js, err := jetstream.New(f.Conn())
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.Stream(t.Context(), event.EffectStream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Msgs
	}
	location := f.async("POST", "/slow", "")
	if err := <-running; err != nil || records() != 1 {
		t.Fatalf("%v, %d records", err, records())
	}
	if status, body, _ := f.do("DELETE", location, ""); status != 204 {
		t.Fatalf("cancel: %d %s", status, body)
	}
	f.await("the record is gone", func() bool { return records() == 0 })
}

// blocked is the source of a function that handles one call at a time, and waits in
// each.
const blockedSource = `package blocked

import (
	"context"
	"fmt"
)

func Handle(ctx context.Context, in string) (string, error) {
	fmt.Println("begun with " + in)
	if in == "wait" {
		<-ctx.Done()
	}
	return in, ctx.Err()
}
`

func TestAQueuedRunThatIsCanceledNeverRuns(t *testing.T) {
	f := start(t, map[string]string{"blocked/blocked.go": blockedSource, "blocked/function.yaml": "timeout: none\nasync: {inFlight: 1}\n", "echo/echo.go": echoSource}, nil)
	first := f.async("POST", "/blocked", "wait")
	f.await("it runs", func() bool {
		_, body, _ := f.do("GET", first, "")
		return strings.Contains(body, `"running"`)
	})
	var queued []string
	for i := range 5 {
		queued = append(queued, f.async("POST", "/blocked", fmt.Sprint("n", i)))
	}
	if status, body, _ := f.do("GET", queued[2], ""); status != 202 || !strings.Contains(body, `"queued"`) {
		t.Errorf("%d %s", status, body)
	}
	list, err := f.Runs(t.Context(), host.RunQuery{Function: "blocked", State: trigger.RunQueued, Limit: 10})
	if err != nil || len(list) != 5 {
		t.Errorf("%d are queued, %v", len(list), err)
	}
	// The calls of another function go on.
	if status, body, _ := f.result(f.async("POST", "/echo", "hello")); status != 200 || body != "hello" {
		t.Errorf("another function: %d %s", status, body)
	}
	if status, _, _ := f.do("DELETE", queued[2], ""); status != 204 {
		t.Errorf("cancel: %d", status)
	}
	if status, _, _ := f.do("DELETE", first, ""); status != 204 {
		t.Errorf("cancel: %d", status)
	}
	for i, location := range queued {
		want := 200
		if i == 2 {
			want = 499
		}
		if status, body, _ := f.result(location); status != want {
			t.Errorf("%d: %d %s, want %d", i, status, body, want)
		}
	}
	for _, line := range f.logLines("blocked") {
		if line == "begun with n2" {
			t.Error("the canceled one has run")
		}
	}
}

func (f *fixture) logLines(function string) (list []string) {
	f.Logs().Read(f.t.Context(), logQuery(function), func(r logRecord) error {
		list = append(list, r.Message)
		return nil
	})
	return list
}

func TestAResultIsForgottenInTime(t *testing.T) {
	f := start(t, map[string]string{"echo/echo.go": echoSource, "echo/function.yaml": "async: {keep: 1s}\n"}, nil)
	location := f.async("POST", "/echo", "hello", "X-Call-Id", "again")
	if status, _, _ := f.do("GET", location+"?wait=20s", ""); status != 200 && status != 404 { // on a slow machine it is forgotten already
		t.Errorf("%d", status)
	}
	f.await("it is forgotten", func() bool {
		status, _, _ := f.do("GET", location, "")
		return status == 404
	})
	f.async("POST", "/echo", "hello", "X-Call-Id", "again") // and stored once more
}

func TestAResultThatIsTooLargeIsNotKept(t *testing.T) {
	f := handle(t, map[string]any{"large": func() []byte { return make([]byte, event.MaxOutput+1) }, "fits": func() []byte { return make([]byte, event.MaxOutput) }})
	if status, body, _ := f.result(f.async("POST", "/large", "")); status != 413 || !strings.Contains(body, "done with status 200") {
		t.Errorf("%d %.300s", status, body)
	}
	if status, body, _ := f.result(f.async("POST", "/fits", "")); status != 200 || len(body) != event.MaxOutput {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}

func TestACallThatCannotBeStoredIsNotAccepted(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }})
	f.result(f.async("POST", "/hello", "")) // makes the stream
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), event.CallStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes, cfg.Discard = 100, jetstream.DiscardNew
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	status, body, h := f.do("POST", "/hello", strings.Repeat("x", 1000), "Prefer", "respond-async")
	if status != 503 || !strings.Contains(body, "cannot be stored") || h.Get("Location") != "" {
		t.Errorf("%d %s", status, body)
	}
	if _, err := f.InvokeAsync(t.Context(), "hello", make([]byte, 1000), host.AsyncOptions{}); !errors.Is(err, functions.ErrUnavailable) {
		t.Errorf("InvokeAsync = %v", err)
	}
}

func TestAsyncFromGo(t *testing.T) {
	f := handle(t, map[string]any{"hello": func(name string) string { return "Hello, " + name }})
	id, err := f.InvokeAsync(t.Context(), "hello", []byte("Ada"), host.AsyncOptions{ID: "mine"})
	if err != nil || id != "mine" {
		t.Fatalf("%q %v", id, err)
	}
	run, err := f.WaitRun(t.Context(), id)
	if err != nil || run.State != trigger.RunDone || string(run.Output) != "Hello, Ada" || run.Attempts != 1 {
		t.Errorf("%+v %v", run, err)
	}
	for name, want := range map[string]error{"nothing": functions.ErrNoFunction, "hello/there": functions.ErrNoFunction} {
		if _, err := f.InvokeAsync(t.Context(), name, nil, host.AsyncOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.LookUpRun(t.Context(), "nothing"); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if run, err := f.WaitRun(ctx, id); err != nil || run.State != trigger.RunDone {
		t.Errorf("%+v %v", run, err)
	}
}

// The place of a run is right also where the gateway is mounted below a prefix.
func TestARunBelowAPrefix(t *testing.T) {
	f := handle(t, map[string]any{"hello": func() string { return "hi" }})
	mux := http.NewServeMux()
	mux.Handle("/fn/", http.StripPrefix("/fn", f.Gateway()))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	inner := &fixture{t: t, url: srv.URL}
	status, body, h := inner.do("POST", "/fn/hello", "", "Prefer", "respond-async")
	if status != 202 || !strings.HasPrefix(h.Get("Location"), "/fn/_runs/") {
		t.Fatalf("%d %s %v", status, body, h)
	}
	if status, body, _ := inner.do("GET", h.Get("Location")+"?wait=30s", ""); status != 200 || body != "hi" {
		t.Errorf("%d %s", status, body)
	}
}

type logRecord = logs.Record

func logQuery(function string) logs.Query { return logs.Query{Function: function} }

func TestWhoWaitsForARunDoesNotHoldUpTheEnd(t *testing.T) {
	running := make(chan bool, 1)
	f := handle(t, map[string]any{"slow": func(ctx context.Context) error { running <- true; <-ctx.Done(); return ctx.Err() }},
		func(c *host.Config) { c.Drain = 100 * time.Millisecond })
	location := f.async("POST", "/slow", "")
	<-running
	answered := make(chan int)
	go func() {
		status, _, _ := f.do("GET", location+"?wait=60s", "")
		answered <- status
	}()
	f.await("it waits", func() bool { return f.Waiting(strings.TrimPrefix(location, "/_runs/")) })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if status := <-answered; status != 202 {
		t.Errorf("status %d", status)
	}
}

func TestAttemptsAtEventsAreRecorded(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go": `package shop

import (
	"context"
	"errors"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	if string(e.Data) == "bad" {
		return errors.New("it is bad")
	}
	return nil
}
`,
		"shop/function.yaml": "triggers:\n  event:\n    - {subject: work, start: all, retries: 1, backoff: 1ms}\n  schedule:\n    - every: 1s\n",
	}, nil)
	f.await("the trigger is there", func() bool {
		list := f.Triggers(t.Context())
		return slices.ContainsFunc(list, func(s event.Status) bool { return s.Subject == "work" && s.Error == "" })
	})
	for _, text := range []string{"good", "bad"} {
		if _, err := f.Publish(t.Context(), &nats.Msg{Subject: "work", Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	byState := make(map[string]*host.Run)
	f.await("they are recorded", func() bool {
		list, err := f.Runs(t.Context(), host.RunQuery{Function: "shop", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range list {
			state := fmt.Sprint(run.Trigger, " ", run.State)
			if !run.Next.IsZero() {
				state += ", retried"
			}
			byState[state] = run
		}
		return len(byState) >= 4
	})
	for state, want := range map[string]struct {
		attempts int
		err      string
	}{"event done": {1, ""}, "event failed, retried": {1, "it is bad"}, "event failed": {2, "it is bad"}, "schedule done": {1, ""}} {
		run := byState[state]
		if run == nil || run.Attempts != want.attempts || run.Error != want.err || run.Invocation == "" || run.Version != "v1" || run.Ended.IsZero() || run.Input.Stream == "" || run.Duration <= 0 {
			t.Errorf("%s: %+v", state, run)
		}
	}
}

func TestNoFunctionHasThePathOfRuns(t *testing.T) {
	f := handle(t, nil)
	if err := f.Handle("_runs", func() {}); err == nil {
		t.Error("there can be a function _runs")
	}
}
