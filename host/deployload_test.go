package host_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/trigger/rpc"
)

// texts are the files of a function that answers with a text. There are ten
// programs of it, which the cache of builds keeps; the text is in the manifest.
func texts(name, text string, program int) map[string]string {
	return map[string]string{
		name + "/f.go":          fmt.Sprintf("package f\n\nimport \"os\"\n\nfunc Handle() string { return os.Getenv(\"TEXT\") + %q }\n", fmt.Sprint("/", program%10)),
		name + "/function.yaml": fmt.Sprintf("env: {TEXT: %q}\n", text),
	}
}

// answerOf is what a version of texts answers.
func answerOf(text string, program int) string { return fmt.Sprint(text, "/", program%10) }

// answers count what a function has answered, by version and text.
type answers struct {
	mu     sync.Mutex
	seen   map[string]int // "v3 text"
	failed atomic.Int64
}

func (a *answers) add(seen map[string]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, n := range seen {
		a.seen[key] += n
	}
}

// overHTTP sends requests on one connection until ctx ends.
func (a *answers) overHTTP(ctx context.Context, t *testing.T, client *http.Client, url string) {
	seen := make(map[string]int)
	defer func() { a.add(seen) }()
	for ctx.Err() == nil {
		resp, err := client.Post(url, "text/plain", strings.NewReader("x"))
		if err != nil {
			a.failed.Add(1)
			t.Errorf("request: %v", err)
			return
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			a.failed.Add(1)
			t.Errorf("request: %d %s %v", resp.StatusCode, b, err)
			return
		}
		seen[resp.Header.Get("X-Fn-Version")+" "+string(b)]++
	}
}

// overNATS sends requests, one after the other, until ctx ends.
func (a *answers) overNATS(ctx context.Context, t *testing.T, nc *nats.Conn, subject string) {
	seen := make(map[string]int)
	defer func() { a.add(seen) }()
	for ctx.Err() == nil {
		m, err := nc.Request(subject, []byte("x"), 30*time.Second)
		if err != nil || m.Header.Get(rpc.HeaderErrorCode) != "" {
			a.failed.Add(1)
			t.Errorf("request over NATS: %v %+v", err, m)
			return
		}
		seen["NATS "+string(m.Data)]++
	}
}

// check compares the answers with what the versions are to answer.
func (a *answers) check(t *testing.T, versions map[string]string) (requests int) {
	known := make(map[string]bool)
	for _, text := range versions {
		known[text] = true
	}
	for key, n := range a.seen {
		requests += n
		version, text, _ := strings.Cut(key, " ")
		if version == "NATS" && known[text] || versions[version] == text {
			continue
		}
		t.Errorf("%d answers %q of version %s, which answers %q", n, text, version, versions[version])
	}
	return requests
}

// churn changes what serves so many times, each time another way, and returns
// what each version answers.
func (f *fixture) churn(t *testing.T, changes int) map[string]string {
	versions := make(map[string]string)
	deploy := func(i int, o host.DeployOptions) string {
		text := fmt.Sprint("text", i)
		list, err := f.Deploy(t.Context(), tree(t, texts("busy", text, i)), o)
		if err != nil {
			t.Fatalf("deploy %d: %v", i, err)
		}
		versions[list[0].Version] = answerOf(text, i)
		return list[0].Version
	}
	serves := func(i int, version string) {
		if out, err := f.Invoke(t.Context(), "busy", nil); err != nil || string(out) != versions[version] {
			t.Errorf("after change %d: %q %v, want %s: %q", i, out, err, version, versions[version])
		}
	}
	deploy(0, host.DeployOptions{})
	for i := 1; i <= changes; i++ {
		var r *registry.Function
		var err error
		switch i % 5 {
		case 1, 2:
			serves(i, deploy(i, host.DeployOptions{}))
		case 3:
			r, err = f.Rollback(t.Context(), "busy", "test", 0)
		case 4:
			deploy(i, host.DeployOptions{Canary: 1 + i%99})
		case 0:
			if i%2 == 0 {
				r, err = f.Promote(t.Context(), "busy", "test")
			} else {
				r, err = f.Rollback(t.Context(), "busy", "test", 0)
			}
		}
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if r != nil {
			serves(i, r.Release.String())
		}
	}
	return versions
}

func TestDeploysAndRollbacksUnderLoadLoseNoRequest(t *testing.T) {
	changes := 100
	if testing.Short() {
		changes = 10
	}
	f := server(t)
	if _, err := f.Deploy(t.Context(), tree(t, texts("busy", "first", 0)), host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(f.Info().NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a := &answers{seen: make(map[string]int)}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	for range 64 {
		load.Go(func() { a.overHTTP(ctx, t, client, f.url+"/busy") })
	}
	for range 4 {
		load.Go(func() { a.overNATS(ctx, t, nc, "fn.busy") })
	}
	begin := time.Now()
	versions := map[string]string{"v1": answerOf("first", 0)}
	maps.Copy(versions, f.churn(t, changes))
	took := time.Since(begin)
	cancel()
	load.Wait()
	requests := a.check(t, versions)
	if a.failed.Load() > 0 || requests < changes {
		t.Errorf("%d of %d requests failed", a.failed.Load(), requests)
	}
	t.Logf("%d changes of %d versions in %v, %d requests, %d failed", changes, len(versions), took.Round(time.Millisecond), requests, a.failed.Load())
}
