package wall

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machines are this machine, and what it would be without namespaces.
func machines() map[string]*Machine {
	m := Probe()
	list := map[string]*Machine{"as it is": m}
	if m.rooted {
		in := *m
		in.rooted = false
		list["in place"] = &in
		if dir := unifiedGroup(); dir != "" {
			two := *m
			two.groups = cgroups{unified: true, list: []controller{{name: "none", dir: dir, limit: "cgroup.max.descendants"}}}
			list["cgroups of version 2"] = &two
		}
	}
	return list
}

// Who may make namespaces has a root of its own: that nothing else is in the way is for
// this test to tell.
func TestNamespacesAreEnoughForARootOfItsOwn(t *testing.T) {
	if err := trial(func() error { return unix.Unshare(spaces | unix.CLONE_NEWNET) }); err == nil && !Probe().rooted {
		t.Errorf("missing: %s", Probe().Summary())
	}
}

// unifiedGroup returns a cgroup of version 2 in which others can be made, if there is
// one, whatever it can bound.
func unifiedGroup() string {
	mounts, err := groupMounts()
	own, ownErr := ownGroups()
	dir := within(mounts[""], own[""])
	if err != nil || ownErr != nil || dir == "" || os.Mkdir(filepath.Join(dir, "fnhost-try"), 0o755) != nil {
		return ""
	}
	os.Remove(filepath.Join(dir, "fnhost-try"))
	return dir
}

func TestAProcessWorksInADirectoryOfItsOwn(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			w := buildWall(t, m, Spec{})
			p := run(t, w, "write")
			if line := p.line(); line != "<nil> note" {
				t.Errorf("it wrote a file: %s", line)
			}
			if state, verdict := p.ended(); !state.Success() || verdict != "" {
				t.Errorf("it ended with %v, %q", state, verdict)
			}
			if err := w.thread.do(func() error { _, err := os.Stat(p.dir); return err }); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its directory after its end: %v", err)
			}
		})
	}
}

func TestAHostThatHidesItsFilesHasWalls(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	p := run(t, buildWall(t, Probe(), Spec{}), "write")
	if line := p.line(); line != "<nil> note" {
		t.Errorf("it wrote a file: %s", line)
	}
	p.ended()
	if mask := unix.Umask(0o077); mask != 0o077 {
		t.Errorf("the umask of the host is %#o now", mask)
	}
}

func TestWhatIsShownIsSeenAndNoMore(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			if m.landlock == 0 && !m.rooted {
				t.Skip("nothing here keeps files from a process")
			}
			dir := t.TempDir()
			for _, file := range []string{"read/file", "read/hidden/secret", "read/hidden/open/file", "write/file", "write/fixed/file", "other/file"} {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("text"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			at := func(name string) string { return filepath.Join(dir, name) }
			if err := errors.Join(os.Symlink(at("other"), at("read/link")), os.Chown(at("read/file"), 1234, 1234)); err != nil && os.Getuid() == 0 {
				t.Fatal(err)
			}
			w := buildWall(t, m, Spec{KeepUser: true, Shown: []Shown{
				{at("write"), Write}, {at("read/hidden/open"), Read}, {at("read"), Read}, {at("read/hidden"), Hide}, {at("nowhere"), Hide},
			}})
			var args, want []string
			for _, one := range []struct {
				what, file string
				want       bool
			}{
				{"read", "read/file", true}, {"read", "read/hidden/open/file", true}, {"read", "write/file", true}, {"write", "write/file", true}, {"write", "write/new", true},
				{"read", "read/hidden/secret", false}, {"read", "read/link/file", false}, {"read", "other/file", false}, {"write", "read/file", false},
				{"write", "read/new", false}, {"write", "read/hidden/new", false}, {"write", "read/hidden/open/file", false}, {"write", "other/new", false}, {"setuid", "write/program", false},
			} {
				args = append(args, one.what+" "+at(one.file))
				want = append(want, fmt.Sprint(one.what, " ", at(one.file), " ", one.want))
			}
			p := run(t, w, "visit", args...)
			for _, line := range want {
				if got := p.line(); got != line {
					t.Errorf("got %s, want %s", got, line)
				}
			}
			if data, err := os.ReadFile(at("read/hidden/secret")); err != nil || string(data) != "text" {
				t.Errorf("what is hidden holds %q, %v", data, err)
			}
		})
	}
}

func TestOutboundReachesOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			for network, want := range map[Network]bool{None: false, Outbound: true} {
				p := run(t, buildWall(t, m, Spec{Network: network}), "dial", l.Addr().String())
				if line := p.line(); (line == "<nil>") != want {
					t.Errorf("network %s: %s", network, line)
				}
				p.ended()
			}
		})
	}
}

// What is done to the thread of a wall is done to no other, and it ends with the wall.
func TestWallsComeAndGo(t *testing.T) {
	m := Probe()
	w := buildWall(t, m, Spec{})
	w.Close()
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before, dir := threads(), t.TempDir()
	for range 100 {
		for _, network := range []Network{None, Outbound} {
			w, err := m.Build(Spec{Network: network, Program: w.spec.Program, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			w.Close()
		}
	}
	// The runtime keeps threads of its own for later.
	if after := threads(); after > before+10 {
		t.Errorf("%d threads before, %d after", before, after)
	}
	if _, err := os.ReadFile("/proc/self/status"); err != nil {
		t.Error(err)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	users.Lock()
	defer users.Unlock()
	if len(users.taken) > 0 {
		t.Errorf("users that are still taken: %v", users.taken)
	}
}

func TestProcessesEndWithTheirWall(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			w := buildWall(t, m, Spec{})
			var list []*inmate
			for range 3 {
				p := run(t, w, "echo")
				if !p.answers() {
					t.Fatal("it does not answer")
				}
				list = append(list, p)
			}
			w.Close()
			for _, p := range list {
				if state, _ := p.ended(); state.String() != "signal: killed" {
					t.Errorf("it ended with %v", state)
				}
				for _, dir := range p.group.dirs {
					if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("cgroup %s: %v", dir, err)
					}
				}
			}
			if _, err := w.Start(Command{Name: "late", Args: []string{"echo"}}); !errors.Is(err, errThread) {
				t.Errorf("a start behind a closed wall: %v", err)
			}
		})
	}
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	w := buildWall(t, Probe(), Spec{})
	w.spec.Program = "/nowhere"
	if w.machine.rooted {
		w.machine = &Machine{rooted: false}
	}
	w.dir = filepath.Join(t.TempDir(), "no", "directory")
	if _, err := w.Start(Command{Name: "x", Args: []string{"echo"}}); err == nil {
		t.Error("it started")
	}
	w.dir = innerTmp
}

func TestCgroupsOfAKilledHostAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fnhost-4194305-1", "fnhost-1-1", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(dir)
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"fnhost-1-1", "other"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

func TestWhatIsMissingIsSaidOnce(t *testing.T) {
	m := &Machine{Missing: []Missing{{"a", "no a", "get it"}, {"b", "no b", "get it"}, {"c", "no c", ""}}}
	if got, want := m.Summary(), "a (no a), b (no b), c (no c): get it"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := m.Require(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "get it") {
		t.Errorf("Require = %v", err)
	}
	if _, err := m.Build(Spec{Whole: true}); !errors.Is(err, ErrMissing) {
		t.Errorf("Build = %v", err)
	}
	if err := (&Machine{}).Require(); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	var got []string
	l := &listener{kinds: make(map[string]*toldKind), refused: func(r Refusal) { got = append(got, r.String()) }}
	for range 3 {
		l.tell(Refusal{What: "fly"})
	}
	l.tell(Refusal{What: "swim", Fix: "learn it"})
	l.kinds["fly"].last = time.Now().Add(-quiet)
	l.tell(Refusal{What: "fly"})
	want := []string{"the function tried to fly", "the function tried to swim: learn it", "the function tried to fly, 3 times"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// BenchmarkStart is from the start of a process to its first answer, with a wall that
// stands, and with one that is built for it.
func BenchmarkStart(b *testing.B) {
	self, _ := os.Executable()
	start := func(b *testing.B, w *Wall) {
		p, err := w.Start(Command{Name: "x", Args: []string{"nothing"}, Env: []string{}})
		if err != nil {
			b.Fatal(err)
		}
		p.Wait()
		p.Ended()
	}
	b.Run("standing", func(b *testing.B) {
		w, err := Probe().Build(Spec{Program: self, Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		for b.Loop() {
			start(b, w)
		}
	})
	b.Run("built", func(b *testing.B) {
		for b.Loop() {
			w, err := Probe().Build(Spec{Program: self, Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			start(b, w)
			w.Close()
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			p, err := os.StartProcess(self, []string{"nothing"}, &os.ProcAttr{Env: []string{}})
			if err != nil {
				b.Fatal(err)
			}
			p.Wait()
		}
	})
}
