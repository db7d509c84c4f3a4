package builder

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// ask runs a built program as a host does, and returns its answer.
func ask(t *testing.T, program, endpoint, payload string) string {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	host, child := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "host")
	ready := make(chan struct{}, 1)
	session := wire.NewSession(host, wire.Config{Host: true, Control: func(f wire.Frame) {
		if f.Kind == wire.Ready {
			ready <- struct{}{}
		}
	}})
	cmd := exec.Command(program)
	cmd.Env = []string{wire.WorkerEnv + "=test"}
	cmd.ExtraFiles = []*os.File{child}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child.Close()
	ended := make(chan error, 1)
	go func() { ended <- session.Run() }()
	defer func() {
		session.Close()
		<-ended
		cmd.Process.Kill()
		cmd.Wait()
	}()
	select {
	case <-ready:
	case <-session.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("not ready in time")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	header := wire.Header{}.Add(wire.KeyEndpoint, endpoint).Add(":method", "GET").Add(":uri", "/x").Add(":host", "localhost")
	response, err := session.Do(ctx, &wire.Request{Kind: wire.Invoke, Header: header, Payload: []byte(payload)})
	if err != nil {
		t.Fatalf("%v; stderr: %s", err, stderr.String())
	}
	return string(response.Payload)
}

// withSum returns the go.sum that a module with golang.org/x/sync needs: this
// module has it, and so the module cache.
func withSum(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "golang.org/x/sync v0.24.0") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatal("go.sum has no golang.org/x/sync v0.24.0")
	}
	return strings.Join(lines, "")
}

func TestBuildsProgramsThatAnswer(t *testing.T) {
	const module = "module example.com/m\n\ngo 1.26.0\n"
	const upper = "package f\n\nimport \"strings\"\n\nfunc Handle(in string) string { return strings.ToUpper(in) }\n"
	const sync = "package f\n\nimport \"golang.org/x/sync/errgroup\"\n\nfunc Handle(in string) (string, error) {\n" +
		"\tvar g errgroup.Group\n\tg.Go(func() error { in += \"!\"; return nil })\n\treturn in, g.Wait()\n}\n"
	const serve = "package main\n\nimport \"github.com/fnhost/fnhost/functions\"\n\nfunc main() {\n" +
		"\tfunctions.Serve(functions.Handle(\"own\", func(in string) string { return in + \" of its own\" }))\n}\n"
	tests := []struct {
		name     string
		files    map[string]string
		dir      string // of the function
		endpoint string
		in, want string
	}{
		{"bare directory", map[string]string{"f.go": upper}, ".", "", "a", "A"},
		{"bare directory with a space in its name", map[string]string{"a b/f.go": upper}, "a b", "", "a", "A"},
		{"bare directory with a vendor directory", map[string]string{"f.go": upper, "vendor/x/x.go": "package x\n"}, ".", "", "a", "A"},
		{"second endpoint", map[string]string{"f.go": upper + "\nfunc HandleShoutLoud(in string) string { return Handle(in) + \"!\" }\n"}, ".", "shout-loud", "a", "A!"},
		{"package main without main", map[string]string{"f.go": strings.Replace(upper, "package f", "package main", 1)}, ".", "", "a", "A"},
		{"main of its own", map[string]string{"f.go": serve}, ".", "own", "a", "a of its own"},
		{"main of its own in a module", map[string]string{"f.go": serve, "go.mod": module}, ".", "own", "a", "a of its own"},
		{"http handler", map[string]string{"f.go": "package f\n\nimport (\n\t\"io\"\n\t\"net/http\"\n)\n\n" +
			"func Handle(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method+\" \"+r.URL.Path) }\n"}, ".", "", "", "GET /x"},
		{"dependency of a go.mod", map[string]string{"f.go": sync, "go.mod": module + "\nrequire golang.org/x/sync v0.24.0\n", "go.sum": withSum(t)}, ".", "", "a", "a!"},
		{"in a larger module", map[string]string{
			"go.mod": module, "go.work": "go 1.26\n\nuse ./elsewhere\n",
			"lib/lib.go":            "package lib\n\nfunc X(s string) string { return \"lib \" + s }\n",
			"fns/internal/in/in.go": "package in\n\nfunc Y(s string) string { return \"in \" + s }\n",
			"fns/internal/f/f.go": "package f\n\nimport (\n\t\"example.com/m/fns/internal/in\"\n\t\"example.com/m/lib\"\n)\n\n" +
				"func Handle(s string) string { return lib.X(in.Y(s)) }\n",
		}, "fns/internal/f", "", "a", "lib in a"},
		{"go.mod with another version of the library", map[string]string{"f.go": serve,
			"go.mod": module + "\nrequire github.com/fnhost/fnhost v0.1.2\n"}, ".", "own", "a", "a of its own"},
		{"go.mod with a checkout of the library", map[string]string{"f.go": serve,
			"go.mod": module + "\nrequire github.com/fnhost/fnhost v0.1.2\n\nreplace github.com/fnhost/fnhost => ../checkout\n"}, ".", "own", "a", "a of its own"},
		{"replacement in the tree", map[string]string{
			"go.mod":         module + "\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ./lib\n",
			"lib/go.mod":     "module example.com/lib\n\ngo 1.26\n",
			"lib/sub/l.go":   "package sub\n\nfunc X(s string) string { return \"replaced \" + s }\n",
			"functions/f.go": "package f\n\nimport \"example.com/lib/sub\"\n\nfunc Handle(s string) string { return sub.X(s) }\n",
		}, "functions", "", "a", "replaced a"},
		{"embedded files", map[string]string{"data/.hidden": "H", "data/x": "X",
			"f.go": "package f\n\nimport \"embed\"\n\n//go:embed all:data\nvar data embed.FS\n\n" +
				"func Handle(name string) (string, error) { b, err := data.ReadFile(name); return string(b), err }\n"}, ".", "", "data/.hidden", "H"},
	}
	b := newBuilder(t, Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := writeTree(t, test.files)
			before := listing(t, root)
			src := Source{Dir: filepath.Join(root, test.dir), Root: root}
			a := mustBuild(t, b, src)
			if got := ask(t, a.Path, test.endpoint, test.in); got != test.want {
				t.Errorf("answer %q, want %q", got, test.want)
			}
			if after := listing(t, root); after != before {
				t.Errorf("the tree of the user has changed, from\n%s\nto\n%s", before, after)
			}
			again := mustBuild(t, b, src)
			if again.How != Cached || again.ID != a.ID || again.Path != a.Path || again.Size != a.Size {
				t.Errorf("built again: %+v, want the cached %+v", again, a)
			}
		})
	}
}

func TestIDFollowsWhatTheProgramIsMadeOf(t *testing.T) {
	const handler = "package f\n\nimport _ \"embed\"\nimport _ \"example.com/m/lib\"\nimport _ \"example.com/dep\"\n\n" +
		"//go:embed all:static\nvar x embed.FS\n\n//go:embed\tnotes_test.go\nvar y string\n\nfunc Handle() {}\n"
	base := map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ./dep\n",
		"go.sum": "", "f/f.go": handler, "f/f_test.go": "package f\n", "f/README.md": "x", "f/static/.a/x": "x", "f/static/b": "x",
		"f/notes_test.go": "package f\n", "lib/lib.go": "package lib\n", "lib/other.txt": "x", "unused/u.go": "package unused\n",
		"dep/go.mod": "module example.com/dep\n", "dep/dep.go": "package dep\n", "shared/s.go": "package shared\n",
	}
	tests := []struct {
		file, text string
		changes    bool
	}{
		{"f/f.go", handler + "// a comment\n", true}, // positions are part of the program
		{"f/new.go", "package f\n", true},
		{"f/other_windows.go", "package f\n", true}, // it is not worth telling apart
		{"f/asm.s", "", true},
		{"f/object_linux.syso", "", true},
		{"f/f_test.go", "package f // changed\n", false},
		{"f/new_test.go", "package f\n", false},
		{"f/README.md", "changed", false},
		{"f/function.yaml", "timeout: 1s\n", false},
		{"f/static/.a/x", "changed", true},
		{"f/static/new", "", true},
		{"f/notes_test.go", "package f // changed\n", true}, // it is embedded
		{"lib/lib.go", "package lib // changed\n", true},
		{"lib/lib_test.go", "package lib\n", false},
		{"lib/other.txt", "changed", false},
		{"unused/u.go", "package unused // changed\n", false},
		{"dep/dep.go", "package dep // changed\n", true},
		{"dep/data/new", "", true},
		{"shared/s.go", "package shared // changed\n", true}, // through a link in dep
		{"go.mod", base["go.mod"] + "// changed\n", true},
		{"go.sum", "\n", true},
	}
	b := newBuilder(t, Config{})
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			root := writeTree(t, base)
			symlink(t, "../shared", filepath.Join(root, "dep", "shared"))
			src := Source{Dir: filepath.Join(root, "f"), Root: root}
			before, _, err := b.Scan(src)
			if err != nil {
				t.Fatal(err)
			}
			writeFiles(t, root, map[string]string{test.file: test.text})
			after, _, err := b.Scan(src)
			if err != nil {
				t.Fatal(err)
			}
			if (before != after) != test.changes {
				t.Errorf("ID changed: %v, want %v", before != after, test.changes)
			}
		})
	}
}

func TestABareSourceIsTheSameWhereverItLies(t *testing.T) {
	b := newBuilder(t, Config{})
	files := map[string]string{"f.go": "package f\n\nfunc Handle() {}\n"}
	x, y := mustBuild(t, b, Source{Dir: writeTree(t, files)}), mustBuild(t, b, Source{Dir: writeTree(t, files)})
	if x.ID != y.ID || y.How != Cached {
		t.Errorf("IDs %s and %s, How = %s, want one ID and %s", x.ID, y.ID, y.How, Cached)
	}
}
