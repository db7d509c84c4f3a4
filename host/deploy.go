package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
)

// ErrSuperseded is the error of a deploy that ended because a later one of the
// same function has begun.
var ErrSuperseded = errors.New("host: a later deploy of the same function has begun")

// DeployOptions say what becomes of what a deploy builds. The zero value releases
// it to all invocations.
type DeployOptions struct {
	// Dir is the folder in the tree that holds the functions, or is one. Default:
	// the tree itself.
	Dir string
	// Name is that of the function, if the folder is one whose manifest names none.
	// Default: the folder's.
	Name string
	// NoRelease leaves the release as it is: the new version can be asked for by
	// its name.
	NoRelease bool
	// Canary is the percentage of invocations that the new version gets, from 1 to
	// 99; the one that serves keeps the rest. Default: all of them.
	Canary int
	// Source says where the source came from. Default: an upload.
	Source registry.Source
	// By says who asks.
	By string
	// OnEvent is told of the progress, from several goroutines. Default: nobody.
	OnEvent func(admin.DeployEvent)
}

// Deploy makes versions of the functions in a source tree, starts each, and, if
// all of them start, releases them. What fails leaves everything as it was. A
// function whose source has not changed gets no new version, and a release that
// holds the one it has stays as it is, but for a canary that is asked for. The
// functions of one tree are released one after another.
//
// The error wraps an *[builder.Error] for a source that does not build,
// [ErrSuperseded] if a later deploy of the same function has begun, or an
// *[functions.Error], such as one of code Conflict for a name that is taken by a
// watched function, and of code Unavailable if there is no room on the disk.
func (h *Namespace) Deploy(ctx context.Context, tree string, o DeployOptions) ([]admin.Deployed, error) {
	if h.registry == nil {
		return nil, wire.Errorf(wire.Unavailable, "functions cannot be deployed to this host: %v", h.noRegistry)
	}
	if h.builder == nil {
		return nil, wire.Errorf(wire.Unavailable, "%v", h.noBuild)
	}
	if o.Canary < 0 || o.Canary > 99 || o.Canary > 0 && o.NoRelease {
		return nil, wire.Errorf(wire.BadRequest, "a canary gets 1 to 99 percent of the invocations, and is a release")
	}
	if !h.begin() {
		return nil, ErrClosed
	}
	defer h.tasks.Done()
	if err := h.checkRoom(0); err != nil {
		return nil, err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(ErrClosed) })()
	d := &deploy{h: h, o: o, tree: tree, cancel: cancel, start: time.Now()}
	defer d.discard()
	result, err := d.run(ctx)
	err = h.explainEnd(ctx, err)
	if err != nil {
		d.noteFailure(err)
	}
	return result, err
}

// noteFailure leaves in the log why the deploy has failed, in a line.
func (d *deploy) noteFailure(err error) {
	if len(d.list) == 0 {
		d.h.log.Error(fmt.Sprintf("deploy%s failed: %s", by(d.o.By), shortReason(err, d.tree)))
	}
	for _, p := range d.list {
		why := err
		if p.err != nil {
			why = p.err
		}
		d.h.note(slog.LevelError, p.Name, "", "deploy%s failed: %s", by(d.o.By), shortReason(why, d.tree))
	}
}

// begin reports whether something may begin that Close then waits for, until
// h.tasks.Done.
func (h *Namespace) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.tasks.Add(1)
	}
	return !h.closed
}

// note adds to the log of a function what an operator has done with it.
func (h *Namespace) note(level slog.Level, function, version, format string, args ...any) {
	h.addLog(logs.Record{Level: level, Function: function, Version: version, Source: logs.Host, Message: fmt.Sprintf(format, args...)})
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// deploy is one in progress.
type deploy struct {
	h      *Namespace
	o      DeployOptions
	tree   string
	bundle string // the file of the packed tree
	cancel context.CancelCauseFunc
	start  time.Time

	mu   sync.Mutex
	list []*deployedFunction
	log  strings.Builder
}

// deployedFunction is one function of a deploy.
type deployedFunction struct {
	builder.Found
	f        *function
	manifest *manifest.Manifest
	sum      string // of the manifest
	artifact *builder.Artifact
	next     *version          // started, and not yet the registry's
	existing *registry.Version // equal to what would be deployed
	number   int
	err      error // of its build or start
}

func (d *deploy) run(ctx context.Context) ([]admin.Deployed, error) {
	if err := d.find(); err != nil {
		return nil, err
	}
	defer d.unclaim()
	if err := d.claim(); err != nil {
		return nil, err
	}
	if err := d.eachAtOnce(ctx, d.prepare); err != nil {
		return nil, err
	}
	if err := d.pack(ctx); err != nil {
		return nil, err
	}
	defer os.Remove(d.bundle)
	var result []admin.Deployed
	for _, p := range d.list {
		if err := d.store(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, p := range d.list {
		r, err := d.release(ctx, p)
		if err != nil {
			return result, fmt.Errorf("release of function %q: %w", p.Name, err)
		}
		result = append(result, r)
	}
	d.h.tasks.Go(d.tidy)
	return result, nil
}

// step reports the begin of a step, and the end by the function it returns.
func (d *deploy) step(function, name string) (end func(text string)) {
	start := time.Now()
	d.event(admin.DeployEvent{Function: function, Step: name})
	return func(text string) {
		d.event(admin.DeployEvent{Function: function, Step: name, Done: true, Took: time.Since(start), Text: text})
	}
}

func (d *deploy) event(e admin.DeployEvent) {
	e.Time = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Done {
		fmt.Fprintf(&d.log, "%s %s %s in %v\n", e.Function, e.Step, e.Text, e.Took.Round(time.Millisecond))
	}
	if d.o.OnEvent != nil {
		d.o.OnEvent(e)
	}
}

// find lists the functions of the tree.
func (d *deploy) find() error {
	dir := filepath.Join(d.tree, filepath.FromSlash(d.o.Dir))
	if !within(d.tree, dir) {
		return wire.Errorf(wire.BadRequest, "the folder %q leaves the tree", d.o.Dir)
	}
	found := builder.Find(dir, d.tree)
	if len(found) == 0 {
		return wire.Errorf(wire.Unprocessed, "no function in what was sent: a function is a directory with a handler, `fnhost init hello` makes one")
	}
	names := make(map[string]string)
	for _, fn := range found {
		if fn.Source.Dir == dir && fn.Unnamed && d.o.Name != "" {
			if err := manifest.ValidName(d.o.Name); err != nil {
				return wire.Errorf(wire.BadRequest, "function name %q: %v", d.o.Name, err)
			}
			fn.Name = d.o.Name
		}
		if other, taken := names[fn.Name]; taken {
			return fmt.Errorf("%w: %s and %s are both called %q", ErrDuplicate, d.relative(other), d.relative(fn.Source.Dir), fn.Name)
		}
		names[fn.Name] = fn.Source.Dir
		d.list = append(d.list, &deployedFunction{Found: fn})
	}
	return nil
}

func (d *deploy) relative(path string) string {
	if rel, err := filepath.Rel(d.tree, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// claim makes this the latest deploy of its functions, and ends earlier ones.
func (d *deploy) claim() error {
	d.h.deploying.Lock()
	defer d.h.deploying.Unlock()
	names := make([]string, len(d.list))
	for i, p := range d.list {
		names[i] = p.Name
	}
	if err := d.h.mayAdd(names); err != nil {
		return err
	}
	for _, p := range d.list {
		if p.f = d.h.deployedFunction(p.Name); p.f == nil {
			if d.h.isClosed() {
				return ErrClosed
			}
			return wire.Errorf(wire.Conflict, "function %q is not a deployed one on this host: it is watched, or part of the program", p.Name)
		}
	}
	d.h.publish() // requests to new ones wait
	for _, p := range d.list {
		if earlier := d.h.deploys[p.Name]; earlier != nil {
			earlier.cancel(fmt.Errorf("function %q: %w", p.Name, ErrSuperseded))
		}
		if d.h.deploys == nil {
			d.h.deploys = make(map[string]*deploy)
		}
		d.h.deploys[p.Name] = d
	}
	return nil
}

func (d *deploy) unclaim() {
	d.h.deploying.Lock()
	for _, p := range d.list {
		if d.h.deploys[p.Name] == d {
			delete(d.h.deploys, p.Name)
		}
	}
	d.h.deploying.Unlock()
	for _, p := range d.list {
		if p.f != nil {
			d.h.dropIfEmpty(p.f)
		}
	}
}

// dropIfEmpty forgets a function of which nothing was ever deployed.
func (h *Namespace) dropIfEmpty(f *function) {
	h.deploying.Lock()
	defer h.deploying.Unlock()
	f.deployed.mu.Lock()
	known := f.deployed.want != nil || f.deployed.applied != 0 // damaged
	f.deployed.mu.Unlock()
	f.mu.Lock()
	stored := len(f.loaded) > 0
	keep := known || f.state == Unreleased || stored
	f.mu.Unlock()
	if stored && !known {
		f.unreleased() // it was stored, and the deploy ended before the release
	}
	if keep || h.deploys[f.name] != nil {
		return
	}
	h.forget(f.name)
}

// eachAtOnce does something for all functions, and returns the errors of all.
func (d *deploy) eachAtOnce(ctx context.Context, do func(context.Context, *deployedFunction) error) error {
	errs := make([]error, len(d.list))
	var wg sync.WaitGroup
	for i, p := range d.list {
		wg.Go(func() {
			p.err = do(ctx, p)
			if errs[i] = p.err; p.err != nil && len(d.list) > 1 {
				errs[i] = fmt.Errorf("function %q: %w", p.Name, errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
