package wall

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// TestMain is the program behind the walls of the tests, too: what its first
// argument names.
func TestMain(m *testing.M) {
	if role := roles[os.Args[0]]; role != nil {
		role()
		unix.Exit(0) // os.Exit takes a second under the race detector, which finds its settings in /proc
	}
	goleak.VerifyTestMain(m)
}

// patience is how long tests wait for anything.
const patience = time.Minute

// inmate is a process behind a wall, with its input and output.
type inmate struct {
	*Process
	t     *testing.T
	in    io.WriteCloser
	lines chan string
	ended func() (*os.ProcessState, string) // waits for its end, and returns the limit that it met
}

// buildWall builds a wall around this program.
func buildWall(t *testing.T, m *Machine, spec Spec) *Wall {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Program, spec.Dir = self, t.TempDir()
	w, err := m.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// run starts a role behind a wall.
func run(t *testing.T, w *Wall, role string, args ...string) *inmate {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s-%d", role, time.Now().UnixNano())
	p, err := w.Start(Command{Name: name, Args: append([]string{role}, args...), Files: []*os.File{inR, outW, outW}, Env: []string{"TMPDIR=" + w.Dir(name), "HOME=" + w.Dir(name)}})
	inR.Close()
	outW.Close()
	if err != nil {
		inW.Close()
		outR.Close()
		t.Fatal(err)
	}
	i := &inmate{Process: p, t: t, in: inW, lines: make(chan string, 1000)}
	go func() {
		defer outR.Close()
		defer close(i.lines)
		for s := bufio.NewScanner(outR); s.Scan(); {
			if !strings.HasPrefix(s.Text(), "==1==") { // the race detector misses /proc
				i.lines <- s.Text()
			}
		}
	}()
	i.ended = sync.OnceValues(func() (*os.ProcessState, string) {
		state, err := p.Wait()
		if err != nil {
			t.Error(err)
		}
		return state, p.Ended()
	})
	t.Cleanup(func() {
		inW.Close()
		syscall.Kill(-p.Pid, syscall.SIGKILL)
		i.ended()
		for range i.lines {
		}
	})
	return i
}

// line returns the next line that it has written, "" at the end.
func (i *inmate) line() string {
	i.t.Helper()
	select {
	case s := <-i.lines:
		return s
	case <-time.After(patience):
		i.t.Fatalf("%v wrote nothing", i.Pid)
		return ""
	}
}

// answers reports whether it answers.
func (i *inmate) answers() bool {
	i.t.Helper()
	fmt.Fprintln(i.in, "ping")
	return i.line() == "pong ping"
}

// echo answers each line.
func echo() {
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		fmt.Println("pong", strings.TrimSpace(s.Text()))
	}
}
