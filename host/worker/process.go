package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/wall"
)

// Spec says what the workers of a pool are.
type Spec struct {
	Function string
	Version  string // for the log
	Path     string // the program
	Dir      string // where the directories of the workers are made; they go with them
	Env      []string
	// Environ returns what is added to Env when a worker starts; an error is that of
	// its start. Default: nothing.
	Environ func(ctx context.Context) ([]string, error)
	// Stopped is told when the pool has been drained. Default: nobody.
	Stopped func()
	Limits  Limits
	// StartTimeout is how long a worker may take to be ready. Default: 10 s.
	StartTimeout time.Duration
	// Serve answers what workers ask the host.
	Serve func(ctx context.Context, x *wire.Exchange)
	// Redact takes out of a record what must not leave the host, before anybody sees
	// it. Default: nothing.
	Redact func(*logs.Record)
	// Output takes what they write and log. It must not block.
	Output func(logs.Record)
	// Spawner starts them, if there is no wall.
	Spawner *Spawner
	// Machine builds the wall that they are behind. Default: there is none.
	Machine *wall.Machine
	// Wall says what they may have there. Program, Dir, Workers and Refused are the
	// pool's to say.
	Wall wall.Spec
}

// Endpoint is what a worker says it serves.
type Endpoint struct{ Name, Kind string }

// NewPool returns the pool of the version that spec describes. It starts no
// worker yet; see [Pool.Warm].
func NewPool(spec Spec) *NativePool {
	if spec.StartTimeout == 0 {
		spec.StartTimeout = 10 * time.Second
	}
	n := &NativePool{spec: spec}
	n.Pool = newPool(spec.Limits, n.start, n.report)
	return n
}

// NativePool is a [Pool] of native processes.
type NativePool struct {
	*Pool
	spec      Spec
	walls     wallKeeper
	nextID    atomic.Int64
	warming   atomic.Int64 // who waits in Warm
	endpoints atomic.Pointer[[]Endpoint]
}

// Endpoints returns what the workers serve, as the first one to be ready has
// said; nil before.
func (n *NativePool) Endpoints() []Endpoint {
	if e := n.endpoints.Load(); e != nil {
		return *e
	}
	return nil
}

// report tells the log what happened to a worker.
func (n *NativePool) report(event string, err error) {
	message := map[string]string{
		"crash":   "worker ended unexpectedly",
		"start":   "worker did not start",
		"recycle": "worker is replaced",
	}[event]
	if errors.Is(err, context.Canceled) || errors.As(err, new(toldError)) {
		return
	}
	n.output(logs.Record{Level: slog.LevelError, Source: logs.Host, Message: message + ": " + CutOutput(err.Error())})
}

// toldError is the error of a start that who waits for it in Warm is told.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }

// Warm is [Pool.Warm], whose error says all that there is to say.
func (n *NativePool) Warm(ctx context.Context) error {
	n.warming.Add(1)
	defer n.warming.Add(-1)
	return n.Pool.Warm(ctx)
}

// Drain is [Pool.Drain].
func (n *NativePool) Drain(ctx context.Context) {
	n.Pool.Drain(ctx)
	if n.spec.Stopped != nil {
		n.spec.Stopped()
	}
}

// start starts a worker.
func (n *NativePool) start(ctx context.Context) (process, error) {
	p, err := n.startProcess(ctx)
	if err != nil && n.warming.Load() > 0 {
		err = toldError{err}
	}
	return p, err
}

// redact takes out of a record what nobody may see.
func (n *NativePool) redact(r *logs.Record) {
	if n.spec.Redact != nil {
		n.spec.Redact(r)
	}
}

func (n *NativePool) output(r logs.Record) {
	r.Function, r.Version = n.spec.Function, n.spec.Version
	if n.spec.Output != nil {
		n.spec.Output(r)
	}
}

// native is a worker process.
type native struct {
	pool    *NativePool
	id      string
	proc    *os.Process
	session *wire.Session
	cleanup func() string   // after its end; returns the limit that it met, if one
	ready   chan wire.Frame // capacity 1
	exited  chan struct{}
	reason  string // why it ended; after exited
	last    tail   // its latest lines, for the reason
	stop    sync.Once

	mu   sync.Mutex
	dead bool // the process was waited for: its id is no longer its own
}

// startProcess starts a worker and waits until it is ready.
func (n *NativePool) startProcess(ctx context.Context) (process, error) {
	w := &native{pool: n, id: fmt.Sprintf("w%d", n.nextID.Add(1)), ready: make(chan wire.Frame, 1), exited: make(chan struct{})}
	var more []string
	if n.spec.Environ != nil {
		var err error
		if more, err = n.spec.Environ(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.spawn(more); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(n.spec.StartTimeout)
	defer timeout.Stop()
	var err error
	select {
	case f := <-w.ready:
		if err = w.checkReady(f); err == nil {
			return w, nil
		}
	case <-w.exited:
		return nil, fmt.Errorf("%s before it was ready%s", w.reason, w.last.quoted())
	case <-timeout.C:
		err = fmt.Errorf("not ready within %v%s", n.spec.StartTimeout, w.last.quoted())
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.kill()
	<-w.exited
	return nil, err
}

// spawn starts the process with its channel and its pipes.
func (w *native) spawn(env []string) error {
	spec := &w.pool.spec
	host, child, err := socketpair()
	if err != nil {
		return err
	}
	defer child.Close()
	var pipes outputPipes
	if err := pipes.open(); err != nil {
		host.Close()
		return err
	}
	defer pipes.closeWriters()
	if err := w.launch(env, []*os.File{spec.Spawner.null, pipes.outW, pipes.errW, child}); err != nil {
		host.Close()
		pipes.closeReaders()
		return err
	}
	w.session = wire.NewSession(host, wire.Config{Host: true, Serve: spec.Serve, Control: w.control})
	go w.run(&pipes)
	return nil
}

// environ returns the environment of the worker, from scratch. The first of two
// values of a name counts, so that the manifest may have another PATH or GOGC.
func (w *native) environ(more []string, dir string) []string {
	spec := &w.pool.spec
	env := append([]string{wire.WorkerEnv + "=" + spec.Function}, spec.Env...)
	env = append(env, more...)
	return append(env,
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME="+dir, "TMPDIR="+dir,
		// A function's live heap is small, so collecting at twice its size would
		// be most of what a busy worker does. At rest this costs nothing.
		"GOGC=400",
	)
}

// run goes along with the process to its end.
func (w *native) run(pipes *outputPipes) {
	var output sync.WaitGroup
	output.Go(func() { w.copyLines(pipes.outR, logs.Stdout) })
	output.Go(func() { w.copyLines(pipes.errR, logs.Stderr) })
	sessionErr := make(chan error, 1)
	go func() {
		err := w.session.Run()
		// A worker that has closed its channel is of no use, and one that breaks
		// the protocol even less.
		w.closing(err)
		sessionErr <- err
	}()
	state, err := w.proc.Wait()
	w.mu.Lock()
	w.dead = true
	killGroup(w.proc.Pid) // its children die with it
	w.mu.Unlock()
	w.session.Close()
	broken := <-sessionErr
	// Children that left the group may hold the pipes: do not wait for them for long.
	timer := time.AfterFunc(time.Second, pipes.closeReaders)
	output.Wait()
	timer.Stop()
	pipes.closeReaders()
	verdict := w.cleanup()
	switch {
	case err != nil:
		w.reason = err.Error()
	case broken != nil && !errors.Is(broken, syscall.ECONNRESET):
		w.reason = fmt.Sprintf("%v, after %v", state, broken)
	default:
		w.reason = state.String()
	}
	if verdict != "" {
		w.reason += ": " + verdict
	}
	close(w.exited)
}

// closing gives a worker whose session has ended a moment to end by itself.
func (w *native) closing(err error) {
	if err == nil {
		time.AfterFunc(time.Second, w.kill)
		return
	}
	w.kill()
}

func (w *native) control(f wire.Frame) {
	switch f.Kind {
	case wire.Ready:
		select {
		case w.ready <- f:
		default: // said twice
		}
	case wire.Log:
		w.log(f)
	}
}

func (w *native) log(f wire.Frame) {
	r := logs.Record{Source: logs.Log, Worker: w.id}
	for key, value := range f.Header.Fields() {
		switch string(key) {
		case wire.KeyLevel:
			r.Level.UnmarshalText(value)
		case wire.KeyMessage:
			r.Message = string(value)
		case wire.KeyInvocation:
			r.Invocation = string(value)
		}
	}
	if json.Valid(f.Payload) {
		r.Attrs = f.Payload
	}
	w.pool.redact(&r)
	w.pool.output(r)
}

// checkReady looks at what the worker said of itself.
func (w *native) checkReady(f wire.Frame) error {
	if v := f.Header.Get(wire.KeyProtocol); v != wire.Version {
		return fmt.Errorf("it speaks version %q of the protocol, and this host version %q: build it with the library of this host", v, wire.Version)
	}
	var list []Endpoint
	for key, value := range f.Header.All() {
		if key == wire.KeyEndpoint {
			name, kind, _ := strings.Cut(value, " ")
			list = append(list, Endpoint{Name: name, Kind: kind})
		}
	}
	w.pool.endpoints.CompareAndSwap(nil, &list)
	return nil
}

func (w *native) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	return w.session.Do(ctx, req)
}

func (w *native) Exited() <-chan struct{} { return w.exited }
func (w *native) ExitReason() string      { return w.reason }

// stopPatience is how long a worker may take to end once it was asked to.
const stopPatience = 500 * time.Millisecond

func (w *native) Stop() {
	w.stop.Do(func() {
		w.session.Send(&wire.Frame{Kind: wire.Drain})
		select {
		case <-w.exited:
		case <-time.After(stopPatience):
			w.kill()
		}
	})
}

func (w *native) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead {
		killGroup(w.proc.Pid)
	}
}

func killGroup(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }
