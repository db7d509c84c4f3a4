package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

func TestMain(m *testing.M) {
	playRole() // a process of a benchmark
	goleak.VerifyTestMain(m)
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
		if err := f.stop(); err != nil {
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
			f.t.Fatalf("%s: not within a minute; functions: %+v", what, f.Functions())
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

func TestSavedSourceIsAFunctionOverHTTPAndNATS(t *testing.T) {
	f := start(t, map[string]string{"greet/greet.go": constant("greet", "one")}, nil)
	if status, body, h := f.do("GET", "/greet", ""); status != 200 || body != "one" || h.Get("X-Fn-Version") != "v1" {
		t.Errorf("HTTP: %d %q %v", status, body, h)
	}
	m, err := f.Conn().Request("fn.greet", nil, 5*time.Second)
	if err != nil || string(m.Data) != "one" {
		t.Errorf("NATS: %v %v", m, err)
	}
	out, err := f.Invoke(t.Context(), "greet", nil)
	if err != nil || string(out) != "one" {
		t.Errorf("Invoke: %q %v", out, err)
	}
	f.write("other/other.go", constant("other", "two"))
	f.awaitState("greet", host.Ready)
	f.await("the new directory answers", func() bool {
		out, err := f.Invoke(t.Context(), "other", nil)
		return err == nil && string(out) == "two"
	})
	if err := os.RemoveAll(filepath.Join(f.dir, "greet")); err != nil {
		t.Fatal(err)
	}
	f.await("the removed one is gone", func() bool {
		_, err := f.Invoke(t.Context(), "greet", nil)
		return errors.Is(err, functions.ErrNotFound)
	})
}

func TestHotReloadUnderLoadLosesNoRequest(t *testing.T) {
	reloads := 100
	if testing.Short() {
		reloads = 10
	}
	f := start(t, map[string]string{"n/n.go": constant("n", "0")}, nil)
	f.do("GET", "/n", "")
	var requests, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	for range 64 {
		load.Go(func() {
			for ctx.Err() == nil {
				resp, err := client.Post(f.url+"/n", "text/plain", strings.NewReader("x"))
				if err != nil {
					failed.Add(1)
					t.Errorf("request: %v", err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if requests.Add(1); err != nil || resp.StatusCode != 200 {
					failed.Add(1)
					t.Errorf("request: %d %s %v", resp.StatusCode, b, err)
					return
				}
			}
		})
	}
	for i := 1; i <= reloads; i++ {
		text := fmt.Sprint(i % 10) // ten programs, so that most reloads take no compiler's time
		f.write("n/n.go", constant("n", text))
		f.await(fmt.Sprintf("reload %d answers", i), func() bool {
			out, err := f.Invoke(t.Context(), "n", nil)
			return err == nil && string(out) == text
		})
	}
	cancel()
	load.Wait()
	if failed.Load() > 0 || requests.Load() < int64(reloads) {
		t.Errorf("%d of %d requests failed", failed.Load(), requests.Load())
	}
	t.Logf("%d reloads, %d requests, %d failed", reloads, requests.Load(), failed.Load())
}

func TestABadBuildKeepsTheVersionBefore(t *testing.T) {
	tests := []struct {
		name, file, text, want string
		line                   int
	}{
		{"syntax error", "f.go", "package f\n\nfunc Handle() string { return }}\n", "syntax error", 3},
		{"type error", "f.go", "package f\n\nfunc Handle() string { return 1 }\n", "cannot use 1", 3},
		{"wrong signature", "f.go", "package f\n\nfunc Handle(a, b, c int) string { return \"\" }\n", "a handler is one of", 3},
		{"unknown manifest key", "function.yaml", "timout: 3s\n", "did you mean \"timeout\"", 1},
		{"missing dependency", "f.go", "package f\n\nimport _ \"example.com/none\"\n\nfunc Handle() string { return \"\" }\n", "no required module", 3},
		{"exits at start", "f.go", "package f\n\nimport \"os\"\n\nfunc init() { println(\"no luck\"); os.Exit(3) }\n\nfunc Handle() string { return \"\" }\n", "no luck", 0},
		{"panics at start", "f.go", "package f\n\nfunc init() { panic(\"boom\") }\n\nfunc Handle() string { return \"\" }\n", "boom", 0},
	}
	f := start(t, map[string]string{"f/f.go": constant("f", "good")}, nil)
	f.awaitState("f", host.Ready)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.write("f/"+test.file, test.text)
			f.awaitState("f", host.Failed)
			if out, err := f.Invoke(t.Context(), "f", nil); err != nil || string(out) != "good" {
				t.Errorf("while the build fails: %q, %v", out, err)
			}
			e, ok := f.event("f", host.Failed)
			if !ok || !strings.Contains(e.Err.Error(), test.want) {
				t.Errorf("error = %v, want %q in it", e.Err, test.want)
			}
			if test.line > 0 {
				list := e.Diagnostics()
				if len(list) == 0 || list[0].Line != test.line || list[0].File != filepath.Join(f.dir, "f", test.file) || list[0].Excerpt == "" {
					t.Errorf("diagnostics = %+v", list)
				}
			}
			os.Remove(filepath.Join(f.dir, "f", "function.yaml"))
			f.write("f/f.go", constant("f", "good"))
			f.awaitState("f", host.Ready)
		})
	}
}

func TestAFunctionThatNeverBuiltShowsWhy(t *testing.T) {
	f := start(t, map[string]string{"f/f.go": "package f\n\nfunc Handle() string { return 1 }\n"}, nil)
	status, body, h := f.do("GET", "/f", "", "Accept", "text/html,*/*;q=0.8")
	if status != 503 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(body, "cannot use 1") || !strings.Contains(body, "3 | func Handle()") {
		t.Errorf("browser: %d %s", status, body)
	}
	status, body, h = f.do("GET", "/f", "")
	if status != 503 || h.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "cannot use 1") {
		t.Errorf("program: %d %s", status, body)
	}
	f.write("f/f.go", constant("f", "now"))
	f.await("it is built once it can be", func() bool {
		status, body, _ := f.do("GET", "/f", "")
		return status == 200 && body == "now"
	})
}

func TestTwoFunctionsOfOneName(t *testing.T) {
	f := start(t, map[string]string{
		"a/a.go": constant("a", "a"), "b/b.go": constant("b", "b"), "b/function.yaml": "name: a\n",
	}, nil)
	e, ok := f.event("a", host.Failed)
	if !ok || !errors.Is(e.Err, host.ErrDuplicate) || !strings.Contains(e.Err.Error(), filepath.Join(f.dir, "b")) {
		t.Errorf("event = %+v", e)
	}
	if out, err := f.Invoke(t.Context(), "a", nil); err != nil || string(out) != "a" {
		t.Errorf("the first one: %q %v", out, err)
	}
}

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
	f := start(t, map[string]string{"bad/bad.go": misbehaving, "bad/function.yaml": "timeout: 400ms\nconcurrency: 2\n"}, nil)
	f.awaitState("bad", host.Ready)
	tests := []struct {
		what   string
		status int
		code   string
	}{
		{"panic", 500, "panic"},
		{"goexit", 500, "internal"},
		{"exit", 502, "crashed"},
		{"goroutine", 502, "crashed"},
		{"sleep", 504, "timeout"},
		{"flood", 200, ""},
		{"leak", 200, ""},
		{"stuck", 504, "timeout"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			status, body, _ := f.do("POST", "/bad", test.what)
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
				out, err := f.Invoke(t.Context(), "bad", nil)
				return err == nil && string(out) == "done"
			})
		})
	}
	s, err := f.Function("bad")
	if err != nil || s.Workers.Crashed != 2 {
		t.Errorf("workers = %+v, want 2 crashed", s.Workers)
	}
	f.await("the stuck worker is replaced", func() bool {
		s, _ := f.Function("bad")
		return s.Workers.Recycled == 1
	})
	for _, want := range []string{"assignment to entry in nil map", "panic: in the background", "lines of stdout are left out", "goroutines are running although", "worker is replaced"} {
		f.await("the log says "+want, func() bool { return strings.Contains(f.records("bad"), want) })
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

func TestARestartedHostServesWithoutBuilding(t *testing.T) {
	f := start(t, map[string]string{"f/f.go": constant("f", t.Name())}, nil)
	f.do("GET", "/f", "")
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(nil)
	if _, body, _ := f.do("GET", "/f", ""); body != t.Name() {
		t.Errorf("body = %q", body)
	}
	if e, ok := f.event("f", host.Ready); !ok || e.How != "cached" {
		t.Errorf("event = %+v", e)
	}
}

func TestFunctionsCallEachOther(t *testing.T) {
	caller := func(pkg, target string) string {
		return fmt.Sprintf(`package %s

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, in string) (string, error) {
	inv := functions.InvocationFrom(ctx)
	var out string
	if err := functions.Call(ctx, %q, in+"<"+inv.Function+"<"+inv.Caller, &out); err != nil {
		return "", err
	}
	return out, nil
}
`, pkg, target)
	}
	f := start(t, map[string]string{
		"one/one.go": caller("one", "two"), "two/two.go": caller("two", "three"),
		"loop/loop.go": caller("loop", "loop"), "lost/lost.go": caller("lost", "thre"),
		"shut/shut.go": caller("shut", "three"), "shut/function.yaml": "access: {functions: [other-*]}\n",
	}, nil)
	if err := f.Handle("three", func(ctx context.Context, in string) string {
		return in + "<" + functions.InvocationFrom(ctx).Caller
	}); err != nil {
		t.Fatal(err)
	}
	if out, err := f.Invoke(t.Context(), "one", []byte("x")); err != nil || string(out) != "x<one<<two<one<two" {
		t.Errorf("chain: %q %v", out, err)
	}
	if _, err := f.Invoke(t.Context(), "loop", nil); !errors.Is(err, functions.ErrLoop) {
		t.Errorf("loop: %v", err)
	}
	if _, err := f.Invoke(t.Context(), "lost", nil); !errors.Is(err, functions.ErrNotFound) || !strings.Contains(err.Error(), `did you mean "three"`) {
		t.Errorf("lost: %v", err)
	}
	if _, err := f.Invoke(t.Context(), "shut", nil); !errors.Is(err, functions.ErrForbidden) || !strings.Contains(err.Error(), "access.functions") {
		t.Errorf("shut: %v", err)
	}
}

func TestInputIsMergedFromBodyFormQueryAndPath(t *testing.T) {
	f := start(t, map[string]string{"in/in.go": `package in

type In struct {
	ID   int      ` + "`json:\"id\"`" + `
	Name string   ` + "`json:\"name\"`" + `
	Tags []string ` + "`json:\"tags\"`" + `
	File []byte   ` + "`json:\"file\"`" + `
	Deep struct{ On bool } ` + "`json:\"deep\"`" + `
}

func Handle(in In) In { return in }
`, "in/function.yaml": "body: 1KiB\ntriggers:\n  http:\n    - {path: '/things/{id}', methods: [PUT]}\n"}, nil)
	f.awaitState("in", host.Ready)
	multipart := "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--b--\r\n"
	tests := []struct {
		name, method, path, contentType, body string
		status                                int
		want                                  string
	}{
		{"JSON", "POST", "/in", "application/json", `{"id":1,"name":"a"}`, 200, `{"id":1,"name":"a","tags":null,"file":null,"deep":{"On":false}}`},
		{"JSON that curl calls a form", "POST", "/in", "application/x-www-form-urlencoded", `{"id":1}`, 200, `{"id":1,`},
		{"query over JSON", "POST", "/in?id=2&tags=x&tags=y&deep.on=true", "application/json", `{"id":1,"name":"a"}`, 200, `{"id":2,"name":"a","tags":["x","y"],"file":null,"deep":{"On":true}}`},
		{"form", "POST", "/in", "application/x-www-form-urlencoded", "name=b+c&id=3", 200, `{"id":3,"name":"b c",`},
		{"multipart", "POST", "/in", "multipart/form-data; boundary=b", multipart, 200, `{"id":0,"name":"m","tags":null,"file":"aGVsbG8=",`},
		{"path over query", "PUT", "/things/7?id=2", "", "", 200, `{"id":7,`},
		{"wrong method of a route", "POST", "/things/7", "", "", 405, "no_method"},
		{"path that does not fit", "PUT", "/things/seven", "", "", 400, `path value \"id\": \"seven\" is not a whole number`},
		{"query that does not fit", "GET", "/in?id=x", "", "", 400, `query parameter \"id\"`},
		{"malformed JSON", "POST", "/in", "application/json", "{\n \"id\": }", 400, "line 2, column 8"},
		{"JSON of another type", "POST", "/in", "application/json", `{"id":"x"}`, 400, `field \"id\": string does not fit int`},
		{"body over the limit", "POST", "/in", "application/json", strings.Repeat(" ", 1025), 413, "too_large"},
		{"unknown function", "GET", "/ni", "", "", 404, "not_found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body, _ := f.do(test.method, test.path, test.body, "Content-Type", test.contentType)
			if status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%d %s, want %d with %s", status, body, test.status, test.want)
			}
		})
	}
}

func TestARouteIsThereBeforeItsFunctionIsBuilt(t *testing.T) {
	f := start(t, map[string]string{
		"f/f.go":          constant("f", t.Name()+time.Now().String()), // never built before
		"f/function.yaml": "triggers:\n  http:\n    - path: /early\n",
	}, nil)
	if status, body, _ := f.do("GET", "/early", ""); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

func TestAStreamWithoutEndIsRefusedWhereItMustEnd(t *testing.T) {
	f := start(t, map[string]string{"flood/flood.go": `package flood

import "iter"

func Handle() iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield("0123456789012345678901234567890123456789012345678901234567890123456789") {
		}
	}
}
`}, nil)
	f.awaitState("flood", host.Ready)
	m, err := f.Conn().Request("fn.flood", nil, 30*time.Second)
	if err != nil || m.Header.Get("Nats-Service-Error-Code") != "413" {
		t.Errorf("NATS: %v, %v", m, err)
	}
	f.await("the function has ended", func() bool {
		s, err := f.Function("flood")
		return err == nil && s.Workers.Running == 0
	})
}
