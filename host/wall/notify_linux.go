package wall

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notified is struct seccomp_notif.
type notified struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// notifyAnswer is struct seccomp_notif_resp.
type notifyAnswer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

const (
	// quiet is for how long the same kind of refusal is counted, and not told again.
	quiet = time.Minute
	// mostCalls is how many calls are answered at once within a second; who makes more
	// waits for each answer, so that answering does not become the host's work.
	mostCalls = 1000
	slowdown  = 5 * time.Millisecond
)

// toldKind counts the refusals of one kind.
type toldKind struct {
	last  time.Time
	count int
}

// listener answers the calls that a filter refuses and that the host is to know of.
// If there is nobody to answer them, they fail by themselves.
type listener struct {
	file    *os.File
	refused func(Refusal)
	kinds   map[string]*toldKind
	second  int64 // in which calls were answered
	calls   int
	done    chan struct{}
}

// listen answers calls on fd, which is the listener's from then on, until close.
func listen(fd int, refused func(Refusal)) *listener {
	unix.SetNonblock(fd, true)
	l := &listener{file: os.NewFile(uintptr(fd), "seccomp"), refused: refused, kinds: make(map[string]*toldKind), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *listener) close() {
	l.file.Close()
	<-l.done
}

func (l *listener) run() {
	defer close(l.done)
	conn, err := l.file.SyscallConn()
	if err != nil {
		return
	}
	for {
		over := false
		err := conn.Read(func(fd uintptr) bool {
			var more bool
			more, over = l.answer(int(fd))
			return more || over
		})
		if err != nil || over {
			return
		}
	}
}

// answer answers one call, and says whether there was one, and whether there will
// be none any more.
func (l *listener) answer(fd int) (answered, over bool) {
	// Receiving blocks while there is nothing, whatever the descriptor's flags say.
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(polled, 0); err != nil || n == 0 {
		return errors.Is(err, syscall.EINTR), false
	}
	if polled[0].Revents&unix.POLLIN == 0 {
		return false, true // nobody has the filter any more
	}
	var call notified
	if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&call)); err != nil {
		return true, false // who called has gone
	}
	l.slow()
	r, errno := explain(&call)
	answer := notifyAnswer{id: call.id, errno: -int32(errno)}
	ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer))
	l.tell(r)
	return true, false
}

// slow waits if there are too many calls.
func (l *listener) slow() {
	if now := time.Now().Unix(); now != l.second {
		l.second, l.calls = now, 0
	}
	if l.calls++; l.calls > mostCalls {
		time.Sleep(slowdown)
	}
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// tell tells of a refusal unless one of its kind was told of a moment ago.
func (l *listener) tell(r Refusal) {
	k := l.kinds[r.What]
	if k == nil {
		k = new(toldKind)
		l.kinds[r.What] = k
	}
	k.count++
	if now := time.Now(); l.refused != nil && now.Sub(k.last) >= quiet {
		r.Count = k.count
		k.last, k.count = now, 0
		l.refused(r)
	}
}

// explain says what a call that was refused is about, and how it is to fail.
func explain(call *notified) (Refusal, unix.Errno) {
	switch uint32(call.nr) {
	case unix.SYS_SOCKET:
		return explainSocket(uint32(call.args[0]))
	case unix.SYS_LISTEN:
		return Refusal{What: "listen for connections", Fix: "what it serves, it serves through the host: see functions.Serve and triggers"}, unix.EACCES
	case unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP:
		return Refusal{What: "look into another process"}, unix.EPERM
	case unix.SYS_CLONE, unix.SYS_UNSHARE, unix.SYS_SETNS:
		return Refusal{What: "make a namespace"}, unix.EPERM
	case unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR:
		return Refusal{What: "change what is mounted"}, unix.EPERM
	case unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY:
		return Refusal{What: "use bpf, perf, userfaultfd or the kernel's keys"}, unix.EPERM
	case unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD:
		return Refusal{What: "load code into the kernel"}, unix.EPERM
	}
	return Refusal{What: "administer the machine"}, unix.EPERM
}

func explainSocket(family uint32) (Refusal, unix.Errno) {
	switch family {
	case unix.AF_INET, unix.AF_INET6:
		return Refusal{What: "open a network connection", Fix: "write network: outbound in its function.yaml"}, unix.EACCES
	case unix.AF_UNIX:
		return Refusal{What: "open a Unix socket", Fix: "without root, that takes network: outbound in its function.yaml"}, unix.EACCES
	}
	return Refusal{What: "open a raw, netlink or other special socket"}, unix.EACCES
}
