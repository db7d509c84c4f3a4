package host_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/builder/bundle"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/registry"
)

// deployHost is a host that functions are deployed to, with its data in
// FNHOST_BENCH_DIR.
func deployHost(ctx context.Context) error {
	h, err := host.New(host.Config{
		Dir: os.Getenv("FNHOST_BENCH_DIR"), HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", EncryptStore: os.Getenv("FNHOST_BENCH_ENCRYPT") != "",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if err := h.Listen(); err != nil {
		return err
	}
	info := h.Info()
	fmt.Println(info.HTTP, info.Admin)
	return h.Run(ctx)
}

// mortal is a host in a process of its own that is killed and started again, and
// what is to be true of it.
type mortal struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	url    string
	client *admin.Client
	stderr bytes.Buffer

	deploys  int
	versions map[string]string // that were acknowledged, and what they answer
	asked    map[string]bool   // answers of all versions that were ever asked for
	live     map[string]bool   // answers that may come now
	acked    int
}

func newMortal(t *testing.T) *mortal {
	return &mortal{t: t, dir: t.TempDir(), versions: make(map[string]string), asked: make(map[string]bool)}
}

func (m *mortal) start() {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd = exec.Command(self)
	m.cmd.Env = append(os.Environ(), "FNHOST_BENCH_ROLE=deploys", "FNHOST_BENCH_DIR="+m.dir)
	m.cmd.Stderr = &m.stderr
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		m.cmd.Wait()
		m.t.Fatalf("the host does not start again: %v\n%s", err, m.stderr.String())
	}
	fields := strings.Fields(line)
	m.url = fields[0]
	if m.client, err = admin.NewClient(fields[1], admin.ClientOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mortal) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// get asks a version of busy, the one that serves if none is named.
func (m *mortal) get(version string) (body, answered string) {
	m.t.Helper()
	req, err := http.NewRequest("GET", m.url+"/busy", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if version != "" {
		req.Header.Set("X-Fn-Version", version)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		m.t.Fatalf("version %q: %d %s %v\n%s", version, resp.StatusCode, b, err, m.stderr.String())
	}
	return string(b), resp.Header.Get("X-Fn-Version")
}

// deploy deploys a new version, and returns its name and what it answers.
func (m *mortal) deploy(ctx context.Context, canary int) (version, answer string, err error) {
	m.deploys++
	i := m.deploys
	text := fmt.Sprint("text", i)
	answer = answerOf(text, i)
	m.asked[answer] = true
	var body bytes.Buffer
	if _, err := bundle.Pack(ctx, tree(m.t, texts("busy", text, i)), &body, bundle.Limits{}); err != nil {
		m.t.Fatal(err)
	}
	req := admin.DeployRequest{ID: strings.ToLower(rand.Text()[:16]), Canary: canary}
	list, err := m.client.Deploy(ctx, req, &body, func(admin.DeployEvent) {})
	if err != nil {
		return "", answer, err
	}
	m.versions[list[0].Version] = answer
	return list[0].Version, answer, nil
}

// operate changes what serves, in one of four ways. Whatever comes of it, live
// then holds what may be answered.
func (m *mortal) operate(ctx context.Context, i int, list []admin.Version) error {
	before := m.live
	var version, answer string
	var err error
	switch i % 4 {
	case 0:
		version, answer, err = m.deploy(ctx, 0)
	case 1:
		version = list[mathrand.IntN(len(list))].Version
		_, err = m.client.Release(ctx, "busy", admin.ReleaseRequest{Rollback: version})
	case 2:
		if version, answer, err = m.deploy(ctx, 40); err == nil {
			m.live = union(before, answer)
			m.acked++
			return nil
		}
	case 3:
		version = list[len(list)-1].Version
		_, err = m.client.Release(ctx, "busy", admin.ReleaseRequest{Parts: []admin.Part{{Version: version, Weight: 100}}})
	}
	if answer == "" {
		answer = m.versions[version]
	}
	if err != nil {
		m.live = union(before, answer)
		return err
	}
	m.acked++
	m.live = map[string]bool{answer: true}
	return nil
}

func union(set map[string]bool, more string) map[string]bool {
	u := map[string]bool{more: true}
	for key := range set {
		u[key] = true
	}
	return u
}

// operateUntilKilled changes what serves until the host is killed, after delay.
func (m *mortal) operateUntilKilled(delay time.Duration) {
	list, err := m.client.Versions(m.t.Context(), "busy")
	if err != nil {
		m.t.Fatal(err)
	}
	killed := make(chan struct{})
	timer := time.AfterFunc(delay, func() {
		m.cmd.Process.Kill()
		close(killed)
	})
	defer timer.Stop()
	for i := mathrand.IntN(4); ; i++ {
		if err = m.operate(m.t.Context(), i, list); err != nil {
			break
		}
		if i%4 == 0 || i%4 == 2 {
			if list, err = m.client.Versions(m.t.Context(), "busy"); err != nil {
				break
			}
		}
	}
	select {
	case <-killed:
	case <-time.After(time.Second):
		m.t.Fatalf("while the host lived: %v\n%s", err, m.stderr.String())
	}
	var problem *admin.Problem
	if errors.As(err, &problem) {
		m.t.Errorf("a host that is killed finds a problem: %v", err)
	}
	m.kill()
}

// check looks at a host that was started again.
func (m *mortal) check() {
	m.t.Helper()
	list, err := m.client.Versions(m.t.Context(), "busy")
	if err != nil {
		m.t.Fatal(err)
	}
	serve := make(map[string]bool) // answers of what is released
	listed := make(map[string]bool)
	for _, v := range list {
		listed[v.Version] = true
		body, version := m.get(v.Version)
		want, acknowledged := m.versions[v.Version]
		if version != v.Version || acknowledged && body != want || !m.asked[body] {
			m.t.Errorf("version %s answers %q as %s, want %q", v.Version, body, version, want)
		}
		if text, _ := v.Manifest.(map[string]any)["env"].(map[string]any)["TEXT"].(string); !strings.HasPrefix(body, text+"/") {
			m.t.Errorf("version %s answers %q, and its manifest says %q", v.Version, body, text)
		}
		m.versions[v.Version] = body
		if v.Weight > 0 {
			serve[body] = true
		}
		if _, err := m.client.Version(m.t.Context(), "busy", v.Version); err != nil {
			m.t.Errorf("version %s: %v", v.Version, err)
		}
	}
	for answer := range serve {
		if !m.live[answer] {
			m.t.Errorf("%q is released, of what may be: %v", answer, m.live)
		}
	}
	if body, _ := m.get(""); !serve[body] {
		m.t.Errorf("%q is answered, of what is released: %v", body, serve)
	}
	m.live = serve
	m.checkKept(list, listed)
}

// checkKept looks for acknowledged versions that have gone, but for those that
// are too old to be kept.
func (m *mortal) checkKept(list []admin.Version, listed map[string]bool) {
	oldest, err := registry.ParseVersion(list[min(len(list), registry.Keep)-1].Version)
	if err != nil {
		m.t.Fatal(err)
	}
	for version := range m.versions {
		number, err := registry.ParseVersion(version)
		if err != nil {
			m.t.Fatal(err)
		}
		if number >= oldest && !listed[version] {
			m.t.Errorf("version %s is lost", version)
		}
	}
}

// checkGarbage looks at what killed hosts have left in the data directory.
func (m *mortal) checkGarbage() {
	for pattern, most := range map[string]int{"run/bundle-*": 0, "run/deploy-*": 0, "run/*": 2 * registry.Keep, "programs/.*": 0, "programs/*": 4 * 10} {
		left, err := filepath.Glob(filepath.Join(m.dir, pattern))
		if err != nil {
			m.t.Fatal(err)
		}
		if len(left) > most {
			m.t.Errorf("%d files are %s, at most %d should be: %v", len(left), pattern, most, left)
		}
	}
	s, err := m.client.Status(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("stored: %+v", *s.Stored)
	if s.Stored.Artifacts > 10*6<<20 {
		m.t.Errorf("10 programs take %d bytes", s.Stored.Artifacts)
	}
}

func TestAHostKilledDuringDeploysLosesNothing(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	m := newMortal(t)
	m.start()
	t.Cleanup(func() { m.kill() })
	for range 10 { // one version of each program, so that none is built later
		if _, answer, err := m.deploy(t.Context(), 0); err != nil {
			t.Fatal(err)
		} else {
			m.live = map[string]bool{answer: true}
		}
	}
	begin := time.Now()
	for range rounds {
		m.operateUntilKilled(time.Duration(mathrand.IntN(200)) * time.Millisecond)
		m.start()
		m.check()
		if t.Failed() {
			t.Fatalf("after %d versions; the host said:\n%s", m.deploys, m.stderr.String())
		}
	}
	m.checkGarbage()
	t.Logf("%d kills in %v: %d changes acknowledged, %d deploys, 0 lost", rounds, time.Since(begin).Round(time.Second), m.acked, m.deploys)
}
