// Package examples_test runs the examples as a user would, with real input.
package examples_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a host that serves a folder of functions.
type running struct {
	*host.Host
	url string
}

func serve(t *testing.T, folder string) *running {
	t.Helper()
	h, err := host.New(host.Config{
		Dir: t.TempDir(), Watch: []string{folder}, HTTP: "127.0.0.1:0", Drain: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Listen(); err != nil {
		h.Close()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		run.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return &running{h, h.Info().HTTP}
}

// answer is that of a function, over HTTP or NATS.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// want checks status and body, of which text is a part.
func (a answer) want(t *testing.T, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(string(a.body), text) {
		t.Errorf("got %d %q, want %d with %q", a.status, a.body, status, text)
	}
}

// http sends a request. Headers are "name", "value", …
func (r *running) http(t *testing.T, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

// nats sends a request to a subject, and fails unless it is answered without error.
func (r *running) nats(t *testing.T, subject string, body []byte) *nats.Msg {
	t.Helper()
	m := r.natsAny(t, subject, body)
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		t.Fatalf("%s: %s %s", subject, m.Header.Get("Nats-Service-Error-Code"), text)
	}
	return m
}

func (r *running) natsAny(t *testing.T, subject string, body []byte) *nats.Msg {
	t.Helper()
	m, err := r.Conn().Request(subject, body, time.Minute)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

// awaitReady waits until all functions are built: requests over HTTP wait by
// themselves, those over NATS have nobody to take them before.
func (r *running) awaitReady(t *testing.T) {
	t.Helper()
	await(t, "all functions are ready", func() bool {
		for _, f := range r.Functions() {
			if f.State == string(host.Failed) {
				t.Fatalf("%s: %s", f.Name, f.Error)
			}
			if f.State != string(host.Ready) {
				return false
			}
		}
		return true
	})
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// One host serves the folder of the examples, as `fnhost dev examples` does.
func TestExamples(t *testing.T) {
	r := serve(t, ".")
	r.awaitReady(t)
	tests := []struct {
		name string
		run  func(*testing.T, *running)
	}{
		{"functions", testFunctions},
		{"hello", testHello},
		{"thumbnail", testThumbnail},
		{"markdown", testMarkdown},
		{"prices", testPrices},
		{"orders", testOrders},
		{"clock", testClock},
		{"checkout", testCheckout},
		{"thumbnailer", testThumbnailer},
		{"nightly", testNightly},
		{"counter", testCounter},
		{"sessions", testSessions},
		{"feature-flags", testFeatureFlags},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, r) })
	}
}

// Programs, such as embed, are no functions.
func testFunctions(t *testing.T, r *running) {
	var names []string
	for _, f := range r.Functions() {
		names = append(names, f.Name)
		if f.Doc == "" {
			t.Errorf("%s has no documentation", f.Name)
		}
	}
	if got, want := strings.Join(names, " "), "checkout clock counter feature-flags hello markdown nightly orders prices sessions thumbnail thumbnailer"; got != want {
		t.Errorf("functions = %s, want %s", got, want)
	}
}

func testHello(t *testing.T, r *running) {
	const want = `{"Message":"Hello, Ada"}`
	r.http(t, "POST", "/hello", []byte(`{"Name":"Ada"}`)).want(t, 200, want)
	r.http(t, "GET", "/hello?name=Ada", nil).want(t, 200, want)
	if m := r.nats(t, "fn.hello", []byte(`{"Name":"Ada"}`)); string(m.Data) != want {
		t.Errorf("NATS: %s", m.Data)
	}
}

// The examples are self-contained: somebody copies one, changes it, and goes on.
func TestExamplesElsewhere(t *testing.T) {
	folder := t.TempDir()
	names := []string{"clock", "hello", "markdown", "orders", "prices", "thumbnail"}
	for _, name := range names {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS(name)); err != nil {
			t.Fatal(err)
		}
	}
	r := serve(t, folder)
	r.awaitReady(t)
	testHello(t, r)
	testMarkdown(t, r)
	testPrices(t, r)
	testThumbnailSizes(t, r)
	testOrdersOverNATS(t, r)
	testClockOverNATS(t, r)

	page := filepath.Join(folder, "markdown", "page.md")
	if err := os.WriteFile(page, []byte("# Another title\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	await(t, "the page is the one that was saved", func() bool {
		a := r.http(t, "GET", "/markdown", nil)
		return a.status == 200 && strings.Contains(string(a.body), "<h1>Another title</h1>")
	})
}
