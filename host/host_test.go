package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

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
		return errors.Is(err, functions.ErrNoFunction)
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
	if strings.Contains(body, `\n"`) || strings.Contains(body, `\n\n\n`) {
		t.Errorf("empty lines: %s", body)
	}
	f.write("f/f.go", "package f\n\nfunc init() { panic(1) }\n\nfunc Handle() string { return \"\" }\n")
	f.await("it does not start", func() bool {
		_, body, _ := f.do("GET", "/f", "", "Accept", "text/html")
		return strings.Contains(body, "<h1>f does not start</h1>")
	})
	f.write("f/f.go", constant("f", "now"))
	f.await("it is built once it can be", func() bool {
		status, body, _ := f.do("GET", "/f", "")
		return status == 200 && body == "now"
	})
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
	if _, err := f.Invoke(t.Context(), "lost", nil); !errors.Is(err, functions.ErrNoFunction) || !strings.Contains(err.Error(), `did you mean "three"`) {
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
		{"unknown function", "GET", "/ni", "", "", 404, "no_function"},
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

func TestARequestOverNATSWaitsForTheFirstBuild(t *testing.T) {
	f := start(t, map[string]string{"hello/hello.go": constant("hello", "there"), "broken/b.go": "package broken\n\nfunc Handle("}, nil)
	if m, err := f.Conn().Request("fn.hello", nil, time.Minute); err != nil || string(m.Data) != "there" {
		t.Errorf("answer %v, %v", m, err)
	}
	m, err := f.Conn().Request("fn.broken", nil, time.Minute)
	if err != nil || m.Header.Get("Fn-Error") != string(functions.Unavailable) {
		t.Errorf("answer %v of a function that does not build, %v", m, err)
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

func TestTheRootTellsFunctionsIfItIsToldTo(t *testing.T) {
	for _, index := range []bool{false, true} {
		f := start(t, map[string]string{"hello/h.go": constant("hello", "there")}, func(c *host.Config) { c.Index = index })
		f.awaitState("hello", host.Ready)
		status, body, _ := f.do("GET", "/", "", "Accept", "text/html")
		if told := status == 200 && strings.Contains(body, `href="/hello"`); told != index {
			t.Errorf("told to %v: %d %s", index, status, body)
		}
	}
}
