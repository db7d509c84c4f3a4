package gitpush

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// held is a Deploy that waits.
type held struct {
	entered chan Push
	answer  chan error
}

func newHeld() *held { return &held{make(chan Push, 10), make(chan error)} }

func (h *held) deploy(ctx context.Context, p Push) error {
	h.entered <- p
	select {
	case err := <-h.answer:
		return err
	case <-ctx.Done():
		return errors.New("stopped by the context")
	}
}

func TestTwoPushesAtOnce(t *testing.T) {
	for _, first := range []error{nil, errors.New("does not compile")} {
		name := "the first fails"
		if first == nil {
			name = "the first succeeds"
		}
		t.Run(name, func(t *testing.T) {
			h := newHeld()
			r := serve(t, Config{Deploy: h.deploy})
			a, b := newClone(t, r.url+"hello.git"), newClone(t, r.url+"hello.git")
			commitA, commitB := a.commit("f", "a", "a"), b.commit("f", "b", "b")
			type result struct {
				out string
				err error
			}
			push := func(c *clone) chan result {
				done := make(chan result, 1)
				go func() {
					out, err := c.try("push", "fnhost", "main")
					done <- result{out, err}
				}()
				return done
			}
			doneA := push(a)
			receiveFrom(t, "the first push", h.entered)
			doneB := push(b)
			waitFor(t, "the second push", func() bool {
				r.repos.mu.Lock()
				defer r.repos.mu.Unlock()
				return r.repos.open["hello"].users == 2
			})
			h.answer <- first
			gotA := receiveFrom(t, "the first push", doneA)
			want := commitA
			if first != nil {
				receiveFrom(t, "the second push", h.entered)
				h.answer <- nil
				want = commitB
			}
			gotB := receiveFrom(t, "the second push", doneB)
			if (gotA.err == nil) != (first == nil) || (gotB.err == nil) == (first == nil) {
				t.Errorf("first: %v\n%ssecond: %v\n%s", gotA.err, gotA.out, gotB.err, gotB.out)
			}
			if first == nil {
				wantAll(t, gotB.out, "main has moved to "+commitA[:9]+" while this push was on its way: git pull, then push again")
			}
			if got := r.ref("hello", "refs/heads/main"); got != want {
				t.Errorf("main stands at %q, want %s", got, want)
			}
		})
	}
}

func TestManyPushesAtOnce(t *testing.T) {
	r := serve(t, Config{})
	var wg sync.WaitGroup
	won := make(chan string, 10)
	for range cap(won) {
		c := newClone(t, r.url+"hello.git")
		commit := c.commit("f", c.dir, "one")
		wg.Go(func() {
			if _, err := c.try("push", "fnhost", "main"); err == nil {
				won <- commit
			}
		})
	}
	wg.Wait()
	close(won)
	winner := <-won
	if more := len(won); more > 0 || len(r.deployed()) != 1 || r.ref("hello", "refs/heads/main") != winner {
		t.Errorf("%d more pushes succeeded; %d deploys; main at %q, want %s", more, len(r.deployed()), r.ref("hello", "refs/heads/main"), winner)
	}
	if err := newClone(t, r.url+"hello").command("fetch", "fnhost").Run(); err != nil {
		t.Errorf("fetch: %v", err)
	}
}

// waitFor waits until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", deadline, what)
		}
	}
}

func TestAnInterruptedClientDoesNotStopDeploy(t *testing.T) {
	for _, fail := range []error{nil, errors.New("no")} {
		h := newHeld()
		gone := make(chan struct{})
		r := serve(t, Config{Deploy: h.deploy}, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Method == "POST" && q.ContentLength != 4 {
					context.AfterFunc(q.Context(), func() { close(gone) })
				}
				next.ServeHTTP(w, q)
			})
		})
		c := newClone(t, r.url+"hello.git")
		want := c.commit("f", "1", "one")
		push := c.command("push", "fnhost", "main")
		push.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := push.Start(); err != nil {
			t.Fatal(err)
		}
		p := receiveFrom(t, "Deploy", h.entered)
		if err := syscall.Kill(-push.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		push.Wait()
		receiveFrom(t, "the server to notice", gone)
		if _, err := p.Output.Write([]byte("nobody reads this\n")); err != nil {
			t.Errorf("Output: %v", err)
		}
		h.answer <- fail
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if fail != nil {
			want = ""
		}
		if got := r.ref("hello", "refs/heads/main"); got != want {
			t.Errorf("Deploy returned %v, main stands at %q, want %q", fail, got, want)
		}
	}
}

func TestClientThatIsKilledWhileItSends(t *testing.T) {
	sent := make(chan struct{})
	r := serve(t, Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" && q.ContentLength != 4 {
				q.Body = &signal{ReadCloser: q.Body, after: 1 << 20, reached: sent}
			}
			next.ServeHTTP(w, q)
		})
	})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", noise(16<<20), "large")
	push := c.command("-c", "http.postBuffer=65536", "push", "fnhost", "main")
	push.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	receiveFrom(t, "the first megabyte", sent)
	syscall.Kill(-push.Process.Pid, syscall.SIGKILL)
	push.Wait()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := r.objects("hello"); len(left) > 0 || len(r.deployed()) > 0 {
		t.Errorf("%d deploys, objects %q", len(r.deployed()), left)
	}
}

// signal is a body that tells when some of it was read.
type signal struct {
	io.ReadCloser
	n, after int
	reached  chan struct{}
}

func (s *signal) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p[:min(len(p), 4096)])
	if s.n < s.after && s.n+n >= s.after {
		close(s.reached)
	}
	s.n += n
	return n, err
}

func TestCloseDuringADeploy(t *testing.T) {
	h := newHeld()
	r := serve(t, Config{Deploy: h.deploy})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := c.try("push", "fnhost", "main")
		done <- result{out, err}
	}()
	receiveFrom(t, "Deploy", h.entered)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	got := receiveFrom(t, "git push", done)
	if got.err == nil {
		t.Error("the push has succeeded")
	}
	wantAll(t, got.out, "remote: "+ErrClosed.Error())
	if r.ref("hello", "refs/heads/main") != "" || len(r.objects("hello")) > 0 {
		t.Errorf("main at %q, objects %q", r.ref("hello", "refs/heads/main"), r.objects("hello"))
	}
	c.fails([]string{"push", "fnhost", "main"}, "remote: "+ErrClosed.Error(), "503")
}

func TestShutdownWaitsForADeploy(t *testing.T) {
	h := newHeld()
	r := serve(t, Config{Deploy: h.deploy})
	c := newClone(t, r.url+"hello.git")
	want := c.commit("f", "1", "one")
	pushed := make(chan error, 1)
	go func() {
		_, err := c.try("push", "fnhost", "main")
		pushed <- err
	}()
	receiveFrom(t, "Deploy", h.entered)
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	h.answer <- nil
	if err := receiveFrom(t, "Shutdown", stopped); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := receiveFrom(t, "git push", pushed); err != nil || r.ref("hello", "refs/heads/main") != want {
		t.Errorf("push: %v, main at %q", err, r.ref("hello", "refs/heads/main"))
	}
}

func TestCloseWhileTheClientSends(t *testing.T) {
	r := serve(t, Config{})
	rest, more := io.Pipe()
	q, err := http.NewRequest("POST", r.url+"hello.git/git-receive-pack", rest)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	done := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(q)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	more.Write([]byte("00"))
	waitFor(t, "the request", func() bool {
		r.repos.mu.Lock()
		defer r.repos.mu.Unlock()
		return len(r.repos.open) == 1
	})
	r.Close()
	more.Close()
	receiveFrom(t, "the answer", done)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestAPushThatTakesTooLong(t *testing.T) {
	h := newHeld()
	r := serve(t, Config{Deploy: h.deploy, Timeout: 3 * time.Second}) // git has to have begun by then
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.fails([]string{"push", "fnhost", "main"}, "remote: the push took longer than 3s and was stopped", "remote rejected")
	if r.ref("hello", "refs/heads/main") != "" || len(r.objects("hello")) > 0 {
		t.Errorf("main at %q, objects %q", r.ref("hello", "refs/heads/main"), r.objects("hello"))
	}
}

func TestNewRemovesWhatAKilledHostHasLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "git")
	r := serve(t, Config{Dir: dir})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "1", "one")
	c.git("push", "fnhost", "main")
	want := r.objects("hello")
	r.Close()
	path := r.repos.path("hello")
	for _, name := range []string{
		"repos/hello.git/objects/tmp_objdir-incoming-x/ab/cd", "repos/hello.git/objects/incoming-x/pack/y",
		"repos/hello.git/objects/pack/tmp_pack_x", "repos/hello.git/HEAD.lock", "repos/hello.git/packed-refs.lock",
		"repos/hello.git/refs/heads/main.lock", "repos/hello.git/gc.pid", "run/1/hook", "tmp/push-1/f",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := serve(t, Config{Dir: dir})
	if got := again.objects("hello"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("objects %q, want %q", got, want)
	}
	for _, name := range []string{"HEAD.lock", "packed-refs.lock", "refs/heads/main.lock", "gc.pid"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	c.commit("f", "2", "two")
	c.git("push", again.url+"hello.git", "main")
	if _, tree := again.last(); tree != "644 f: 2\n" {
		t.Errorf("tree %s", tree)
	}
}

func TestRepositoriesAreTidiedUp(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	packs := func() int {
		list, err := filepath.Glob(filepath.Join(r.repos.path("hello"), "objects/pack/*.pack"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	most := 0
	for range 30 {
		c.commit("f", noise(100), "next")
		c.git("push", "fnhost", "main")
		most = max(most, packs())
	}
	r.tidying.Wait()
	if got := packs(); most < 5 || got > 21 {
		t.Errorf("%d packs after 30 pushes, at most %d", got, most)
	}
	if got := r.ref("hello", "refs/heads/main"); got != c.git("rev-parse", "HEAD") {
		t.Errorf("main stands at %s", got)
	}
}

// Others who reach the socket of a push must know its secret, too.
func TestStrangersAtTheHooksSocket(t *testing.T) {
	r := serve(t, Config{})
	var body bytes.Buffer
	capture := serve(t, Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" {
				q.Body = io.NopCloser(io.TeeReader(q.Body, &body))
			}
			next.ServeHTTP(w, q)
		})
	})
	c := newClone(t, capture.url+"hello.git")
	c.commit("f", "1", "one")
	c.git("push", "fnhost", "main")
	read, write := io.Pipe()
	answer := make(chan string, 1)
	go func() {
		_, text := r.do("POST", "hello.git/git-receive-pack", pushType, read)
		answer <- text
	}()
	write.Write(body.Next(10))
	var sockets []string
	waitFor(t, "the socket", func() bool {
		sockets, _ = filepath.Glob(r.path("run", "*", "hook"))
		return len(sockets) == 1
	})
	for _, say := range []string{"", "\x00", "null", `{"Version":1,"Secret":"","Updates":"x"}`, `{"Version":1,"Secret":"x"}`} {
		var conn net.Conn
		waitFor(t, "a connection", func() (ok bool) {
			var err error
			conn, err = net.Dial("unix", sockets[0])
			return err == nil
		})
		io.WriteString(conn, say)
		conn.(*net.UnixConn).CloseWrite()
		if all, err := io.ReadAll(conn); len(all) > 0 {
			t.Errorf("%q is answered by %q, %v", say, all, err)
		}
		conn.Close()
	}
	write.Write(body.Bytes())
	write.Close()
	wantAll(t, receiveFrom(t, "the answer", answer), "unpack ok", "ok refs/heads/main")
	if len(r.deployed()) != 1 {
		t.Errorf("%d deploys", len(r.deployed()))
	}
}
