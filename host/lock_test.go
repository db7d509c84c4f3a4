package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A host that is killed while it starts a worker leaves its lock to that process for a moment.
func TestALockOfAHostThatHasGoneIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	held, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "(process ") {
		t.Fatalf("a lock of a process that runs: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host.lock"), []byte(gone.ProcessState.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); !errors.Is(err, ErrInUse) {
		t.Fatalf("a lock of nobody known: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host.lock"), strconv.AppendInt(nil, int64(gone.Process.Pid), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { held.Close() })
	next, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}
