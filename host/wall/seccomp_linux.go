package wall

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in what a filter sees of a call.
const (
	atNumber = 0
	atArch   = 4
	atArgs   = 16 // 8 bytes each; the lower half comes first on the machines that there are filters for
)

// Answers of a filter.
const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	// tell has the host answer, which is told so.
	tell = unix.SECCOMP_RET_USER_NOTIF
)

// program is a filter of system calls.
type program []unix.SockFilter

func (p *program) add(code uint16, jt, jf uint8, k uint32) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *program) load(offset uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, offset) }
func (p *program) loadArg(n int)      { p.load(uint32(atArgs + 8*n)) }
func (p *program) answer(a uint32)    { p.add(unix.BPF_RET|unix.BPF_K, 0, 0, a) }

// ifEqual answers if what is loaded is k.
func (p *program) ifEqual(k, a uint32) {
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, k)
	p.answer(a)
}

// ifAny answers if what is loaded has one of the bits.
func (p *program) ifAny(bits, a uint32) {
	p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 0, 1, bits)
	p.answer(a)
}

// when adds what is done if what is loaded is k; then must end with an answer.
func (p *program) when(k uint32, then func(p *program)) {
	var body program
	then(&body)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, uint8(len(body)), k)
	*p = append(*p, body...)
}

// filter returns the filter of system calls of a wall. What it does not know does
// not exist. rooted says that the wall has a root of its own, with no sockets of
// others, and in which nobody makes user namespaces; clone3 says that the host calls
// that there, whose flags a filter cannot see. told is the answer to what the host is
// to be told.
func (s *Spec) filter(rooted, clone3 bool, told uint32) program {
	var p program
	p.load(atArch)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, filterArch)
	p.answer(refuse)
	p.load(atNumber)
	p.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 0, 1, filterFirstOther)
	p.answer(absent)
	if !rooted {
		p.refuseInPlace()
	}
	if s.KeepUser {
		p.refusePrivileged()
	}
	for _, number := range allowedCalls() {
		p.ifEqual(number, allow)
	}
	for _, number := range toldCalls {
		p.ifEqual(number, told)
	}
	p.when(unix.SYS_SOCKET, func(p *program) { s.socketRules(p, rooted, told) })
	if s.Network == Outbound {
		p.ifEqual(unix.SYS_LISTEN, told)
	} else {
		p.ifEqual(unix.SYS_LISTEN, allow)
	}
	p.when(unix.SYS_CLONE, func(p *program) {
		// A process ID namespace of its own is what the host starts a process with, which
		// itself may not: it has not the privilege, and cannot get it without a user namespace.
		p.loadArg(0)
		p.ifAny(spaces|unix.CLONE_NEWUSER|unix.CLONE_NEWNET|unix.CLONE_NEWCGROUP, told)
		p.answer(allow)
	})
	if clone3 {
		p.ifEqual(unix.SYS_CLONE3, allow)
	}
	p.processRules(told)
	p.answer(absent)
	return p
}

// processRules are those of calls about processes and terminals, of which some are
// harmless.
func (p *program) processRules(told uint32) {
	p.when(unix.SYS_PTRACE, func(p *program) {
		p.loadArg(0)
		p.ifEqual(unix.PTRACE_TRACEME, allow) // the host holds a process by it until its limits are set,
		p.ifEqual(unix.PTRACE_DETACH, allow)  // and lets it go
		p.answer(told)
	})
	p.when(unix.SYS_SETPRIORITY, func(p *program) {
		p.loadArg(0)
		p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.PRIO_PROCESS)
		p.answer(refuse)
		p.loadArg(1)
		p.ifEqual(0, allow)
		p.answer(refuse)
	})
	p.when(unix.SYS_PRCTL, func(p *program) {
		p.loadArg(0)
		p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.PR_SET_PDEATHSIG)
		p.answer(allow)
		p.loadArg(1)
		p.ifEqual(uint32(unix.SIGKILL), allow) // or it would outlive the host
		p.answer(refuse)
	})
	p.when(unix.SYS_IOCTL, func(p *program) {
		p.loadArg(1)
		for _, command := range []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD} {
			p.ifEqual(command, refuse)
		}
		p.answer(allow)
	})
}

// refuseInPlace refuses what reaches others of the same user: Landlock says nothing
// of owners, modes and times of files, nor of the System V's ways between processes.
func (p *program) refuseInPlace() {
	for _, number := range inPlaceRefused {
		p.ifEqual(number, refuse)
	}
	for _, c := range inPlaceSelf {
		p.when(c.number, func(p *program) {
			p.loadArg(c.arg)
			p.ifEqual(0, allow)
			p.answer(refuse)
		})
	}
}

// refusePrivileged refuses to make programs that run with the rights of their owner,
// which is the host's user: others on this machine may see what is written.
func (p *program) refusePrivileged() {
	for _, c := range modeCalls {
		p.when(c.number, func(p *program) {
			p.loadArg(c.arg)
			p.ifAny(unix.S_ISUID|unix.S_ISGID, refuse)
			p.answer(allow)
		})
	}
	p.ifEqual(unix.SYS_OPENAT2, absent) // a filter does not see its mode; programs go on with openat
}

// socketRules are those of socket(2).
func (s *Spec) socketRules(p *program, rooted bool, told uint32) {
	p.loadArg(0)
	if rooted || s.Network == Outbound {
		// Without a root of its own, sockets of others are within reach, which have a name
		// in the file system. What reaches the network reaches those, too.
		p.ifEqual(unix.AF_UNIX, allow)
	}
	if s.Network == None {
		p.answer(told)
		return
	}
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		p.when(family, func(p *program) {
			p.loadArg(1)
			p.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, 0xf) // without flags
			p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 2, 0, unix.SOCK_STREAM)
			p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.SOCK_DGRAM)
			p.answer(told) // raw
			p.loadArg(2)
			p.ifEqual(0, allow)
			p.ifEqual(unix.IPPROTO_TCP, allow)
			p.ifEqual(unix.IPPROTO_UDP, allow)
			// Multipath TCP is not what Landlock's rules for TCP are about; programs go on without.
			p.answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT))
		})
	}
	p.answer(told)
}

// restrict puts the filter on the thread, and returns the descriptor on which the
// host is told of calls, -1 if listen is false.
func (p program) restrict(listen bool) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	var flags uintptr
	if listen {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	if !listen {
		return -1, nil
	}
	return int(fd), nil
}
