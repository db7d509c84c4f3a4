package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

func TestMain(m *testing.M) {
	playRole() // a process of a benchmark
	// A goroutine of nats.go outlives a short upload to an object store, if it gets
	// to run only when that has ended.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"),
		goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks")) // nothing ends Pebble
}

// fixture is a host that runs, with a folder of its own.
type fixture struct {
	*host.Host
	t      testing.TB
	dir    string // the watched folder
	data   string
	url    string // of the gateway
	mu     sync.Mutex
	events []host.Event
	stop   func() error
}

// start runs a host on free ports. Files are "path in the folder" → content.
func start(t testing.TB, files map[string]string, change func(*host.Config)) *fixture {
	t.Helper()
	tmp := t.TempDir()
	f := &fixture{t: t, dir: filepath.Join(tmp, "functions"), data: filepath.Join(tmp, "data")}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		f.write(name, text)
	}
	f.open(change)
	return f
}

func (f *fixture) open(change func(*host.Config)) {
	f.t.Helper()
	cfg := host.Config{
		Dir: f.data, Watch: []string{f.dir}, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0",
		Grace: 300 * time.Millisecond, Drain: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		OnEvent: func(e host.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
		},
	}
	if change != nil {
		change(&cfg)
	}
	h, err := host.New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Host = h
	if err := h.Listen(); err != nil {
		f.t.Fatal(err)
	}
	f.url = h.Info().HTTP
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	f.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	f.t.Cleanup(func() {
		if err := f.stop(); err != nil && !errors.Is(err, host.ErrClosed) { // a test may close it before Run begins
			f.t.Errorf("Run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	// As editors do: the new file takes the place of the old one.
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		f.t.Fatal(err)
	}
}

// await waits until cond holds.
func (f *fixture) await(what string, cond func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			f.Logs().Read(context.Background(), logs.Query{Tail: 30}, func(r logs.Record) error {
				f.t.Logf("%+v", r)
				return nil
			})
			f.t.Fatalf("%s: not within a minute; functions: %+v; triggers: %+v", what, f.Functions(), f.Triggers(context.Background()))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitState waits for a function to be in a state.
func (f *fixture) awaitState(name string, state host.State) {
	f.t.Helper()
	f.await(fmt.Sprintf("%s is %s", name, state), func() bool {
		s, err := f.Function(name)
		return err == nil && s.State == string(state)
	})
}

// event returns the latest event of a function in a state.
func (f *fixture) event(name string, state host.State) (host.Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.events) - 1; i >= 0; i-- {
		if e := f.events[i]; e.Function == name && e.State == state {
			return e, true
		}
	}
	return host.Event{}, false
}

// do sends a request to the gateway.
func (f *fixture) do(method, path, body string, header ...string) (int, string, http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// constant is a function that returns a text.
func constant(pkg, text string) string {
	return fmt.Sprintf("package %s\n\nfunc Handle() string { return %q }\n", pkg, text)
}

// onStep tells begun when a step of a deploy begins.
func onStep(step string, begun chan<- bool) func(admin.DeployEvent) {
	return func(e admin.DeployEvent) {
		if e.Step == step && !e.Done {
			begun <- true
		}
	}
}

// onceStored calls do when a version has been stored, before it is released.
func onceStored(do func()) func(admin.DeployEvent) {
	return func(e admin.DeployEvent) {
		if e.Step == admin.StepStore && e.Done {
			do()
		}
	}
}
