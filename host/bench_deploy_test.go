package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/registry"
)

// served is fnhost itself, serving in a process of its own, with an environment
// for the commands that speak to it.
type served struct {
	b    *testing.B
	exe  string
	dir  string // its data directory is in it, and the source of hello
	env  []string
	info admin.Info
}

// serveFnhost builds the command and starts it.
func serveFnhost(b *testing.B) *served {
	b.Helper()
	s := &served{b: b, dir: b.TempDir()}
	s.exe = filepath.Join(s.dir, "fnhost")
	if out, err := exec.Command("go", "build", "-o", s.exe, "../cmd/fnhost").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	home := filepath.Join(s.dir, "home")
	s.env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "FNHOST_CACHE="+filepath.Join(cache, "fnhost"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	ready := filepath.Join(s.dir, "ready.json")
	output, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { output.Close() })
	cmd := s.command(s.exe, "serve", "--data", filepath.Join(s.dir, "data"), "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--ready-file", ready)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	var token []byte
	for end := time.Now().Add(time.Minute); token == nil; time.Sleep(10 * time.Millisecond) {
		said, _ := os.ReadFile(output.Name())
		if data, err := os.ReadFile(ready); err == nil && json.Unmarshal(data, &s.info) == nil {
			token = regexp.MustCompile(`fnhost_\w+`).Find(said)
		}
		if time.Now().After(end) {
			b.Fatalf("it does not serve:\n%s", said)
		}
	}
	add := s.command(s.exe, "server", "add", "bench", s.info.Admin)
	add.Stdin = strings.NewReader(string(token))
	s.run(add)
	return s
}

func (s *served) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

func (s *served) run(cmd *exec.Cmd) {
	s.b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// change writes hello with a text of its own.
func (s *served) change() (text string) {
	s.b.Helper()
	text = fmt.Sprint(time.Now().UnixNano())
	dir := filepath.Join(s.dir, "hello")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hello.go"), []byte(helloSource(text)), 0o644); err != nil {
		s.b.Fatal(err)
	}
	return text
}

// answers checks that hello answers with a text.
func (s *served) answers(text string) {
	s.b.Helper()
	resp, err := http.Get(s.info.HTTP + "/hello")
	if err != nil {
		s.b.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), text) {
		s.b.Fatalf("%d %s %v, want %s", resp.StatusCode, body, err, text)
	}
}

// timed runs what of each iteration is measured, after the same twice for what is
// kept in caches.
func timed(b *testing.B, prepare func() string, do func(), check func(text string)) {
	b.Helper()
	var times []time.Duration
	for i := 0; i < b.N+2; i++ {
		text := prepare()
		start := time.Now()
		do()
		check(text)
		if i >= 2 {
			times = append(times, time.Since(start))
		}
	}
	reportMedian(b, times)
}

// BenchmarkDeploy measures from the begin of a command to the first answer of the
// new version, or of the old one again.
func BenchmarkDeploy(b *testing.B) {
	s := serveFnhost(b)
	deploy := func() { s.run(s.command(s.exe, "deploy", "hello")) }
	b.Run("changed", func(b *testing.B) { timed(b, s.change, deploy, s.answers) })
	b.Run("unchanged", func(b *testing.B) {
		text := s.change()
		deploy()
		timed(b, func() string { return text }, deploy, s.answers)
	})
	b.Run("rollback", func(b *testing.B) {
		two := []string{s.change(), ""}
		deploy()
		two[1] = s.change()
		deploy()
		versions := s.newest()
		i := 0
		timed(b, func() string { i++; return two[(i+1)%2] }, func() { s.run(s.command(s.exe, "rollback", "hello", versions[i%2])) }, s.answers)
	})
	b.Run("push", func(b *testing.B) {
		text := s.change()
		git := func(args ...string) { s.run(s.command("git", append([]string{"-C", "hello"}, args...)...)) }
		git("init", "-q", "-b", "main")
		git("add", "-A")
		git("commit", "-qm", text)
		s.run(s.command(s.exe, "git-remote", "add", "hello"))
		prepare := func() string {
			text := s.change()
			git("commit", "-qam", text)
			return text
		}
		timed(b, prepare, func() { git("push", "-q", "fnhost", "main") }, s.answers)
	})
}

// newest returns the two newest versions of hello.
func (s *served) newest() []string {
	s.b.Helper()
	var list []admin.Version
	out, err := s.command(s.exe, "versions", "hello", "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		s.b.Fatal(err)
	}
	return []string{list[0].Version, list[1].Version}
}

// BenchmarkRollback measures a rollback inside the host, with the first answer.
func BenchmarkRollback(b *testing.B) {
	h := openHost(b, b.TempDir(), func(c *host.Config) { c.Watch = nil })
	defer h.Close()
	ctx := context.Background()
	for _, text := range []string{"one", "two"} {
		dir := benchDir(b, map[string]string{"hello.go": helloSource(text)})
		if _, err := h.Deploy(ctx, filepath.Join(dir, "functions"), host.DeployOptions{Name: "hello"}); err != nil {
			b.Fatal(err)
		}
	}
	var times []time.Duration
	for i := 0; i < b.N+2; i++ {
		start := time.Now()
		if _, err := h.SetRelease(ctx, "hello", "bench", registry.Whole(1+i%2)); err != nil {
			b.Fatal(err)
		}
		if out := invokeOK(b, h, "hello", ""); !strings.Contains(out, []string{"one", "two"}[i%2]) {
			b.Fatal(out)
		}
		if i >= 2 {
			times = append(times, time.Since(start))
		}
	}
	reportMedian(b, times)
}

// BenchmarkRestart measures the start of a host of 200 deployed functions, and the
// first call of each.
func BenchmarkRestart(b *testing.B) {
	const n = 200
	dir := b.TempDir()
	deployMany(b, dir, n)
	var serving, first []time.Duration
	for b.Loop() {
		s, f := restart(b, dir, n)
		serving, first = append(serving, s), append(first, f...)
	}
	reportMedian(b, first)
	reportMedianAs(b, serving, "serving-ms")
}

// BenchmarkDisk measures what ten versions of hello take, each a line different.
func BenchmarkDisk(b *testing.B) {
	dir := b.TempDir()
	h := openHost(b, dir, func(c *host.Config) { c.Watch = nil })
	defer h.Close()
	deploy := func(text string) {
		source := benchDir(b, map[string]string{"hello.go": helloSource(text)})
		if _, err := h.Deploy(context.Background(), filepath.Join(source, "functions"), host.DeployOptions{Name: "hello"}); err != nil {
			b.Fatal(err)
		}
	}
	kinds := map[string]string{
		"artifacts": "jetstream/*/streams/OBJ_artifacts", "sources": "jetstream/*/streams/OBJ_sources", "records": "jetstream/*/streams/KV_registry", "programs": "programs",
	}
	used := make(map[string]int64)
	look := func(versions int) {
		for kind, path := range kinds {
			used[fmt.Sprintf("%s-of-%d-KiB", kind, versions)] = diskUsed(b, filepath.Join(dir, "data", path))
		}
	}
	deploy("version 0")
	look(1)
	for i := 1; i < 10; i++ {
		deploy(fmt.Sprint("version ", i))
	}
	look(10)
	for b.Loop() {
	}
	for unit, bytes := range used {
		b.ReportMetric(float64(bytes)/1024, unit)
	}
}

// diskUsed returns how many bytes the files below a path take, as far as they are
// written. A file of several names counts once.
func diskUsed(b *testing.B, pattern string) (bytes int64) {
	b.Helper()
	roots, err := filepath.Glob(pattern)
	if err != nil || len(roots) == 0 {
		b.Fatalf("nothing is %s: %v", pattern, err)
	}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return bytes
}
