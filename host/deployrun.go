package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger"
)

// deployRun is a deploy that was asked for over the network. It goes on when who
// asked has gone, and can be followed, again from its begin.
type deployRun struct {
	id      string
	started time.Time
	cancel  context.CancelCauseFunc
	begun   chan struct{} // closed when the source is there
	dropped chan struct{} // closed when it did not arrive

	mu      sync.Mutex
	events  []admin.DeployEvent
	changed chan struct{} // closed, and made anew, with each event
}

// errDeployCanceled ends a deploy that somebody wants no more.
var errDeployCanceled = wire.Errorf(wire.Canceled, "the deploy was canceled; what serves is as it was")

// keepRuns is how many deploys that have ended can still be followed.
const keepRuns = 100

// deployRuns are the deploys of a host, the oldest first.
type deployRuns struct {
	mu   sync.Mutex
	list []*deployRun
}

// begin returns the run of an id, which it makes if there is none.
func (r *deployRuns) begin(ctx context.Context, id string) (run *deployRun, runCtx context.Context, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.find(id); run != nil {
		return run, nil, false
	}
	for i := 0; len(r.list) >= keepRuns && i < len(r.list); i++ {
		if r.list[i].ended() {
			r.list = slices.Delete(r.list, i, i+1)
			break
		}
	}
	runCtx, cancel := context.WithCancelCause(ctx)
	run = &deployRun{id: id, started: time.Now(), cancel: cancel,
		begun: make(chan struct{}), dropped: make(chan struct{}), changed: make(chan struct{})}
	r.list = append(r.list, run)
	return run, runCtx, true
}

// find returns the run of an id, nil for none. r.mu is held.
func (r *deployRuns) find(id string) *deployRun {
	for _, run := range r.list {
		if run.id == id {
			return run
		}
	}
	return nil
}

func (r *deployRuns) get(id string) (*deployRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.find(id); run != nil {
		return run, nil
	}
	return nil, wire.Errorf(wire.NotFound, "no deploy %q: the host knows the latest %d since its start", id, keepRuns)
}

// drop forgets a run whose source did not arrive.
func (r *deployRuns) drop(run *deployRun, err error) {
	r.mu.Lock()
	r.list = slices.DeleteFunc(r.list, func(other *deployRun) bool { return other == run })
	r.mu.Unlock()
	run.add(admin.DeployEvent{Error: deployProblem(err, "")})
	run.cancel(nil)
	close(run.dropped)
}

func (d *deployRun) add(e admin.DeployEvent) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *deployRun) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.events) > 0 && d.events[len(d.events)-1].Last()
}

// follow yields all events until the last one.
func (d *deployRun) follow(ctx context.Context, yield func(admin.DeployEvent) error) error {
	for n := 0; ; {
		d.mu.Lock()
		events, changed := d.events[n:], d.changed
		d.mu.Unlock()
		for _, e := range events {
			if err := yield(e); err != nil || e.Last() {
				return err
			}
		}
		n += len(events)
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *deployRun) status() admin.Deploy {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := admin.Deploy{ID: d.id, Started: d.started}
	for _, e := range d.events {
		if e.Function != "" && !slices.Contains(s.Functions, e.Function) {
			s.Functions = append(s.Functions, e.Function)
		}
		if e.Last() {
			s.Ended = &e.Time
			if e.Error != nil {
				s.Error = firstLine(e.Error.Detail)
			}
		}
	}
	return s
}

// deployInput is what a run deploys: what is received while the client sends, or
// what the host then fetches itself.
type deployInput struct {
	options DeployOptions
	receive func(ctx context.Context, dir string) error
	fetch   func(ctx context.Context, dir string, o *DeployOptions) error
}

// runDeploy deploys in the background, unless a deploy of that id was begun
// before, and yields the events.
func (h *Namespace) runDeploy(ctx context.Context, id string, in deployInput, yield func(admin.DeployEvent) error) error {
	if len(id) < 8 || len(id) > 64 {
		return wire.Errorf(wire.BadRequest, "the id of a deploy has 8 to 64 characters: choose a random one")
	}
	for {
		run, runCtx, fresh := h.runs.begin(h.ctx, id)
		if fresh {
			if err := h.startRun(ctx, runCtx, run, in); err != nil {
				h.runs.drop(run, err)
				return err
			}
			close(run.begun)
		}
		select {
		case <-run.begun:
			return run.follow(ctx, yield)
		case <-run.dropped: // nothing came of it, and this request is the next one of that id
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startRun receives what there is to receive, and goes on in the background.
func (h *Namespace) startRun(ctx, runCtx context.Context, run *deployRun, in deployInput) error {
	tree, remove, err := h.deployDir()
	if err != nil {
		return err
	}
	if in.receive != nil {
		if err := in.receive(ctx, tree); err != nil {
			remove()
			return h.explainEnd(ctx, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		remove()
		return ErrClosed
	}
	h.tasks.Go(func() {
		defer remove()
		h.deployTree(runCtx, run, in, tree)
	})
	return nil
}

func (h *Namespace) deployTree(ctx context.Context, run *deployRun, in deployInput, tree string) {
	defer run.cancel(nil)
	o := in.options
	o.OnEvent = run.add
	var result []admin.Deployed
	var err error
	if in.fetch != nil {
		err = in.fetch(ctx, tree, &o)
	}
	if err == nil {
		result, err = h.Deploy(ctx, tree, o)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	if err != nil {
		run.add(admin.DeployEvent{Error: deployProblem(err, tree)})
		return
	}
	run.add(admin.DeployEvent{Result: result})
}

// deployDir makes a directory for the source of one deploy, and returns what
// removes it. The first that is free is used again: the builder is faster where it
// has built a function before. The last part is always the same, since it may give
// the function its name.
func (h *Namespace) deployDir() (tree string, remove func(), err error) {
	parent := ""
	for n := 0; ; n++ {
		parent = filepath.Join(h.cfg.Dir, "run", fmt.Sprint("deploy-", n))
		if err = os.Mkdir(parent, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	tree = filepath.Join(parent, "source")
	if err == nil {
		err = os.Mkdir(tree, 0o700)
	}
	if err != nil {
		return "", nil, h.explainEnd(h.ctx, fmt.Errorf("host: data directory: %w", err))
	}
	return tree, func() { os.RemoveAll(parent) }, nil
}

// deployProblem is an error of a deploy as clients get it, with paths in tree.
func deployProblem(err error, tree string) *admin.Problem {
	e := wire.AsError(err)
	switch {
	case errors.Is(err, ErrSuperseded), errors.Is(err, ErrDuplicate):
		e.Code = wire.Conflict
	case errors.Is(err, ErrClosed):
		e.Code = wire.Unavailable
	}
	p := &admin.Problem{Code: string(e.Code), Detail: err.Error()}
	if tree != "" {
		p.Detail = strings.ReplaceAll(p.Detail, tree+string(filepath.Separator), "")
	}
	for _, d := range allDiagnostics(err) {
		p.Code = string(wire.Unprocessed)
		if rel, err := filepath.Rel(tree, d.File); err == nil && filepath.IsLocal(rel) {
			d.File = filepath.ToSlash(rel)
		}
		p.Diagnostics = append(p.Diagnostics, admin.Diagnostic(d))
	}
	p.Status = trigger.StatusOf(&wire.Error{Code: wire.Code(p.Code)})
	return p
}

// allDiagnostics returns those of all build errors that err joins.
func allDiagnostics(err error) (list []builder.Diagnostic) {
	switch e := err.(type) {
	case *builder.Error:
		return e.Diagnostics
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = append(list, allDiagnostics(one)...)
		}
	case interface{ Unwrap() error }:
		return allDiagnostics(e.Unwrap())
	}
	return list
}
