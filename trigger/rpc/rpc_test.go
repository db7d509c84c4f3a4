package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestRequestAndReply(t *testing.T) {
	f := start(t, "orders", "other", "versions")
	for subject, want := range map[string]string{
		"fn.orders":           "orders/ hi",
		"fn.orders.create":    "orders/create hi",
		"fn.other.whatever":   "other/whatever hi", // for the invoker to refuse
		"fn.orders.a.b":       "orders/a.b hi",
		"fn.orders.v3":        "orders@v3/ hi",
		"fn.orders.v3.create": "orders@v3/create hi",
		"fn.orders.v0":        "orders/v0 hi",
		"fn.versions.v1":      "versions/v1 hi", // an endpoint of that name
	} {
		if got := string(f.ask(t, subject, "hi").Data); got != want {
			t.Errorf("%s: %q, want %q", subject, got, want)
		}
	}
	if inv := f.invocation(); inv.Trigger != trigger.RPC {
		t.Errorf("trigger %q", inv.Trigger)
	}
	for _, subject := range []string{"fn.nobody", "fn", "orders"} {
		if _, err := f.client.Request(subject, nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, want no responders", subject, err)
		}
	}
}

func TestRequestWithoutReplyIsRun(t *testing.T) {
	f := start(t, "f")
	ran := make(chan string, 1)
	f.set(func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		ran <- string(inv.Payload)
		return nil, errors.New("nobody hears it")
	})
	if err := f.client.Publish("fn.f", []byte("one way")); err != nil {
		t.Fatal(err)
	}
	if got := <-ran; got != "one way" {
		t.Errorf("payload %q", got)
	}
}

func TestRequestHeaders(t *testing.T) {
	f := start(t, "f")
	f.ask(t, "fn.f", "", "X-User", "ada", "lower", "v", "Many", "1", "Many", "2", "Fn-Query", "a=1",
		"X-Fn-Forged", "x", "x-fn-forged", "x", "Nats-Msg-Id", "x", "nats-other", "x")
	var got []string
	for key, value := range f.invocation().Header.All() {
		got = append(got, key+"="+value)
	}
	slices.Sort(got)
	if want := []string{":query=a=1", "Many=1", "Many=2", "X-User=ada", "lower=v"}; !slices.Equal(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	reply := f.ask(t, "fn.f", "", "A", strings.Repeat("x", 40_000), "B", strings.Repeat("x", 40_000))
	checkError(t, reply, "431", wire.HeaderLarge, "")
}

func TestReplyHeaders(t *testing.T) {
	f := start(t, "f")
	answer := func(headers ...string) nats.Header {
		f.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
			r := &trigger.Result{Payload: []byte("body")}
			for i := 0; i < len(headers); i += 2 {
				r.Header = r.Header.Add(headers[i], headers[i+1])
			}
			return r, nil
		})
		m := f.ask(t, "fn.f", "")
		if string(m.Data) != "body" {
			t.Errorf("body %q", m.Data)
		}
		return m.Header
	}
	if h := answer("Content-Type", "application/json"); len(h) != 0 {
		t.Errorf("headers of plain JSON: %v", h)
	}
	if h := answer(":status", "204"); len(h) != 0 {
		t.Errorf("headers of nothing: %v", h)
	}
	h := answer(":status", "404", "Content-Type", "text/plain", "Set-Cookie", "a", "Set-Cookie", "b", "X-Split", "a\r\nForged: 1")
	if h.Get(HeaderStatus) != "404" || h.Get("Content-Type") != "text/plain" || !slices.Equal(h["Set-Cookie"], []string{"a", "b"}) || h.Get("Forged") != "" || !strings.Contains(h.Get("X-Split"), "Forged") {
		t.Errorf("headers %q", h)
	}
}

func checkError(t *testing.T, m *nats.Msg, status string, code wire.Code, text string) {
	t.Helper()
	h := m.Header
	if h.Get(HeaderErrorCode) != status || h.Get(HeaderCode) != string(code) || h.Get(HeaderError) == "" || text != "" && h.Get(HeaderError) != text || len(m.Data) != 0 {
		t.Errorf("headers %.200v, body %q; want %s, %s, %q", h, m.Data, status, code, text)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	f := start(t, "f")
	for _, test := range []struct {
		err    error
		status string
		code   wire.Code
		text   string
	}{
		{wire.Errorf(wire.NotFound, "no item %d", 7), "404", wire.NotFound, "no item 7"},
		{&wire.Error{Code: wire.Overloaded}, "503", wire.Overloaded, "overloaded"},
		{errors.New("two\r\nlines"), "500", wire.Internal, "two  lines"},
		{context.DeadlineExceeded, "504", wire.Timeout, "context deadline exceeded"},
		{&trigger.NotReady{Function: "f", Title: "x"}, "503", wire.Unavailable, `function "f" is not ready: x`},
		{errors.New(strings.Repeat("long ", 4<<20)), "500", wire.Internal, ""},
	} {
		f.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) { return nil, test.err })
		checkError(t, f.ask(t, "fn.f", ""), test.status, test.code, test.text)
	}
}

// closing is a body that tells when it was closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}

// forever never ends.
type forever struct{}

func (forever) Read(p []byte) (int, error) { return len(p), nil }

func TestResultsOfEverySize(t *testing.T) {
	f := start(t, "f")
	broken := wire.Errorf(wire.Crashed, "the worker ended")
	for name, test := range map[string]struct {
		head string
		rest io.Reader
		size int
		code wire.Code
	}{
		"streamed":           {"abc", strings.NewReader(strings.Repeat("x", 1<<20)), 3 + 1<<20, ""},
		"large":              {strings.Repeat("x", 7<<20), nil, 7 << 20, ""},
		"too large":          {strings.Repeat("x", 8<<20), nil, 0, wire.TooLarge},
		"too large, stream":  {"abc", strings.NewReader(strings.Repeat("x", 8<<20)), 0, wire.TooLarge},
		"without end":        {"abc", forever{}, 0, wire.TooLarge},
		"broken off":         {"abc", io.MultiReader(strings.NewReader("more"), failing{broken}), 0, wire.Crashed},
		"nothing, streaming": {"", strings.NewReader(""), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closing{Reader: test.rest}
			f.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
				r := &trigger.Result{Payload: []byte(test.head)}
				if test.rest != nil {
					r.Body = body
				}
				return r, nil
			})
			m := f.ask(t, "fn.f", "")
			if got := m.Header.Get(HeaderCode); got != string(test.code) || len(m.Data) != test.size {
				t.Errorf("%d bytes, error %q; want %d, %q", len(m.Data), got, test.size, test.code)
			}
			if test.rest != nil && !body.closed.Load() {
				t.Error("the body was not closed")
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestFunctionsWithoutTimeoutAreBounded(t *testing.T) {
	f := start(t, "f")
	f.set(func(ctx context.Context, _ *trigger.Invocation) (*trigger.Result, error) {
		_, ok := ctx.Deadline()
		return &trigger.Result{Payload: fmt.Append(nil, ok)}, nil
	})
	deadline := func() bool { return string(f.ask(t, "fn.f", "").Data) == "true" }
	if deadline() {
		t.Error("a deadline beside the function's own timeout")
	}
	unbounded := table("f")
	unbounded.Functions["f"].Manifest.Timeout = 0
	f.trigger.Update(unbounded)
	if !deadline() {
		t.Error("no deadline for a function without timeout")
	}
}

func TestUpdate(t *testing.T) {
	f := start(t, "a", "b")
	f.update(t, "b", "c")
	for name, there := range map[string]bool{"a": false, "b": true, "c": true} {
		m, err := f.client.Request("fn."+name, []byte("x"), 5*time.Second)
		if there && (err != nil || string(m.Data) != name+"/ x") || !there && !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, want an answer: %v", name, err, there)
		}
	}
	f.update(t, "a")
	if got := string(f.ask(t, "fn.a", "again").Data); got != "a/ again" {
		t.Errorf("answer %q of a function that came back", got)
	}
	f.update(t)
	for deadline := time.Now().Add(20 * time.Second); f.bus.Conn().NumSubscriptions() > 9; time.Sleep(5 * time.Millisecond) { // discovery; the others drain
		if time.Now().After(deadline) {
			t.Fatalf("%d subscriptions without functions", f.bus.Conn().NumSubscriptions())
		}
	}
}

// A function costs subscriptions, and no goroutine.
func TestAThousandFunctions(t *testing.T) {
	f := start(t)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	before := runtime.NumGoroutine()
	f.update(t, names...)
	if n := runtime.NumGoroutine() - before; n > 20 {
		t.Errorf("%d goroutines for 1,000 functions", n)
	}
	for _, name := range []string{"f0", "f500", "f999"} {
		if got := string(f.ask(t, "fn."+name, "x").Data); got != name+"/ x" {
			t.Errorf("%s: %q", name, got)
		}
	}
	begin := time.Now()
	f.close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestRequestsRunAtOnce(t *testing.T) {
	f := start(t, "f")
	var together sync.WaitGroup
	together.Add(50)
	f.set(func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		together.Done()
		together.Wait() // or it never ends
		return &trigger.Result{}, nil
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := f.client.Request("fn.f", nil, 10*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Who asks names where the answer goes, and NATS does not look at that.
func TestNoAnswerCallsAFunctionOrTheServer(t *testing.T) {
	f := start(t, "f", "g")
	called := make(chan string, 10)
	f.set(func(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
		called <- inv.Function
		return &trigger.Result{Payload: []byte("x")}, nil
	})
	heard := make(chan string, 10)
	for _, subject := range []string{"$X.>", "free.>"} {
		if _, err := f.client.Subscribe(subject, func(m *nats.Msg) { heard <- m.Subject }); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.client.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"fn.g", "$X.Y", "free.1"} {
		if err := f.client.PublishRequest("fn.f", reply, nil); err != nil {
			t.Fatal(err)
		}
		if name := <-called; name != "f" {
			t.Errorf("the answer to %s has called %s", reply, name)
		}
	}
	if subject := <-heard; subject != "free.1" {
		t.Errorf("answered to %s", subject)
	}
	f.ask(t, "fn.f", "") // all before it has been handled
	<-called
	if len(called) > 0 || len(heard) > 0 {
		t.Errorf("%d functions were called, and %d answers heard", len(called), len(heard))
	}
}
