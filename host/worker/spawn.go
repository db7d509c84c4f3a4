package worker

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// Spawner starts processes from one thread that lives as long as it does: on
// Linux a worker dies with the thread that started it (PR_SET_PDEATHSIG), and
// threads of the Go runtime come and go. Make one with [NewSpawner].
type Spawner struct {
	requests chan spawnRequest
	null     *os.File // the standard input of workers
	once     sync.Once
	done     chan struct{}
}

type spawnRequest struct {
	path   string
	argv   []string
	attr   *os.ProcAttr
	answer chan spawnAnswer
}

type spawnAnswer struct {
	proc *os.Process
	err  error
}

// NewSpawner returns a Spawner. Its Close ends all processes that it has started
// and that still run.
func NewSpawner() (*Spawner, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	s := &Spawner{requests: make(chan spawnRequest), null: null, done: make(chan struct{})}
	go s.run()
	return s, nil
}

func (s *Spawner) run() {
	// Never unlocked: the thread ends with this goroutine, and the workers with it.
	runtime.LockOSThread()
	for {
		select {
		case r := <-s.requests:
			proc, err := os.StartProcess(r.path, r.argv, r.attr)
			r.answer <- spawnAnswer{proc, err}
		case <-s.done:
			return
		}
	}
}

func (s *Spawner) start(path string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	r := spawnRequest{path, argv, attr, make(chan spawnAnswer, 1)}
	select {
	case s.requests <- r:
		a := <-r.answer
		return a.proc, a.err
	case <-s.done:
		return nil, os.ErrClosed
	}
}

// Close ends the thread.
func (s *Spawner) Close() {
	s.once.Do(func() {
		close(s.done)
		s.null.Close()
	})
}

// socketpair returns both ends of a channel: the host's, in the poller of the
// runtime, and the worker's.
func socketpair() (host, worker *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		// Larger buffers save the system calls of large bodies; not having them is no error.
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 512<<10)
		if err := syscall.SetNonblock(fd, true); err != nil {
			syscall.Close(fds[0])
			syscall.Close(fds[1])
			return nil, nil, os.NewSyscallError("setnonblock", err)
		}
	}
	return os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "host"), nil
}
