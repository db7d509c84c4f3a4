package host_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/wall"
)

// hostileGo stands for a go command, or a compiler, that the source has taken over. It
// does what ORDERS in the source says, a line each, and writes what came of it.
const hostileGo = `package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if os.Args[1] == "env" {
		fmt.Print(os.Getenv("HOSTILE_ENV"))
		return
	}
	if os.Args[1] == "sleep" {
		select {}
	}
	orders, err := os.ReadFile("ORDERS")
	fmt.Println("orders:", err)
	for _, line := range strings.Split(strings.TrimSpace(string(orders)), "\n") {
		what, of, _ := strings.Cut(line, " ")
		fmt.Printf("%s: %v\n", line, do(what, of))
	}
	os.Exit(1)
}

func do(what, of string) error {
	switch what {
	case "read":
		_, err := os.ReadFile(of)
		return err
	case "write":
		return os.WriteFile(of, []byte("was here"), 0o666)
	case "dial":
		_, err := net.Dial("tcp", of)
		return err
	case "setuid":
		name := filepath.Join(os.Getenv("TMPDIR"), "x")
		return errors.Join(os.WriteFile(name, nil, 0o700), os.Chmod(name, 0o4755|os.ModeSetuid))
	case "mount":
		return syscall.Mount("none", "/tmp", "tmpfs", 0, "")
	case "signal":
		if os.Getpid() == 1 {
			return syscall.ESRCH // it is alone
		}
		return syscall.Kill(os.Getppid(), 0)
	case "capabilities":
		return syscall.Chown(os.Getenv("TMPDIR"), 1, 1)
	case "fork":
		for n := 0; n < 100000; n++ {
			if err := exec.Command(os.Args[0], "sleep", of).Start(); err != nil {
				return err
			}
		}
	case "out":
		for i, arg := range os.Args {
			if arg == "-o" {
				if err := os.Symlink(of, os.Args[i+1]); err != nil {
					return err
				}
				os.Exit(0)
			}
		}
	}
	return nil
}
`

// openHostile opens a host whose go command is hostileGo; change adds to its Config.
func openHostile(t *testing.T, change func(*host.Config)) *fixture {
	t.Helper()
	if !slices.Contains(wall.Probe().Parts(), "namespaces") {
		t.Skip("this machine lets no namespaces be made")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(hostileGo), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "go"), "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	env, err := exec.Command("go", "env", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOSTILE_ENV", string(env))
	t.Setenv("PATH", dir)
	return start(t, nil, func(c *host.Config) {
		c.Builder.Cache = filepath.Join(t.TempDir(), "cache")
		if change != nil {
			change(c)
		}
	})
}

// order has a function built with orders, and returns the error of that.
func (f *fixture) order(name string, orders ...string) string {
	f.t.Helper()
	f.write(name+"/ORDERS", strings.Join(orders, "\n"))
	f.write(name+"/f.go", constant(name, ""))
	f.awaitState(name, host.Failed)
	e, _ := f.event(name, host.Failed)
	return e.Err.Error()
}

func TestABuildReachesWhatItNeedsAndNoMore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := openHostile(t, nil)
	secret := filepath.Join(f.data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.write("other/note", "private")
	other, own := filepath.Join(f.dir, "other", "note"), filepath.Join(f.dir, "in", "f.go")
	dial := "dial " + l.Addr().String()
	refused := []string{
		"read /etc/shadow", "read " + secret, "read " + other, "read /proc/self/status", "write " + own, "write " + filepath.Join(f.dir, "in", "new.go"),
		"write " + secret, "write /etc/new", "write /usr/lib/new", "write /new", dial, "setuid", "mount", "signal", "capabilities",
	}
	got := f.order("in", append(refused, "read "+own)...)
	if !strings.Contains(got, "read "+own+": <nil>") {
		t.Errorf("it does not read its own source:\n%s", got)
	}
	for _, order := range refused {
		if !strings.Contains(got, order+": ") || strings.Contains(got, order+": <nil>") {
			t.Errorf("%s went through:\n%s", order, got)
		}
	}
	for _, path := range []string{"/etc/new", "/usr/lib/new", "/new", filepath.Join(f.dir, "in", "new.go")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was written", path)
		}
	}
}

func TestWhatABuildStartsEndsWithIt(t *testing.T) {
	if !slices.Contains(wall.Probe().Parts(), "pids cgroup") {
		t.Skip("this machine lets no cgroups be made")
	}
	f := openHostile(t, nil)
	marker := filepath.Join(t.TempDir(), "marker")
	got := f.order("in", "fork "+marker)
	if strings.Contains(got, marker+": <nil>") {
		t.Errorf("it forked without end:\n%s", got)
	}
	f.await("its processes have gone", func() bool {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		return err == nil && !slices.ContainsFunc(lines, func(path string) bool {
			data, _ := os.ReadFile(path)
			return bytes.Contains(data, []byte(marker))
		})
	})
}

// The data directory of fnhost dev lies in the project.
func TestABuildDoesNotSeeADataDirectoryInItsModule(t *testing.T) {
	var data string
	f := openHostile(t, func(c *host.Config) {
		data = filepath.Join(c.Watch[0], ".fnhost")
		c.Dir = data
	})
	secret := filepath.Join(data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.write("go.mod", "module example.com/m\n\ngo 1.26\n")
	f.write("lib/lib.go", "package lib\n")
	lib := filepath.Join(f.dir, "lib", "lib.go")
	got := f.order("in", "read "+lib, "read "+secret)
	if !strings.Contains(got, "read "+lib+": <nil>") || !strings.Contains(got, "read "+secret+": open ") {
		t.Errorf("error %q", got)
	}
}

// What a build makes is stored by the host, which may read what the build may not.
func TestABuildThatMakesALinkHasMadeNothing(t *testing.T) {
	f := openHostile(t, nil)
	secret := filepath.Join(f.data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.order("in", "out "+secret); !strings.Contains(got, "the build has made no program") {
		t.Errorf("error %q", got)
	}
}

func TestBuildsWithoutWallsReachAll(t *testing.T) {
	f := openHostile(t, func(c *host.Config) { c.Walls = wall.Off })
	if got := f.order("in", "read /proc/self/status"); !strings.Contains(got, "read /proc/self/status: <nil>") {
		t.Errorf("error %q", got)
	}
}

func TestTheFastPathIsBehindAWallToo(t *testing.T) {
	f := start(t, map[string]string{"in/in.go": constant("in", "one")}, nil)
	f.awaitState("in", host.Ready)
	for i := range 20 { // until the go command has shown how it builds, and a cache has nothing of it
		f.write("in/in.go", constant("in", fmt.Sprint(t.TempDir(), i)))
		f.await("the change serves", func() bool {
			out, err := f.Invoke(t.Context(), "in", nil)
			return err == nil && strings.Contains(string(out), fmt.Sprint(i))
		})
		if e, ok := f.event("in", host.Ready); ok && e.How == builder.Relinked {
			return
		}
	}
	t.Error("no build took the fast path")
}

// A module that is not in the cache is fetched over the network; what compiles it has none.
func TestModulesAreFetchedBehindAWall(t *testing.T) {
	proxy := t.TempDir()
	sums := publishModule(t, proxy, module.Version{Path: "example.com/dep", Version: "v1.0.0"}, map[string]string{
		"go.mod": "module example.com/dep\n\ngo 1.23\n", "dep.go": "package dep\n\nconst Text = \"fetched\"\n"})
	server := httptest.NewServer(http.FileServer(http.Dir(proxy)))
	defer server.Close()
	cache := t.TempDir()
	t.Cleanup(func() { // modules are read-only
		filepath.WalkDir(cache, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	t.Setenv("GOMODCACHE", filepath.Join(cache, "mod"))
	t.Setenv("GOPROXY", server.URL)
	t.Setenv("GONOSUMDB", "example.com")
	files := map[string]string{
		"in/go.mod": "module example.com/in\n\ngo 1.23\n\nrequire example.com/dep v1.0.0\n", "in/go.sum": sums,
		"in/in.go": "package in\n\nimport \"example.com/dep\"\n\nfunc Handle() string { return dep.Text }\n",
	}
	f := start(t, files, nil)
	f.awaitState("in", host.Ready)
	if out, err := f.Invoke(t.Context(), "in", nil); err != nil || !strings.Contains(string(out), "fetched") {
		t.Errorf("%q, %v", out, err)
	}
	f.write("lost/go.mod", "module example.com/lost\n\ngo 1.23\n\nrequire example.com/dep v1.0.1\n")
	f.write("lost/in.go", files["in/in.go"])
	f.awaitState("lost", host.Failed)
	if e, _ := f.event("lost", host.Failed); !strings.Contains(e.Err.Error(), "404") && !strings.Contains(e.Err.Error(), "go.sum") {
		t.Errorf("a module that is not there: %v", e.Err)
	}
}

// publishModule puts a module into the directory of a proxy, and returns its lines of go.sum.
func publishModule(t *testing.T, proxy string, m module.Version, files map[string]string) string {
	t.Helper()
	src, dir := t.TempDir(), filepath.Join(proxy, m.Path, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := modzip.CreateFromDir(&packed, m, src); err != nil {
		t.Fatal(err)
	}
	for ext, data := range map[string][]byte{".zip": packed.Bytes(), ".mod": []byte(files["go.mod"]), ".info": fmt.Appendf(nil, `{"Version":%q}`, m.Version)} {
		if err := os.WriteFile(filepath.Join(dir, m.Version+ext), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := dirhash.HashZip(filepath.Join(dir, m.Version+".zip"), dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return os.Open(filepath.Join(src, "go.mod")) })
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s %s\n%[1]s %[2]s/go.mod %[4]s\n", m.Path, m.Version, whole, mod)
}
