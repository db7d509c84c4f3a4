package wall

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Wall is what processes are behind. Make one with [Machine.Build]. Its methods are
// safe for concurrent use.
type Wall struct {
	machine *Machine
	spec    Spec
	thread  *thread
	rooted  bool   // it has a root of its own
	uid     int    // of its processes, if that is not the host's
	dir     string // of its processes' directories, as they see it
	told    *listener
	closing sync.Once
}

// Process is a process behind a wall.
type Process struct {
	*os.Process
	wall  *Wall
	group *group
	dir   string
}

// Build builds a wall. It returns [ErrMissing], wrapped, if the wall is to be whole and
// cannot be. It fails, and leaves nothing, if a part cannot be built that
// [Probe] has found to work. A wall costs a thread until [Wall.Close].
func (m *Machine) Build(spec Spec) (*Wall, error) {
	if spec.Whole {
		if err := m.Require(); err != nil {
			return nil, err
		}
	}
	spec.setDefaults()
	w := &Wall{machine: m, spec: spec, thread: newThread(), dir: innerTmp}
	w.rooted = m.rooted && (!spec.KeepUser || m.protects) // what the user owns, only the mounts keep from it
	if err := w.build(); err != nil {
		w.Close()
		return nil, fmt.Errorf("wall: %w", err)
	}
	return w, nil
}

func (w *Wall) build() (err error) {
	if w.rooted && !w.spec.KeepUser {
		if w.uid, err = takeUser(); err != nil {
			return err
		}
	} else if !w.rooted {
		if w.dir, err = os.MkdirTemp(w.spec.Dir, "wall-"); err != nil {
			return err
		}
	}
	fd := -1
	err = w.thread.do(func() (err error) {
		fd, err = w.wallIn()
		return err
	})
	if fd >= 0 {
		w.told = listen(fd, w.spec.Refused)
	}
	return err
}

// wallIn builds the wall around the calling thread: what it starts is born behind it.
func (w *Wall) wallIn() (int, error) {
	m := w.machine
	rules := []lockRule{{"/", Read}, {innerTmp, Write}}
	if w.rooted {
		rules = append(rules, w.spec.lockRules()...)
		if err := w.spec.enter(w.spec.Dir, w.uid); err != nil {
			return -1, err
		}
	} else {
		rules = w.rulesInPlace()
	}
	for _, name := range []string{"null", "zero", "full"} {
		rules = append(rules, lockRule{"/dev/" + name, Write})
	}
	if err := w.spec.dropCapabilities(); err != nil && m.capable {
		return -1, err
	}
	if err := w.spec.standBack(); err != nil {
		return -1, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("no_new_privs: %w", err)
	}
	if m.landlock > 0 {
		if err := w.spec.lock(m.landlock, m.rooted, rules); err != nil {
			return -1, err
		}
	}
	switch {
	case m.notify:
		return w.spec.filter(w.rooted, m.bornIn(), tell).restrict(true)
	case m.seccomp:
		return w.spec.filter(w.rooted, m.bornIn(), refuse).restrict(false)
	}
	return -1, nil
}

// standBack lowers the priority of the calling thread, and of what it starts.
func (s *Spec) standBack() error {
	if s.Nice == 0 {
		return nil
	}
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less what nice(1) says
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-now+s.Nice)
	}
	if err != nil {
		return fmt.Errorf("nice: %w", err)
	}
	return nil
}

// rulesInPlace are those of a wall without a root of its own.
func (w *Wall) rulesInPlace() []lockRule {
	rules := append(w.spec.lockRulesInPlace(), lockRule{w.dir, Write})
	if w.spec.Program != "" {
		rules = append(rules, lockRule{w.spec.Program, Read})
	}
	libs, names := w.spec.ofSystem()
	for _, path := range libs {
		rules = append(rules, lockRule{path, Read})
	}
	for _, name := range names {
		rules = append(rules, lockRule{"/etc/" + name, Read})
	}
	for _, name := range devices {
		rules = append(rules, lockRule{"/dev/" + name, Read})
	}
	return rules
}

// dropCapabilities takes from what the thread starts all that root may do, also
// from programs of root's; who stays root may read what belongs to others.
func (s *Spec) dropCapabilities() error {
	for c := uintptr(0); c < 64; c++ {
		if s.KeepUser && c == unix.CAP_DAC_READ_SEARCH {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // the kernel has no more
		} else if err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	return errors.Join(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), inheritNone())
}

// inheritNone takes from what the thread starts what root itself has inherited.
func inheritNone() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// Dir returns the directory of the process with a name, as it sees it: it works
// there, and may write there alone.
func (w *Wall) Dir(name string) string { return filepath.Join(w.dir, name) }

// Start starts a process behind the wall. It dies with the wall, and with this
// process. Its limits hold before its first instruction.
func (w *Wall) Start(c Command) (*Process, error) {
	g, err := w.machine.groups.make(&w.spec)
	if err != nil {
		return nil, err
	}
	p := &Process{wall: w, group: g, dir: w.Dir(c.Name)}
	if err := w.thread.do(func() error { return w.start(p, &c) }); err != nil {
		if p.Process != nil {
			p.Kill()
			p.Wait()
		}
		p.Ended()
		return nil, err
	}
	g.closeFiles()
	return p, nil
}

// start starts p on the calling thread.
func (w *Wall) start(p *Process, c *Command) error {
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	program, dir, attr := cmp.Or(c.Path, w.spec.Program), cmp.Or(c.Dir, p.dir), &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: w.machine.holds}
	if w.rooted {
		attr.Cloneflags = syscall.CLONE_NEWPID
		if c.Path == "" {
			program = innerProgram
		}
	}
	if w.rooted && !w.spec.KeepUser {
		attr.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.uid)}
		if err := os.Chown(p.dir, w.uid, w.uid); err != nil {
			return err
		}
	}
	if w.machine.bornIn() {
		attr.UseCgroupFD, attr.CgroupFD = true, int(p.group.into.Fd())
	}
	if err := move(p.group.enter); err != nil {
		return err
	}
	// What this process has inherited itself is for nobody. All that Go opens has the flag.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil && w.machine.closes {
		return err
	}
	proc, err := os.StartProcess(program, c.Args, &os.ProcAttr{Dir: dir, Env: c.Env, Files: c.Files, Sys: attr})
	if err := errors.Join(err, move(p.group.leave)); err != nil {
		return err
	}
	p.Process = proc
	if w.machine.holds {
		err = hold(proc)
	}
	if err == nil {
		err = w.bound(p)
	}
	if err == nil && w.machine.holds {
		err = release(proc)
	}
	return err
}

// bound sets the limits of a process that does not run yet.
func (w *Wall) bound(p *Process) error {
	if !w.machine.bornIn() {
		if err := p.group.take(p.Pid); err != nil {
			return err
		}
	}
	limits := w.spec.limits(w.machine, w.rooted)
	if w.rooted {
		return apply(p.Pid, limits) // this thread is of its user
	}
	result := make(chan error, 1)
	go func() { result <- apply(p.Pid, limits) }() // behind the wall nobody sets limits of others
	return <-result
}

// Ended removes what a process had, which was waited for: its directory, its
// cgroup. It returns the limit that it has met, "" if none.
func (p *Process) Ended() string {
	verdict := p.group.verdict()
	p.group.remove()
	p.wall.thread.do(func() error { return os.RemoveAll(p.dir) })
	return verdict
}

// Close ends the thread, and with it all processes that it has started and that
// still run.
func (w *Wall) Close() {
	w.closing.Do(func() {
		w.thread.close()
		if w.told != nil {
			w.told.close()
		}
		if w.uid != 0 {
			giveUser(w.uid)
		}
		if w.dir != innerTmp {
			os.RemoveAll(w.dir)
		}
	})
}
