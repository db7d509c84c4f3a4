package functions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// fakeHost is a Runtime that keeps what it is told.
type fakeHost struct {
	do func(ctx context.Context, req *wire.Request) (*wire.Response, error)

	feed Feed

	mu   sync.Mutex
	logs []string
}

func (f *fakeHost) Feed() *Feed { return &f.feed }

func (f *fakeHost) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	return f.do(ctx, req)
}

func (f *fakeHost) Log(_ context.Context, invocation string, level slog.Level, message string, attrs []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf("%s %v %s %s", invocation, level, message, attrs))
}

func TestLogRecords(t *testing.T) {
	host := &fakeHost{}
	log := Log(NewContext(t.Context(), "f", fields(wire.KeyInvocation, "i1"), host))
	tests := []struct {
		name string
		log  func()
		want string
	}{
		{"plain", func() { log.Info("hello") }, `i1 INFO hello `},
		{"debug", func() { log.Debug("hello") }, `i1 DEBUG hello `},
		{"own level", func() { log.Log(t.Context(), slog.Level(-8), "trace") }, `i1 DEBUG-4 trace `},
		{"attributes", func() { log.Error("x", "n", 1, "err", errors.New("no")) }, `i1 ERROR x {"n":1,"err":"no"}`},
		{"names of slog's own", func() { log.Info("x", "msg", "m", "time", 1, "level", "high") }, `i1 INFO x {"msg":"m","time":1,"level":"high"}`},
		{"With", func() { log.With("a", 1).With("b", 2).Info("x", "c", 3) }, `i1 INFO x {"a":1,"b":2,"c":3}`},
		{"group", func() { log.WithGroup("g").Info("x", "c", 3) }, `i1 INFO x {"g":{"c":3}}`},
		{"group in a group", func() { log.With("a", 1).WithGroup("g").With("b", 2).Info("x", slog.Group("h", "level", 3)) }, `i1 INFO x {"a":1,"g":{"b":2,"h":{"level":3}}}`},
		{"empty group", func() { log.WithGroup("g").Info("x") }, `i1 INFO x `},
		{"braces in text", func() { log.Info("}\n", "k", "}}\n") }, "i1 INFO }\n " + `{"k":"}}\n"}`},
	}
	for _, test := range tests {
		host.logs = nil
		if test.log(); len(host.logs) != 1 || host.logs[0] != test.want {
			t.Errorf("%s: %q, want %q", test.name, host.logs, test.want)
		}
	}
}

func TestLogIsSafeForConcurrentUse(t *testing.T) {
	host := &fakeHost{}
	log := Log(NewContext(t.Context(), "f", nil, host))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				log.With("i", i).Info(fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	for _, line := range host.logs {
		var i, j int
		if n, _ := fmt.Sscanf(line, " INFO %d {\"i\":%d}", &i, &j); n != 2 || i != j {
			t.Fatalf("record %q", line)
		}
	}
	if len(host.logs) != 800 {
		t.Errorf("%d records, want 800", len(host.logs))
	}
}

func TestOutsideOfAnInvocation(t *testing.T) {
	if Log(t.Context()) != slog.Default() {
		t.Error("Log is not slog.Default")
	}
	if i := InvocationFrom(t.Context()); i.ID != "" || i.Header("a") != "" {
		t.Errorf("invocation %+v", i)
	}
	if err := Call(t.Context(), "f", nil, nil); !errors.Is(err, ErrNoHost) {
		t.Errorf("Call = %v, want ErrNoHost", err)
	}
	if _, ok := Timeout(t.Context()); ok {
		t.Error("a timeout without deadline")
	}
}

func TestInvocationFrom(t *testing.T) {
	h := fields("X-User", "ada", wire.KeyQuery, "a=1&a=2", wire.KeyEndpoint, "e", wire.KeyInvocation, "i", wire.KeyTrigger, "call", wire.KeyCaller, "c", wire.KeyDepth, "3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = context.WithValue(NewContext(ctx, "f", h, nil), t, 1)
	i := InvocationFrom(ctx)
	if i.ID != "i" || i.Function != "f" || i.Endpoint != "e" || i.Trigger != "call" || i.Caller != "c" || i.Depth != 3 {
		t.Errorf("invocation %+v", i)
	}
	if i.Header("x-user") != "ada" || i.Header(wire.KeyEndpoint) != "" || i.Header("") != "" {
		t.Errorf("headers %q %q", i.Header("x-user"), i.Header(wire.KeyEndpoint))
	}
	if q := i.Query(); len(q["a"]) != 2 {
		t.Errorf("query %v", q)
	}
	if left, ok := Timeout(ctx); !ok || left <= 0 || left > time.Minute {
		t.Errorf("timeout %v %v", left, ok)
	}
}

func TestContextEndsWithTheOneBelow(t *testing.T) {
	below, cancel := context.WithCancelCause(t.Context())
	ctx, stop := context.WithCancel(NewContext(below, "f", nil, nil))
	defer stop()
	ran := make(chan bool)
	context.AfterFunc(ctx, func() { close(ran) })
	why := errors.New("why")
	cancel(why)
	<-ran
	if context.Cause(ctx) != why {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

func TestCall(t *testing.T) {
	text := "t"
	bytes := []byte("b")
	tests := []struct {
		name     string
		in       any
		wantBody string
		reply    string
		out, got func() any
	}{
		{"nothing", nil, "", "", nil, nil},
		{"struct", in{3}, `{"N":3}`, `{}`, nil, nil},
		{"bytes", bytes, "b", "", nil, nil},
		{"pointer to bytes", &bytes, "b", "", nil, nil},
		{"string", text, "t", "", nil, nil},
		{"pointer to string", &text, "t", "", nil, nil},
		{"nil pointer", (*string)(nil), "null", "", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host := &fakeHost{do: func(_ context.Context, req *wire.Request) (*wire.Response, error) {
				h := req.Header
				if req.Kind != wire.Call || h.Get(wire.KeyOp) != "invoke" || h.Get(wire.KeyTarget) != "g/e" || h.Get(wire.KeyInvocation) != "i" || h.Get(wire.KeyDepth) != "4" {
					t.Errorf("request %d %q", req.Kind, h)
				}
				if us, ok := h.Int(wire.KeyTimeout); !ok || us <= 0 || us > 60_000_000 {
					t.Errorf("timeout %d %v", us, ok)
				}
				if string(req.Payload) != test.wantBody {
					t.Errorf("payload %q, want %q", req.Payload, test.wantBody)
				}
				return &wire.Response{Payload: []byte(test.reply)}, nil
			}}
			ctx, cancel := context.WithTimeout(NewContext(t.Context(), "f", fields(wire.KeyInvocation, "i", wire.KeyDepth, "4"), host), time.Minute)
			defer cancel()
			if err := Call(ctx, "g/e", test.in, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestResultsOfCall(t *testing.T) {
	host := &fakeHost{}
	ctx := NewContext(t.Context(), "f", nil, host)
	body := &trickle{parts: []string{":", `7}`}}
	reply := func(payload string) {
		host.do = func(context.Context, *wire.Request) (*wire.Response, error) {
			return &wire.Response{Payload: []byte(payload)}, nil
		}
	}
	host.do = func(context.Context, *wire.Request) (*wire.Response, error) {
		return &wire.Response{Payload: []byte(`{"N"`), Body: body}, nil
	}
	var o out
	if err := Call(ctx, "g", nil, &o); err != nil || o.N != 7 || body.closed != 1 {
		t.Errorf("streamed: %+v, %v, closed %d", o, err, body.closed)
	}
	reply("")
	o = out{5}
	if err := Call(ctx, "g", nil, &o); err != nil || o.N != 5 {
		t.Errorf("empty: %+v, %v", o, err)
	}
	reply("text")
	var s string
	var b []byte
	var raw json.RawMessage
	if err := errors.Join(Call(ctx, "g", nil, &s), Call(ctx, "g", nil, &b)); err != nil || s != "text" || string(b) != "text" {
		t.Errorf("raw: %q %q %v", s, b, err)
	}
	if err := Call(ctx, "g", nil, &o); err == nil || !strings.Contains(err.Error(), `call "g": decode the result`) {
		t.Errorf("no JSON: %v", err)
	}
	if err := Call(ctx, "g", func() {}, &raw); err == nil || !strings.Contains(err.Error(), `call "g": encode the input`) {
		t.Errorf("no JSON input: %v", err)
	}
}

func TestErrorsOfCall(t *testing.T) {
	host := &fakeHost{}
	ctx := NewContext(t.Context(), "f", nil, host)
	sentinels := []*Error{ErrBadRequest, ErrForbidden, ErrNotFound, ErrNoFunction, ErrConflict, ErrPanicked, ErrCrashed, ErrUnavailable, ErrOverloaded, ErrTimeout, ErrLoop}
	for _, want := range sentinels {
		host.do = func(context.Context, *wire.Request) (*wire.Response, error) { return nil, Errorf(want.Code, "text") }
		err := Call(ctx, "g", nil, nil)
		var e *Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Message != "text" || err.Error() != `call "g": text` {
			t.Errorf("%s: %v", want.Code, err)
		}
	}
	host.do = func(ctx context.Context, _ *wire.Request) (*wire.Response, error) { return nil, context.Canceled }
	if err := Call(ctx, "g", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := Errorf(wire.Crashed, "the worker ended")
	host.do = func(context.Context, *wire.Request) (*wire.Response, error) {
		return &wire.Response{Body: &trickle{err: broken}}, nil
	}
	if err := Call(ctx, "g", nil, nil); !errors.Is(err, ErrCrashed) {
		t.Errorf("broken off: %v", err)
	}
}
