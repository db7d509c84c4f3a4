package gitpush

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// exchange is one request whose body goes to git, and whose answer is what git
// says, both at the same time.
type exchange struct {
	ctx    context.Context
	body   io.Reader // as git wants it
	raw    *patientReader
	out    *patientWriter
	stderr tail
	leave  func() bool // if not nil and true, git ends by itself when ctx has ended
	err    error       // how git has ended
}

// newExchange checks a request of a service. Git gets at most limit bytes.
func newExchange(ctx context.Context, w http.ResponseWriter, r *http.Request, service string, limit int64) (*exchange, error) {
	if want := "application/x-" + service + "-request"; r.Header.Get("Content-Type") != want {
		return nil, statusf(http.StatusUnsupportedMediaType, "Content-Type must be %s", want)
	}
	rc := http.NewResponseController(w)
	x := &exchange{ctx: ctx, raw: &patientReader{ctx: ctx, rc: rc, r: r.Body}, out: &patientWriter{w: w, rc: rc}}
	x.body = x.raw
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		zip, err := gzip.NewReader(x.raw)
		if err != nil {
			return nil, statusf(http.StatusBadRequest, "the body is not gzip: %v", err)
		}
		x.body = zip
	default:
		return nil, statusf(http.StatusUnsupportedMediaType, "Content-Encoding %q is not supported: use gzip or none", encoding)
	}
	x.body = io.LimitReader(x.body, limit)
	if err := rc.EnableFullDuplex(); err != nil {
		return nil, fmt.Errorf("gitpush: the ResponseWriter %T hides that of net/http: give it an Unwrap method: %w", w, err)
	}
	// In this mode net/http panics at the next request of a connection if the body
	// of this one was not read to its end.
	w.Header().Set("Connection", "close")
	header(w, "application/x-"+service+"-result")
	return x, nil
}

// run runs git and returns when it has ended and the whole body was read: a
// client that is not heard out takes any answer for success. It calls cancel if
// the body breaks off. The error is one from before git has started.
func (x *exchange) run(cmd *exec.Cmd, cancel context.CancelCauseFunc) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = &x.stderr
	cmd.WaitDelay = 0 // it would cut off the answer to a slow client
	killer := time.NewTimer(0)
	killer.Stop()
	cmd.Cancel = func() error {
		killer = time.AfterFunc(grace, func() { killGroup(cmd.Process.Pid) })
		if x.leave != nil && x.leave() {
			return nil
		}
		return stopGroup(cmd.Process.Pid)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() {
		io.Copy(x.out, stdout)
		exited <- cmd.Wait()
	}()
	x.feed(stdin, cancel)
	x.err = <-exited
	killer.Stop()
	killGroup(cmd.Process.Pid) // what git has left behind
	x.out.done()
	return nil
}

// feed gives the body to git, and reads the rest of it if git wants no more.
func (x *exchange) feed(stdin io.WriteCloser, cancel context.CancelCauseFunc) {
	defer x.raw.interrupt()()
	defer stdin.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := x.body.Read(buf)
		if _, err := stdin.Write(buf[:n]); err != nil {
			break
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			cancel(fmt.Errorf("the push broke off: %w", err))
			x.raw.rc.SetReadDeadline(past) // net/http would wait for the rest
			return
		}
	}
	stdin.Close()
	if _, err := io.Copy(io.Discard, x.raw); err != nil {
		x.raw.rc.SetReadDeadline(past)
	}
}

// past is a deadline that ends what waits at once.
var past = time.Unix(1, 0)

// patientReader reads a body as long as something comes within stall.
type patientReader struct {
	ctx context.Context
	rc  *http.ResponseController
	r   io.Reader
}

func (b *patientReader) Read(p []byte) (int, error) {
	b.rc.SetReadDeadline(time.Now().Add(stall))
	if b.ctx.Err() != nil { // after the deadline was set: see interrupt
		return 0, context.Cause(b.ctx)
	}
	n, err := b.r.Read(p)
	if err == io.EOF {
		b.rc.SetReadDeadline(time.Time{}) // what is read from now on only tells whether the client is there
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
		if b.ctx.Err() != nil {
			err = context.Cause(b.ctx)
		}
	}
	return n, err
}

// interrupt ends a Read when ctx ends. The function that it returns undoes that.
func (b *patientReader) interrupt() (stop func() bool) {
	return context.AfterFunc(b.ctx, func() { b.rc.SetReadDeadline(past) })
}

// patientWriter writes an answer at once, as long as the client takes it. When
// it does not any more, the rest is dropped: git must not fail because of it.
type patientWriter struct {
	w    io.Writer
	rc   *http.ResponseController
	gone bool
}

func (a *patientWriter) Write(p []byte) (int, error) {
	if !a.gone {
		a.rc.SetWriteDeadline(time.Now().Add(stall))
		if _, err := a.w.Write(p); err != nil || a.rc.Flush() != nil {
			a.gone = true
		}
	}
	return len(p), nil
}

// done lifts the deadline, for the next request of the connection.
func (a *patientWriter) done() { a.rc.SetWriteDeadline(time.Time{}) }
