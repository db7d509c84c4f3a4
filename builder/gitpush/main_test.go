package gitpush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// deadline is how long a test waits for what must happen.
const deadline = 30 * time.Second

// httpTimeout is that of the HTTP server for a whole request and its answer.
const httpTimeout = time.Second

func TestMain(m *testing.M) {
	if IsHook() {
		syscall.Exit(RunHook(os.Stdin, os.Stderr)) // os.Exit takes a second when races are looked for
	}
	goleak.VerifyTestMain(m)
}

// remote is a Server behind a real HTTP server.
type remote struct {
	*Server
	t    *testing.T
	url  string
	log  *logBuffer
	http *http.Server

	mu     sync.Mutex
	pushes []Push
	trees  []string // what each Deploy has found in its Dir
}

// serve starts a Server. A Deploy that is missing accepts all.
func serve(t *testing.T, cfg Config, wrap ...func(http.Handler) http.Handler) *remote {
	t.Helper()
	r := &remote{t: t, log: &logBuffer{}}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "git")
	}
	deploy := cfg.Deploy
	cfg.Deploy = func(ctx context.Context, p Push) error {
		tree := listing(t, p.Dir)
		r.mu.Lock()
		r.pushes = append(r.pushes, p)
		r.trees = append(r.trees, tree)
		r.mu.Unlock()
		if deploy == nil {
			return nil
		}
		return deploy(ctx, p)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = http.StripPrefix("/git", s)
	for _, w := range wrap {
		handler = w(handler)
	}
	r.url = "http://" + listener.Addr().String() + "/git/"
	r.http = &http.Server{Handler: handler, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelError)}
	done := make(chan struct{})
	go func() {
		r.http.Serve(listener)
		close(done)
	}()
	t.Cleanup(func() {
		s.Close()
		r.http.Close()
		<-done
		if t.Failed() {
			t.Logf("log of the server:\n%s", r.log)
		}
	})
	return r
}

// deployed returns what was deployed so far.
func (r *remote) deployed() []Push {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pushes
}

// last returns the latest push and what its tree held.
func (r *remote) last() (Push, string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pushes) == 0 {
		r.t.Fatal("nothing was deployed")
	}
	return r.pushes[len(r.pushes)-1], r.trees[len(r.trees)-1]
}

// ref returns where a ref of a repository of the server stands.
func (r *remote) ref(name, ref string) string {
	r.t.Helper()
	value, err := r.refValue(r.t.Context(), &repo{path: r.repos.path(name)}, ref)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// objects returns all files below the objects directory of a repository.
func (r *remote) objects(name string) []string {
	r.t.Helper()
	var files []string
	dir := filepath.Join(r.repos.path(name), "objects")
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() || strings.Contains(e.Name(), "incoming") {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}

// listing describes the files of dir, a line each: mode, path and content.
func listing(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.Type() == fs.ModeSymlink {
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, "link %s -> %s\n", rel, target)
			return nil
		}
		data, err := os.ReadFile(path)
		if len(data) > 100 {
			data = fmt.Appendf(nil, "%d bytes", len(data))
		}
		fmt.Fprintf(&b, "%o %s: %s\n", info.Mode().Perm(), rel, strings.TrimSpace(string(data)))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

// clone is a working copy of a pusher.
type clone struct {
	t   *testing.T
	dir string
}

// newClone returns a repository with the branch main and the remote fnhost.
func newClone(t *testing.T, url string) *clone {
	t.Helper()
	c := &clone{t, t.TempDir()}
	c.git("init", "-q", "-b", "main")
	c.git("config", "core.compression", "0") // some tests push much that cannot be compressed
	c.git("remote", "add", "fnhost", url)
	return c
}

// clientEnv is an environment that knows nothing of the developer's git.
func clientEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com"}
}

// command is a git command in the clone, which is killed when the test ends.
func (c *clone) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir, cmd.Env = c.dir, clientEnv(c.dir)
	return cmd
}

// try runs git, and returns what it prints.
func (c *clone) try(args ...string) (string, error) {
	out, err := c.command(args...).CombinedOutput()
	return string(out), err
}

// git runs git, which must work.
func (c *clone) git(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// fails runs git, which must fail and say all of want.
func (c *clone) fails(args []string, want ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		c.t.Errorf("git %s: %v, want it to fail\n%s", strings.Join(args, " "), err, out)
	}
	wantAll(c.t, out, want...)
	return out
}

func wantAll(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("output lacks %q:\n%s", w, text)
		}
	}
}

// write writes a file of the working copy.
func (c *clone) write(name, content string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// commit writes a file, commits all, and returns the commit.
func (c *clone) commit(name, content, message string) string {
	c.t.Helper()
	c.write(name, content)
	c.git("add", "-A")
	c.git("commit", "-q", "--allow-empty", "-m", message)
	return c.git("rev-parse", "HEAD")
}

// logBuffer is a logger's output.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// receiveFrom waits for a value.
func receiveFrom[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(deadline):
		t.Fatalf("waited %v for %s", deadline, what)
	}
	panic("unreachable")
}
