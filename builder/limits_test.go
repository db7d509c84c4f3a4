package builder

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const trivial = "package f\n\nfunc Handle() {}\n"

func TestRefusesSourceThatLeavesItsTree(t *testing.T) {
	outside := writeTree(t, map[string]string{
		"go.mod": "module secret\n\nbad line\n", "secret.go": "root:x:0:0\n", "lib/lib.go": "package lib\n", "data": "secret",
	})
	const module = "module example.com/m\n\ngo 1.26\n"
	const embed = "package f\n\nimport _ \"embed\"\n\n//go:embed data\nvar x string\n\nfunc Handle() {}\n"
	const replace = module + "\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => "
	tests := []struct {
		name  string
		files map[string]string
		links map[string]string // link → target
		want  string            // the start of the diagnostics
	}{
		{"relative replace", map[string]string{"go.mod": replace + "../lib\n"}, nil,
			"go.mod:7:1: replace example.com/lib => ../lib leaves the source tree "},
		{"absolute replace", map[string]string{"go.mod": replace + "/abs/lib\n"}, nil,
			"go.mod:7:1: replace example.com/lib => /abs/lib leaves the source tree "},
		{"replace by a link", map[string]string{"go.mod": replace + "./lib\n"}, map[string]string{"lib": "lib"},
			"go.mod:7:1: replace example.com/lib => ./lib leaves the source tree "},
		{"link in a replacement", map[string]string{"go.mod": replace + "./lib\n", "lib/go.mod": "module example.com/lib\n"}, map[string]string{"lib/sub": "lib"},
			"lib/sub: a symbolic link that leaves "},
		{"source file", nil, map[string]string{"fn/x.go": "secret.go"}, "fn/x.go: a symbolic link that leaves "},
		{"assembly", nil, map[string]string{"fn/x.s": "data"}, "fn/x.s: a symbolic link that leaves "},
		{"package of the module", map[string]string{"go.mod": module, "fn/y.go": "package f\n\nimport _ \"example.com/m/lib\"\n"},
			map[string]string{"lib": "lib"}, "lib/lib.go: a symbolic link that leaves "},
		{"embedded file", map[string]string{"fn/f.go": embed}, map[string]string{"fn/data": "data"}, "fn/data: a symbolic link that leaves "},
		{"embedded directory", map[string]string{"fn/f.go": embed}, map[string]string{"fn/data": "lib"}, "fn/data: a symbolic link that leaves "},
		{"link below an embedded directory", map[string]string{"fn/f.go": embed, "fn/data/x": ""}, map[string]string{"fn/data/y": "data"}, "fn/data/y: a symbolic link that leaves "},
		{"go.mod", nil, map[string]string{"go.mod": "go.mod"}, "go.mod: a symbolic link that leaves "},
		{"go.sum", map[string]string{"go.mod": module}, map[string]string{"go.sum": "data"}, "go.sum: a symbolic link that leaves "},
	}
	b := newBuilder(t, Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := writeTree(t, map[string]string{"fn/f.go": trivial})
			writeFiles(t, root, test.files)
			for link, target := range test.links {
				symlink(t, filepath.Join(outside, target), filepath.Join(root, link))
			}
			_, err := b.Build(t.Context(), Source{Dir: filepath.Join(root, "fn"), Root: root})
			list := diagnosticsOf(t, err)
			if got := places(list, root); !strings.HasPrefix(got, test.want) || len(list) != 1 {
				t.Errorf("diagnostics %q, want one: %q", got, test.want)
			}
			if strings.Contains(list[0].Excerpt, "secret") || strings.Contains(list[0].Excerpt, "root:") {
				t.Errorf("the excerpt quotes a file from outside:\n%s", list[0].Excerpt)
			}
		})
	}
}

func TestBuildsThroughLinksThatStay(t *testing.T) {
	elsewhere := writeTree(t, map[string]string{"f.go": trivial})
	root := writeTree(t, map[string]string{
		"real/f.go": "package f\n\nimport \"example.com/lib\"\n\nfunc Handle() string { return lib.X }\n", "shared/lib.go": "package lib\n\nconst X = \"linked\"\n",
		"shared/go.mod": "module example.com/lib\n\ngo 1.26\n",
		"go.mod":        "module example.com/m\n\ngo 1.26\n\nrequire example.com/lib v1.0.0\n\nreplace example.com/lib => ./lib\n",
	})
	symlink(t, "shared", filepath.Join(root, "lib"))
	symlink(t, "real", filepath.Join(root, "link"))
	symlink(t, elsewhere, filepath.Join(root, "elsewhere"))
	symlink(t, "nobody@nowhere.1", filepath.Join(root, "real", ".#f.go")) // of an editor
	b := newBuilder(t, Config{})
	for name, want := range map[string]string{"link": "linked", "elsewhere": ""} {
		a := mustBuild(t, b, Source{Dir: filepath.Join(root, name), Root: root})
		if got := ask(t, a.Path, "", ""); got != want {
			t.Errorf("%s: answer %q, want %q", name, got, want)
		}
	}
	src := Source{Dir: filepath.Join(root, "link"), Root: root}
	before := mustBuild(t, b, src)
	writeFiles(t, root, map[string]string{"shared/lib.go": "package lib\n\nconst X = \"changed\"\n"})
	if after := mustBuild(t, b, src); after.ID == before.ID {
		t.Error("a change behind a link to a replacement was not seen")
	}
}

func TestPipesAreNotWaitedFor(t *testing.T) {
	b := newBuilder(t, Config{})
	for _, name := range []string{"fn/x.go", "lib/x.go", "go.mod", "go.sum"} {
		t.Run(name, func(t *testing.T) {
			root := writeTree(t, map[string]string{"fn/f.go": trivial})
			if strings.HasSuffix(name, ".go") {
				writeFiles(t, root, map[string]string{"go.mod": "module example.com/m\n\ngo 1.26\n", "lib/lib.go": "package lib\n",
					"fn/f.go": "package f\n\nimport _ \"example.com/m/lib\"\n\nfunc Handle() {}\n"})
			}
			if err := syscall.Mkfifo(filepath.Join(root, name), 0o644); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := b.Build(context.Background(), Source{Dir: filepath.Join(root, "fn"), Root: root})
				done <- err
			}()
			select {
			case err := <-done:
				if !strings.HasSuffix(name, ".go") {
					if err != nil { // it is as if it were not there
						t.Error(err)
					}
				} else if got, want := places(diagnosticsOf(t, err), root), name+": not a regular file"; got != want {
					t.Errorf("diagnostics %q, want %q", got, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the build waits for the pipe")
			}
		})
	}
}

// ownTemp makes the temporary directory of builds one that only this test uses.
func ownTemp(t *testing.T) string {
	dir := tempDir(t)
	t.Setenv("TMPDIR", dir)
	return dir
}

// processesOf returns the command lines of the processes that have text in
// their command line or environment, this one aside.
func processesOf(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, dir := range dirs {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if real, _ := os.Readlink("/proc/self"); filepath.Base(dir) != real && (bytes.Contains(args, []byte(text)) || bytes.Contains(env, []byte(text))) {
			found = append(found, string(bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// checkNothingLeft checks that a build that used temp has left nothing.
func checkNothingLeft(t *testing.T, temp string) {
	t.Helper()
	var left []string
	for range 100 { // the killed are reaped by init, in its own time
		if left = processesOf(t, temp); len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left in the temporary directory: %s", e.Name())
	}
}

func TestALargeOutputIsStopped(t *testing.T) {
	temp := ownTemp(t)
	b := newBuilder(t, Config{MaxOutput: 16 << 20})
	dir := writeTree(t, map[string]string{"f.go": "package f\n\nvar X = [1 << 28]byte{1}\n\nfunc Handle() string { return string(X[:1]) }\n"})
	_, err := b.Build(t.Context(), Source{Dir: dir})
	want := "the build writes a file of more than 16 MiB and was stopped: large data is better read at run time"
	if list := diagnosticsOf(t, err); len(list) != 1 || list[0].Message != want {
		t.Errorf("diagnostics %q, want %q", places(list, dir), want)
	}
	checkNothingLeft(t, temp)
	err = filepath.WalkDir(filepath.Join(b.cache, "go-build"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // another test trims it
		}
		if info, err := e.Info(); err == nil && info.Size() > 15<<20 && time.Since(info.ModTime()) < time.Minute {
			t.Errorf("%s holds %d MiB", path, info.Size()>>20)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// slow is a program that takes the compiler some seconds, and that no other test builds.
func slow(t *testing.T) map[string]string {
	var b strings.Builder
	b.WriteString("package f\n\n// " + t.TempDir() + "\nfunc Handle() {}\n\nfunc work(m map[string]int) {\n")
	for range 30_000 {
		b.WriteString("\tm[\"a\"] += m[\"b\"] * m[\"c\"]\n")
	}
	b.WriteString("}\n\nvar _ = work\n")
	return map[string]string{"f.go": b.String()}
}

func TestABuildThatTakesTooLongIsStopped(t *testing.T) {
	temp := ownTemp(t)
	dir := writeTree(t, slow(t))
	b := newBuilder(t, Config{Timeout: 300 * time.Millisecond})
	_, err := b.Build(t.Context(), Source{Dir: dir})
	want := "the build took longer than 300ms and was stopped"
	if list := diagnosticsOf(t, err); len(list) != 1 || list[0].Message != want || list[0].File != dir {
		t.Errorf("diagnostics %q, want %q", places(list, ""), want)
	}
	checkNothingLeft(t, temp)
}

// Each step of the fast path alone is within the limit.
func TestTheFastPathHasNoMoreTimeThanABuild(t *testing.T) {
	temp := ownTemp(t)
	dir := writeTree(t, map[string]string{"f.go": unique(t, 1)})
	b := newBuilder(t, Config{Timeout: 1500 * time.Millisecond})
	src, err := readTree(Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	sleep := step{dir: dir, args: []string{"/bin/sleep", "1"}, config: workVar + "/importcfg"}
	b.fast.put(b.fastKey(src), &recipe{user: sleep, main: sleep, link: sleep})
	start := time.Now()
	_, err = b.Build(t.Context(), Source{Dir: dir})
	if list := diagnosticsOf(t, err); list[0].Message != "the build took longer than 1.5s and was stopped" {
		t.Errorf("diagnostics %q", places(list, ""))
	}
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("stopped after %v", took)
	}
	checkNothingLeft(t, temp)
}

func TestACancelledBuildIsKilledAtOnce(t *testing.T) {
	temp := ownTemp(t)
	dir := writeTree(t, slow(t))
	b := newBuilder(t, Config{})
	because := errors.New("there is newer source")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.Build(ctx, Source{Dir: dir})
		done <- err
	}()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(strings.Join(processesOf(t, temp), "\n"), "/compile ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no compiler was started")
		}
	}
	start := time.Now()
	cancel(because)
	if err := <-done; !errors.Is(err, because) {
		t.Errorf("error %v, want %v", err, because)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v to stop", took)
	}
	checkNothingLeft(t, temp)
}

func TestVersionControlOfTheSourceRunsNothing(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"f.go":        trivial + "// " + t.TempDir() + "\n",
		"go.mod":      "module example.com/m\n\ngo 1.26\n",
		".git/HEAD":   "ref: refs/heads/main\n",
		".git/config": "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"touch ran #\"\n\tsshCommand = \"touch ran\"\n",
		".git/refs/x": "", ".git/objects/x": "",
	})
	mustBuild(t, newBuilder(t, Config{}), Source{Dir: dir})
	for _, path := range []string{filepath.Join(dir, "ran"), "ran"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("a command of .git/config has run: %s", path)
		}
	}
}

func TestConcurrentBuildsOfOneSource(t *testing.T) {
	dir := writeTree(t, map[string]string{"f.go": trivial + "// " + t.TempDir() + "\n"})
	var group sync.WaitGroup
	for range 4 { // two of each of two builders
		b := newBuilder(t, Config{Parallel: 2})
		for range 2 {
			group.Go(func() {
				a, err := b.Build(t.Context(), Source{Dir: dir})
				if err != nil {
					t.Error(err)
				} else if info, err := os.Stat(a.Path); err != nil || info.Size() != a.Size || info.Mode()&0o111 == 0 {
					t.Errorf("artifact %+v: %v, %v", a, info, err)
				}
			})
		}
	}
	group.Wait()
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	file := filepath.Join(writeTree(t, map[string]string{"file": ""}), "file")
	for _, cache := range []string{file, filepath.Join(file, "below")} {
		if _, err := New(Config{Cache: cache}); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("cache %s: error %v, want %v", cache, err, syscall.ENOTDIR)
		}
	}
	t.Setenv("PATH", tempDir(t))
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if _, err := New(Config{}); !errors.Is(err, ErrNoGo) {
		t.Errorf("without go on PATH, and no cache: error %v, want %v", err, ErrNoGo)
	}
}

func TestTheHostsDirectoryAndEnvironmentDoNotMatter(t *testing.T) {
	t.Chdir(writeTree(t, map[string]string{"go.mod": "module m\n\ngo 1.99\n", "go.work": "bad\n"}))
	t.Setenv("GOFLAGS", "-mod=vendor -tags=other")
	t.Setenv("GO111MODULE", "off")
	t.Setenv("GOOS", "plan9")
	mustBuild(t, newBuilder(t, Config{}), Source{Dir: writeTree(t, map[string]string{"f.go": trivial + "// " + t.TempDir() + "\n"})})
}
