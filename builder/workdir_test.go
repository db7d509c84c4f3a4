package builder

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// holdEnv has a test process make the directory of a build, say where it is, and
// stay until it is killed.
const holdEnv = "FNHOST_TEST_HOLD"

func hold() {
	w, err := newWorkDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(w.path)
	os.Stdin.Read(make([]byte, 1)) // nothing comes
}

func TestOnlyTheDirectoriesOfKilledBuildsAreSwept(t *testing.T) {
	temp := ownTemp(t)
	b := newBuilder(t, Config{})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holdEnv+"=1")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	theirs := strings.TrimSpace(line)
	if err != nil || filepath.Dir(theirs) != temp {
		t.Fatalf("the other process builds in %q, %v", theirs, err)
	}
	ours, err := newWorkDir()
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, theirs, map[string]string{"b001/_pkg_.a": "x"})
	writeFiles(t, temp, map[string]string{workPrefix + "file": "x", "other/" + workPrefix + "1/x": "x", "elsewhere/x": "x"})
	symlink(t, filepath.Join(temp, "elsewhere"), filepath.Join(temp, workPrefix+"link"))
	sweep := func(want int) {
		t.Helper()
		if n, err := b.Sweep(); n != want || err != nil {
			t.Errorf("Sweep = %d, %v, want %d", n, err, want)
		}
	}
	makeOld(t, theirs)
	makeOld(t, ours.path)
	sweep(0)
	for _, dir := range []string{theirs, ours.path} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("removed from under a build: %v", err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := b.Prune(time.Hour); err != nil { // which sweeps, too
		t.Error(err)
	}
	if _, err := os.Stat(theirs); !os.IsNotExist(err) {
		t.Errorf("what a killed process has left: %v", err)
	}
	sweep(0)
	ours.remove()
	for _, name := range []string{workPrefix + "file", workPrefix + "link", "other/" + workPrefix + "1/x", "elsewhere/x"} {
		if _, err := os.Lstat(filepath.Join(temp, name)); err != nil {
			t.Errorf("not of a build, but removed: %v", err)
		}
	}
	if _, err := os.Stat(ours.path); !os.IsNotExist(err) {
		t.Errorf("after the build: %v", err)
	}
}

func makeOld(t *testing.T, path string) {
	t.Helper()
	old := time.Now().Add(-2 * sweepAge)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Error(err)
	}
}

func TestBuildsAndSweepsAtOnce(t *testing.T) {
	ownTemp(t)
	b := newBuilder(t, Config{})
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := b.Sweep(); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 300 {
		w, err := newWorkDir()
		if err != nil {
			t.Fatal(err)
		}
		makeOld(t, w.path)
		if err := os.WriteFile(filepath.Join(w.path, "x"), nil, 0o644); err != nil {
			t.Errorf("swept from under a build: %v", err)
		}
		w.remove()
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
