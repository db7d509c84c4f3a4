package host_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
)

// misbehaving is a function that does what it is told.
const misbehaving = `package bad

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

func Handle(ctx context.Context, what string) (string, error) {
	switch what {
	case "panic":
		var m map[string]int
		m["x"] = 1
	case "exit":
		os.Exit(7)
	case "goexit":
		runtime.Goexit()
	case "goroutine":
		go func() { panic("in the background") }()
		time.Sleep(time.Minute)
	case "sleep":
		<-ctx.Done()
		return "", ctx.Err()
	case "stuck":
		time.Sleep(time.Hour)
	case "flood":
		for range 200_000 {
			fmt.Println("0123456789012345678901234567890123456789")
		}
	case "leak":
		for range 2000 {
			go func() { select {} }()
		}
	case "pid":
		return fmt.Sprint(os.Getpid()), nil
	}
	return "done", nil
}
`

func TestAFunctionThatMisbehaves(t *testing.T) {
	f := start(t, map[string]string{
		"bad/bad.go": misbehaving, "bad/function.yaml": "timeout: 400ms\nconcurrency: 2\n",
		"loud/bad.go": misbehaving,
	}, nil)
	f.awaitState("bad", host.Ready)
	f.awaitState("loud", host.Ready)
	tests := []struct {
		function, what string
		status         int
		code           string
		log            string // has this
	}{
		{"bad", "panic", 500, "panic", "assignment to entry in nil map"},
		{"bad", "goexit", 500, "internal", ""},
		{"bad", "exit", 502, "crashed", ""},
		{"bad", "goroutine", 502, "crashed", "panic: in the background"},
		{"bad", "sleep", 504, "timeout", ""},
		{"loud", "flood", 200, "", "lines of stdout are left out"},
		{"bad", "leak", 200, "", "goroutines are running although"},
		{"bad", "stuck", 504, "timeout", "worker is replaced"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			status, body, _ := f.do("POST", "/"+test.function, test.what)
			var p struct{ Code, Detail string }
			json.Unmarshal([]byte(body), &p)
			if status != test.status || p.Code != test.code {
				t.Errorf("%d %s", status, body)
			}
			if strings.Contains(body, "nil map") || strings.Contains(body, "goroutine ") {
				t.Errorf("the caller sees the stack: %s", body)
			}
			// Whatever happened, the next one is served.
			f.await("the next invocation", func() bool {
				out, err := f.Invoke(t.Context(), test.function, nil)
				return err == nil && string(out) == "done"
			})
			f.await("the log says "+test.log, func() bool { return strings.Contains(f.records(test.function), test.log) })
		})
	}
	f.await("the stuck worker is replaced", func() bool {
		s, _ := f.Function("bad")
		return s.Workers.Recycled == 1
	})
	if s, err := f.Function("bad"); err != nil || s.Workers.Crashed != 2 {
		t.Errorf("workers = %+v, want 2 crashed", s.Workers)
	}
}

// records returns the log of a function as text.
func (f *fixture) records(name string) string {
	var b strings.Builder
	for _, r := range f.KeptRecords(name) {
		fmt.Fprintf(&b, "%s %s\n", r.Source, r.Message)
	}
	return b.String()
}

func TestDataDirectoryInUse(t *testing.T) {
	f := start(t, nil, nil)
	_, err := host.New(host.Config{Dir: f.data})
	if !errors.Is(err, host.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("New = %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	f := start(t, nil, nil)
	address := strings.TrimPrefix(f.url, "http://")
	h, err := host.New(host.Config{Dir: t.TempDir(), HTTP: address})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("gateway: %v", err)
	}
	nats := strings.TrimPrefix(f.Info().NATS, "nats://")
	if _, err := host.New(host.Config{Dir: t.TempDir(), NATS: nats}); err == nil || !strings.Contains(err.Error(), nats) {
		t.Errorf("NATS: %v", err)
	}
}

func TestWithoutGoWhatRunsInProcessRuns(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := start(t, map[string]string{"f/f.go": constant("f", "x")}, nil)
	if err := f.Handle("local", func() string { return "here" }); err != nil {
		t.Fatal(err)
	}
	if out, err := f.Invoke(t.Context(), "local", nil); err != nil || string(out) != "here" {
		t.Errorf("local: %q %v", out, err)
	}
	_, err := f.Invoke(t.Context(), "f", nil)
	if err == nil || !strings.Contains(err.Error(), "no go command on PATH") {
		t.Errorf("f: %v", err)
	}
}
