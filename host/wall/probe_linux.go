package wall

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine says what walls this machine can build. Make one with [Probe].
type Machine struct {
	// Missing is what it cannot, nil if it can all.
	Missing []Missing

	rooted   bool // namespaces, and users that are nobody
	protects bool // mounts can be made read-only
	capable  bool // capabilities can be dropped
	landlock int  // version, 0 without
	seccomp  bool
	notify   bool // of what a filter refuses, the host can be told
	holds    bool // a process can be held until its limits are set
	closes   bool // inherited descriptors can be closed
	groups   cgroups
}

var probe = sync.OnceValue(func() *Machine {
	m := new(Machine)
	if err := unix.CloseRange(math.MaxInt32-1, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		m.miss("closed descriptors", err, "use Linux 5.11 or later")
	} else {
		m.closes = true
	}
	m.findRoot()
	m.findLocks()
	var err error
	if m.groups, err = findGroups(); err == nil && len(m.groups.list) > 0 {
		err = m.tryGroups()
	}
	m.noteGroups(err)
	return m
})

// Probe finds out what this machine can, by trying it in threads that end with it.
// It does so once; then the answer is known.
func Probe() *Machine { return probe() }

// Any reports whether there is anything to build a wall of.
func (m *Machine) Any() bool { return m.rooted || m.landlock > 0 || m.seccomp }

// BoundsNetwork reports whether a wall here says what processes reach of the network.
func (m *Machine) BoundsNetwork() bool { return m.rooted || m.seccomp }

// bornIn reports whether processes are born in their cgroup by clone3: with version 2,
// whose cgroups a thread does not enter by itself. To move a process costs 15 ms.
func (m *Machine) bornIn() bool { return m.groups.unified && m.rooted }

// Parts names what a wall here is made of.
func (m *Machine) Parts() []string {
	var parts []string
	for _, p := range []struct {
		name  string
		there bool
	}{
		{"namespaces", m.rooted}, {fmt.Sprintf("landlock %d", m.landlock), m.landlock > 0}, {"seccomp", m.seccomp},
		{"memory cgroup", m.groups.has("memory")}, {"pids cgroup", m.groups.has("pids")},
	} {
		if p.there {
			parts = append(parts, p.name)
		}
	}
	return parts
}

func (m *Machine) miss(part string, why error, fix string) {
	first, _, _ := strings.Cut(why.Error(), "\n")
	m.Missing = append(m.Missing, Missing{part, first, fix})
}

// trial runs f on a thread that ends afterwards.
func trial(f func() error) error {
	t := newThread()
	defer t.close()
	return t.do(f)
}

// findRoot tries to start a process with a root and a user of its own. It is this
// program, which is killed before its first instruction.
func (m *Machine) findRoot() {
	self, err := os.Executable()
	if err != nil {
		m.miss("namespaces", err, "")
		return
	}
	dir, err := os.MkdirTemp("", "fnhost-wall-")
	if err != nil {
		m.miss("namespaces", err, "")
		return
	}
	defer os.Remove(dir)
	spec := Spec{Program: self}
	spec.setDefaults()
	rooted := trial(func() error {
		if err := spec.enter(dir, lastUser); err != nil {
			return err
		}
		return m.tryStart(innerProgram, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Credential: &syscall.Credential{Uid: lastUser, Gid: lastUser}})
	})
	if m.rooted = rooted == nil; m.rooted {
		return
	}
	m.miss("namespaces", rooted, "run it as root, or in a container with the capability SYS_ADMIN")
	if err := trial(func() error { return m.tryStart(self, &syscall.SysProcAttr{}) }); err != nil {
		m.miss("limits before the first instruction", err, "")
	}
}

// tryStart starts a program, held. Without PTRACE_TRACEME it is not started at all.
func (m *Machine) tryStart(program string, attr *syscall.SysProcAttr) error {
	attr.Ptrace, attr.Pdeathsig = true, syscall.SIGKILL
	proc, err := os.StartProcess(program, []string{program}, &os.ProcAttr{Sys: attr, Env: []string{}})
	if err != nil {
		return err
	}
	if err = hold(proc); err == nil {
		err = apply(proc.Pid, []limit{{"core", unix.RLIMIT_CORE, 0}})
	}
	m.holds = err == nil
	proc.Kill()
	proc.Wait()
	return err
}

// findLocks tries what needs no privilege, and what root gives up.
func (m *Machine) findLocks() {
	m.protects = !errors.Is(unix.MountSetattr(-1, "", 0, &unix.MountAttr{}), unix.ENOSYS)
	err := trial(new(Spec).dropCapabilities)
	if m.capable = err == nil; !m.capable && os.Geteuid() == 0 {
		m.miss("dropped capabilities", err, "")
	}
	noNew := func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
	spec := Spec{Network: None}
	version, err := landlockVersion()
	if err == nil {
		err = trial(func() error { return errors.Join(noNew(), spec.lock(version, m.rooted, nil)) })
	}
	if err != nil {
		m.miss("landlock", err, "use Linux 5.13 or later with landlock among its lsm")
	} else if m.landlock = version; version < 6 && !m.rooted {
		m.miss("all of landlock", fmt.Errorf("version %d lets workers send signals to others of the same user", version), "use Linux 6.12 or later")
	}
	if filterArch == 0 {
		m.miss("seccomp", errors.New("there is no filter for this machine"), "")
		return
	}
	filtered := func(answer uint32, listen bool) error {
		return trial(func() error {
			if err := noNew(); err != nil {
				return err
			}
			fd, err := spec.filter(true, false, answer).restrict(listen)
			if fd >= 0 {
				unix.Close(fd)
			}
			return err
		})
	}
	err = filtered(tell, true)
	if m.notify = err == nil; m.notify {
		m.seccomp = true
		return
	}
	if plain := filtered(refuse, false); plain != nil {
		m.miss("seccomp", plain, "use a kernel with CONFIG_SECCOMP_FILTER")
		return
	}
	m.seccomp = true
	m.miss("reports of what is refused", err, "use Linux 5.0 or later")
}

// tryGroups makes a cgroup, enters it with a thread, leaves it and removes it.
func (m *Machine) tryGroups() error {
	spec := Spec{}
	spec.setDefaults()
	g, err := m.groups.make(&spec)
	if err != nil {
		return err
	}
	defer g.remove()
	return trial(func() error { return errors.Join(move(g.enter), move(g.leave)) })
}

// noteGroups notes what cgroups there are not.
func (m *Machine) noteGroups(err error) {
	if err != nil {
		m.groups = cgroups{}
	} else {
		err = errors.New("there is no cgroup in which others can be made")
	}
	var without []string
	for _, name := range []string{"memory", "pids"} {
		if !m.groups.has(name) {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		m.miss("cgroups of "+strings.Join(without, ", "), err, "under systemd: Delegate=memory pids and DelegateSubgroup=host")
	}
}
