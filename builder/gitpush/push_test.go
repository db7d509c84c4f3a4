package gitpush

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFirstAndSecondPush(t *testing.T) {
	r := serve(t, Config{User: func(*http.Request) string { return "ada" }})
	c := newClone(t, r.url+"hello.git")
	c.write("deep/er/run.sh", "#!/bin/sh")
	if err := os.Chmod(filepath.Join(c.dir, "deep/er/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	first := c.commit("hello.go", "package hello", "say hello\n\nat length")
	c.git("push", "fnhost", "main")
	p, tree := r.last()
	if want := "755 deep/er/run.sh: #!/bin/sh\n644 hello.go: package hello\n"; tree != want {
		t.Errorf("tree\n%swant\n%s", tree, want)
	}
	if age := time.Since(p.Time); age < 0 || age > time.Hour {
		t.Errorf("time of the commit: %v", p.Time)
	}
	want := Push{Repo: "hello", Ref: "refs/heads/main", Commit: first, Author: "Ada <ada@example.com>", Subject: "say hello",
		User: "ada", Time: p.Time, Dir: p.Dir, Output: p.Output}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("push %+v, want %+v", p, want)
	}
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree is there after Deploy: %v", err)
	}
	second := c.commit("hello.go", "package hello // 2", "again")
	c.git("push", "fnhost", "main", "-o", "env=production", "-o", "a b")
	p, _ = r.last()
	if p.Old != first || p.Commit != second || !reflect.DeepEqual(p.Options, []string{"env=production", "a b"}) {
		t.Errorf("second push %+v", p)
	}
	if got := r.ref("hello", "refs/heads/main"); got != second {
		t.Errorf("main stands at %q, want %s", got, second)
	}
	if out := c.git("push", "fnhost", "main"); !strings.Contains(out, "up-to-date") || len(r.deployed()) != 2 {
		t.Errorf("a push of nothing new: %d deploys, %s", len(r.deployed()), out)
	}
	back := newClone(t, r.url+"hello")
	back.git("pull", "-q", "fnhost", "main")
	if got := back.git("rev-parse", "HEAD"); got != second {
		t.Errorf("cloned %s, want %s", got, second)
	}
}

// Deploy also takes longer here than the http.Server lets a request take.
func TestOutputIsShownWhileDeployRuns(t *testing.T) {
	seen := make(chan bool)
	r := serve(t, Config{Deploy: func(ctx context.Context, p Push) error {
		fmt.Fprintln(p.Output, "compiling hello")
		select {
		case <-seen:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		<-time.After(httpTimeout + httpTimeout/2)
		fmt.Fprintln(p.Output, "hello is live")
		return nil
	}})
	c := newClone(t, r.url+"hello.git")
	c.commit("hello.go", "package hello", "hello")
	push := c.command("push", "fnhost", "main")
	stderr, err := push.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "remote: compiling hello") {
			close(seen)
		}
	}
	if err := push.Wait(); err != nil {
		t.Errorf("push: %v", err)
	}
	wantAll(t, all.String(), "remote: compiling hello", "remote: hello is live")
}

func TestAFailedDeployLeavesNothing(t *testing.T) {
	fail := true
	r := serve(t, Config{Deploy: func(_ context.Context, p Push) error {
		if fail {
			return errors.New("hello.go:3:1: undefined: x\nhello.go:4:1: undefined: y")
		}
		return nil
	}})
	c := newClone(t, r.url+"hello.git")
	c.commit("hello.go", "package hello", "hello")
	check := func(want string, objects []string) {
		t.Helper()
		c.fails([]string{"push", "fnhost", "main"}, "remote: hello.go:3:1: undefined: x", "remote: hello.go:4:1: undefined: y", "! [remote rejected] main -> main")
		if got := r.ref("hello", "refs/heads/main"); got != want {
			t.Errorf("main stands at %q, want %q", got, want)
		}
		if got := r.objects("hello"); !reflect.DeepEqual(got, objects) {
			t.Errorf("objects %q, want %q", got, objects)
		}
	}
	check("", nil)
	fail = false
	good := c.git("rev-parse", "HEAD")
	c.git("push", "fnhost", "main")
	fail = true
	before := r.objects("hello")
	c.commit("hello.go", "package hello // bad", "bad")
	check(good, before)
	left, err := os.ReadDir(r.path("tmp"))
	if err != nil || len(left) != 1 { // the empty repository
		t.Errorf("left in tmp: %v, %v", left, err)
	}
	if left, err := os.ReadDir(r.path("run")); err != nil || len(left) != 0 {
		t.Errorf("left in run: %v, %v", left, err)
	}
}

// noise is what no compression makes smaller.
func noise(n int) string {
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	random.Read(b)
	return string(b)
}

func TestLargePushes(t *testing.T) {
	const size = 5 << 20
	for _, buffer := range []string{"65536", "1048576", "104857600"} { // chunked, chunked, with a length
		t.Run(buffer, func(t *testing.T) {
			r := serve(t, Config{})
			c := newClone(t, r.url+"hello.git")
			c.commit("data", noise(size), "data")
			c.git("-c", "http.postBuffer="+buffer, "push", "fnhost", "main")
			if _, tree := r.last(); tree != fmt.Sprintf("644 data: %d bytes\n", size) {
				t.Errorf("tree %s", tree)
			}
		})
	}
}

func TestAPushThatIsTooLargeFails(t *testing.T) {
	for _, buffer := range []string{"65536", "104857600"} {
		t.Run(buffer, func(t *testing.T) {
			r := serve(t, Config{MaxPush: 1 << 20})
			c := newClone(t, r.url+"hello.git")
			c.commit("data", noise(20<<20), "data")
			out := c.fails([]string{"-c", "http.postBuffer=" + buffer, "push", "fnhost", "main"}, "pack exceeds maximum allowed size (1024.00 KiB)")
			if strings.Contains(out, "up-to-date") || len(r.deployed()) > 0 || r.ref("hello", "refs/heads/main") != "" || len(r.objects("hello")) > 0 {
				t.Errorf("%d deploys, objects %q\n%s", len(r.deployed()), r.objects("hello"), out)
			}
		})
	}
}

func TestTrees(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"too many files", Config{MaxFiles: 2}, "the tree has more than 2 files"},
		{"a large file", Config{MaxFile: 1 << 20}, "b has 1.5 MiB, and a file may have 1.0 MiB"},
		{"a large tree", Config{MaxTree: 2 << 20}, "the files of the tree have more than 2.0 MiB together"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := serve(t, test.config)
			c := newClone(t, r.url+"hello.git")
			c.write("a", "")
			c.write("b", strings.Repeat("b", 3<<19))
			c.commit("c", strings.Repeat("c", 1<<20), "files")
			c.fails([]string{"push", "fnhost", "main"}, "remote: "+test.want)
			if len(r.deployed()) > 0 || len(r.objects("hello")) > 0 {
				t.Errorf("%d deploys, objects %q", len(r.deployed()), r.objects("hello"))
			}
		})
	}
}
