package gitpush

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNoGit is the reason for status 503 while there is no git command on PATH.
	// It is looked for at each request, so installing git is enough.
	ErrNoGit = errors.New("gitpush: no git command on the host's PATH: install git 2.34 or later there and push again")
	// ErrClosed is the cause that ends the context of a Deploy, and the reason for
	// status 503, once [Server.Close] was called or [Server.Shutdown] gave up waiting.
	ErrClosed = errors.New("gitpush: the host is stopping: push again when it runs")
)

// ErrRejected is matched by the errors of [Server.Fetch] that are the fault of what
// was asked for, and not of the host.
var ErrRejected = errors.New("gitpush: rejected")

var (
	errStalled  = fmt.Errorf("the client sent nothing for %v", stall)
	errHookGone = errors.New("git has ended the push")
)

// rejection is an error that is said to the pusher. Others are only logged.
type rejection struct{ error }

func (r *rejection) Unwrap() error { return r.error }

func (r *rejection) Is(target error) bool { return target == ErrRejected }

func reject(err error) error { return &rejection{err} }

func rejectf(format string, args ...any) error { return reject(fmt.Errorf(format, args...)) }

// errTooLong ends the context of a push.
type errTooLong time.Duration

func (e errTooLong) Error() string {
	return fmt.Sprintf("the push took longer than %v and was stopped", time.Duration(e))
}
