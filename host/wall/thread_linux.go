package wall

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is a thread of the operating system that runs what it is given, and ends
// when it is closed. What is done to it (namespaces, filters, fewer privileges) no
// other thread has: the Go runtime makes no thread from one that is locked.
type thread struct {
	jobs chan func()
	done chan struct{}
	gone chan struct{}
}

var errThread = errors.New("wall: closed")

func newThread() *thread {
	t := &thread{jobs: make(chan func()), done: make(chan struct{}), gone: make(chan struct{})}
	started := make(chan struct{})
	go t.begin(started)
	<-started
	return t
}

// begin runs t on a thread other than the first of the process, which cannot end,
// and which is the one that /proc shows as the process.
func (t *thread) begin(started chan struct{}) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		go t.begin(started)
		<-started // it has got another one, as this one is taken
		runtime.UnlockOSThread()
		return
	}
	close(started)
	defer close(t.gone)
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-t.done:
			return
		}
	}
}

// do runs f on the thread, and waits for it.
func (t *thread) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case t.jobs <- func() { result <- f() }:
		return <-result
	case <-t.done:
		return errThread
	}
}

// close ends the thread, and with it, by PR_SET_PDEATHSIG, all processes that it
// has started. It is called once.
func (t *thread) close() {
	close(t.done)
	<-t.gone
}
