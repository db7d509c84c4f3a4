package watch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace tells a re-executed test binary that it runs in a user namespace.
const inNamespace = "WATCH_TEST_IN_USER_NAMESPACE"

// namespaced runs a test in a user namespace of its own, where the inotify
// limits can be lowered without harm to others. It reports whether this is the
// process inside.
func namespaced(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	// Not the test's context: the command must have ended when the test does.
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip("no user namespaces here: ", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("in the namespace: %v\n%s", err, out.Bytes())
	} else if strings.Contains(out.String(), "--- SKIP") {
		t.Skipf("in the namespace: %s", out.Bytes())
	} else if !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("did not run in the namespace: %s", out.Bytes())
	}
	return false
}

// setLimit lowers a limit of the user namespace.
func setLimit(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/user/"+name, []byte(value), 0); err != nil {
		t.Skip("cannot set the limit: ", err)
	}
}

func TestRealWatchLimit(t *testing.T) {
	t.Parallel()
	if !namespaced(t) {
		return
	}
	setLimit(t, "max_inotify_watches", "2")
	dir := filepath.Join(realTemp(t), "fn")
	writeAll(t, dir+"/a/b/x.go", "")
	logs := new(logBuffer)
	w := watcher(t, Config{PollInterval: 5 * time.Millisecond, Logger: logs.logger()})
	_, r := add(t, w, dir) // one watch is for its parent
	if got := w.watched(kernel, dir); !slices.Equal(got, []string{"."}) {
		t.Errorf("watched %q", got)
	}
	checkEverythingIsReported(t, r, dir)
	checkLimitWarning(t, logs, "fs.inotify.max_user_watches", "sysctl fs.inotify.max_user_watches=524288")

	setLimit(t, "max_inotify_watches", "1000")
	for start := time.Now(); len(w.watched(polling, dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > deadline {
			t.Fatalf("still polled: %q", w.watched(polling, dir))
		}
	}
	checkEverythingIsReported(t, r, dir)
}

func TestRealInstanceLimit(t *testing.T) {
	t.Parallel()
	if !namespaced(t) {
		return
	}
	setLimit(t, "max_inotify_instances", "1")
	dir := filepath.Join(realTemp(t), "fn")
	writeAll(t, dir+"/a/b/x.go", "")
	logs := new(logBuffer)
	cfg := Config{PollInterval: 5 * time.Millisecond, Logger: logs.logger()}
	_, r1 := add(t, watcher(t, cfg), dir)
	if lines := logs.lines(); len(lines) > 0 {
		t.Fatalf("logged too early: %q", lines)
	}
	second := watcher(t, cfg)
	_, r2 := add(t, second, dir)
	checkLimitWarning(t, logs, "fs.inotify.max_user_instances", "sysctl fs.inotify.max_user_instances=512")
	if got := second.watched(polling, dir); !slices.Equal(got, []string{".", "a", "a/b"}) {
		t.Errorf("polled %q", got)
	}
	write(t, dir+"/a/b/x.go", "changed")
	r1.expect(t, "a/b/x.go")
	checkEverythingIsReported(t, r2, dir)
}

func TestExchangedDirectories(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/a/fromA/x.go", "")
	writeAll(t, dir+"/b/fromB/x.go", "")
	w := watcher(t, Config{})
	_, r := add(t, w, dir)
	must(t, unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/b", unix.RENAME_EXCHANGE))
	r.waitPaths(t, "a", "b")
	r.flush(t)
	if got := w.watched(kernel, dir); !slices.Equal(got, []string{".", "a", "a/fromB", "b", "b/fromA"}) {
		t.Errorf("watched %q", got)
	}
	write(t, dir+"/a/fromB/x.go", "changed")
	write(t, dir+"/b/fromA/x.go", "changed")
	r.expect(t, "a/fromB/x.go", "b/fromA/x.go")
}
