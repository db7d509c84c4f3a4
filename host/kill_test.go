package host_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
)

const childrenSource = `package kids

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Handle starts a child that outlives the invocation.
func Handle(ctx context.Context, what string) (string, error) {
	if what == "wait" {
		time.Sleep(time.Minute)
	}
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	return fmt.Sprint(os.Getpid(), " ", cmd.Process.Pid), nil
}
`

// alive reports whether a process runs; one that nobody has waited for is dead.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestAKilledWorkerFailsItsInvocationsAndIsReplaced(t *testing.T) {
	f := start(t, map[string]string{"kids/kids.go": childrenSource}, nil)
	out, err := f.Invoke(t.Context(), "kids", nil)
	if err != nil {
		t.Fatal(err)
	}
	both := outside(t, os.Getpid(), "kids", string(out))
	waiting := make(chan error, 1)
	go func() {
		_, err := f.Invoke(t.Context(), "kids", []byte("wait"))
		waiting <- err
	}()
	f.await("it runs", func() bool {
		s, err := f.Function("kids")
		return err == nil && s.Workers.Running == 1
	})
	if err := syscall.Kill(both[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, functions.ErrCrashed) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the running one: %v", err)
	}
	if out, err = f.Invoke(t.Context(), "kids", nil); err != nil || outside(t, os.Getpid(), "kids", string(out))[0] == both[0] {
		t.Errorf("the next one: %q %v", out, err)
	}
	f.await("the worker's child is killed with it", func() bool { return !alive(both[1]) })
}

func TestStoppingTheHostLeavesNoProcess(t *testing.T) {
	f := start(t, map[string]string{"kids/kids.go": childrenSource}, nil)
	out, err := f.Invoke(t.Context(), "kids", nil)
	if err != nil {
		t.Fatal(err)
	}
	both := outside(t, os.Getpid(), "kids", string(out))
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range both {
		f.await(fmt.Sprintf("process %d is dead", pid), func() bool { return !alive(pid) }) // the kernel takes a moment
	}
	if left, _ := filepath.Glob(filepath.Join(f.data, "run", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAKilledHostTakesItsWorkersAndCanBeStartedAgain(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"echo/echo.go": echoSource, "kids/kids.go": childrenSource} {
		path := filepath.Join(dir, "functions", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "FNHOST_BENCH_ROLE=host", "FNHOST_BENCH_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		resp, err := http.Post("http://"+strings.Fields(line)[0]+"/kids", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := bufio.NewReader(resp.Body).ReadString(0)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("round %d: %d %s %v", round, resp.StatusCode, body, err)
		}
		both := outside(t, cmd.Process.Pid, "kids", body)
		cmd.Process.Kill()
		cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
		deadline := time.Now().Add(10 * time.Second)
		if !strings.HasPrefix(body, "1 ") {
			syscall.Kill(both[1], syscall.SIGKILL) // only a process namespace takes the worker's own children along
		}
		for alive(both[0]) || alive(both[1]) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: the worker or its child has outlived its host", round)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
