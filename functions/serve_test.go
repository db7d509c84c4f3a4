package functions

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestServeRefuses(t *testing.T) {
	if err := Serve(Handle("", func() {})); !errors.Is(err, ErrNotAWorker) {
		t.Errorf("outside of a host: %v, want ErrNotAWorker", err)
	}
	t.Setenv(wire.WorkerEnv, "f")
	tests := []struct {
		name      string
		endpoints []Endpoint
		want      string
	}{
		{"two of a name", []Endpoint{Handle("a", func() {}), Handle("a", func() {})}, `two endpoints are named "a"`},
		{"bad shape", []Endpoint{Handle("", func() {}), Handle("b", func(a, b int) {})}, `endpoint "b": func(int, int) is not a handler`},
		{"no handler", []Endpoint{{Name: "c"}}, `endpoint "c" has no handler`},
	}
	for _, test := range tests {
		if err := Serve(test.endpoints...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// startWorker serves the endpoints over a socketpair, as in a worker process,
// and returns the host's side, and what the worker sends beside the exchanges.
func startWorker(t *testing.T, calls func(context.Context, *wire.Exchange), endpoints ...Endpoint) (*wire.Session, <-chan wire.Frame, <-chan error) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	w := &worker{name: "f", endpoints: make(map[string]*Endpoint)}
	if err := w.add(endpoints); err != nil {
		t.Fatal(err)
	}
	control := make(chan wire.Frame, 100)
	host := wire.NewSession(os.NewFile(uintptr(fds[0]), "worker"), wire.Config{Host: true, Serve: calls, Control: func(f wire.Frame) { control <- f }})
	hostDone, workerDone := make(chan error, 1), make(chan error, 1)
	go func() { hostDone <- host.Run() }()
	go func() { workerDone <- w.run(os.NewFile(uintptr(fds[1]), "host")) }()
	t.Cleanup(func() {
		host.Close()
		<-hostDone
	})
	return host, control, workerDone
}

func TestWorker(t *testing.T) {
	entered, gate := make(chan struct{}), make(chan struct{})
	host, control, done := startWorker(t,
		func(_ context.Context, x *wire.Exchange) {
			x.Respond(nil, append([]byte("host: "), x.Payload()...), false)
		},
		Handle("", func(s string) string { return s }),
		Handle("typed", func(i in) out { return out{i.N + 1} }),
		Handle("call", func(ctx context.Context) (s string, err error) { return s, Call(ctx, "g", "hi", &s) }),
		Handle("log", func(ctx context.Context) { Log(ctx).Warn("careful", "n", 1) }),
		Handle("long", func(r io.Reader) io.Reader { return r }),
		Handle("panic", func() { panic("boom") }),
		Handle("exit", func() { runtime.Goexit() }),
		Handle("wait", func() { close(entered); <-gate }),
	)
	ready := <-control
	if ready.Kind != wire.Ready || ready.Header.Get(wire.KeyProtocol) != wire.Version || !strings.Contains(string(ready.Header), "typed json") {
		t.Errorf("first frame %d %q", ready.Kind, ready.Header)
	}
	invoke := func(endpoint, body string) (string, error) {
		h := fields(wire.KeyInvocation, "i", wire.KeyEndpoint, endpoint)
		r, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke, Header: h, Payload: []byte(body)})
		if err != nil {
			return "", err
		}
		b := r.Payload
		if r.Body != nil {
			rest, err := io.ReadAll(r.Body)
			if err != nil {
				return "", err
			}
			b = append(b, rest...)
		}
		return string(b), nil
	}
	long := strings.Repeat("long ", 200_000)
	for _, test := range []struct {
		endpoint, body, want string
		code                 Code
	}{
		{"", "hello", "hello", ""},
		{"typed", `{"N":1}`, `{"N":2}`, ""},
		{"call", "", "host: hi", ""},
		{"long", long, long, ""},
		{"panic", "", "boom", wire.Panicked},
		{"exit", "", "the handler returned without an answer", Internal},
		{"nobody", "", `function "f" has no endpoint "nobody"`, wire.NoFunction},
		{"log", "", "", ""},
	} {
		got, err := invoke(test.endpoint, test.body)
		if codeOf(err) != test.code {
			t.Errorf("%s: error %v, want %q", test.endpoint, err, test.code)
		} else if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %.80q, want %.80q", test.endpoint, got, test.want)
		}
	}
	f := <-control
	if h := f.Header; f.Kind != wire.Log || h.Get(wire.KeyLevel) != slog.LevelWarn.String() || h.Get(wire.KeyMessage) != "careful" || h.Get(wire.KeyInvocation) != "i" || string(f.Payload) != `{"n":1}` {
		t.Errorf("log frame %d %q %s", f.Kind, f.Header, f.Payload)
	}
	r, err := host.Do(t.Context(), &wire.Request{Kind: wire.Describe})
	var list []Description
	if err != nil || json.Unmarshal(r.Payload, &list) != nil || len(list) != 8 || list[1].Request.Properties["N"] == nil {
		t.Errorf("describe: %v %+v", err, list)
	}
	drainWaits(t, host, entered, gate, done)
}

// drainWaits holds that a worker finishes what runs before it leaves.
func drainWaits(t *testing.T, host *wire.Session, entered, gate chan struct{}, done <-chan error) {
	t.Helper()
	answered := make(chan error, 1)
	go func() {
		_, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke, Header: fields(wire.KeyEndpoint, "wait")})
		answered <- err
	}()
	<-entered
	host.Send(&wire.Frame{Kind: wire.Drain})
	select {
	case err := <-done:
		t.Fatalf("the worker left while an invocation ran: %v", err)
	case err := <-answered:
		t.Fatalf("the invocation ended early: %v", err)
	default:
	}
	close(gate)
	if err := <-answered; err != nil {
		t.Errorf("the invocation under way at the drain: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

func TestLongLogsAreCut(t *testing.T) {
	host, control, _ := startWorker(t, nil, Handle("", func(ctx context.Context) {
		Log(ctx).Info(strings.Repeat("m", 100_000), "big", strings.Repeat("x", 100_000))
	}))
	<-control
	if _, err := host.Do(t.Context(), &wire.Request{Kind: wire.Invoke}); err != nil {
		t.Fatal(err)
	}
	f := <-control
	if n := len(f.Header.Get(wire.KeyMessage)); n != 32<<10 || !strings.Contains(string(f.Payload), "left out: 1000") {
		t.Errorf("message of %d bytes, attributes %.80s", n, f.Payload)
	}
}
