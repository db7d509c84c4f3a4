package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/registry"
)

// deployment is what a deployed function has beside: the registry's record, and
// how far this host has got with it.
type deployment struct {
	mu       sync.Mutex
	want     *registry.Function // nil while nothing is released
	applied  uint64             // revision of the record that was applied, or could not be
	err      error              // why not
	changed  chan struct{}      // closed, and made anew, when applied changes
	applying bool               // a goroutine is at it

	gone    chan struct{} // closed when the function was removed
	loading sync.Mutex    // held while a version is made of the registry's
}

// startTimeout bounds how long the registry may take to tell what there is.
const startTimeout = 30 * time.Second

// followRegistry brings to life what the registry says is released, and keeps to
// it until the host is closed. It returns when the functions are known, of which
// the first invocations then wait until they are loaded.
func (h *Namespace) followRegistry() error {
	r, err := h.openRegistry()
	if err != nil {
		if h.cfg.NATSURL == "" {
			return fmt.Errorf("host: %w", err)
		}
		h.noRegistry = err
		h.log.Warn("functions cannot be deployed here: " + err.Error())
		return nil
	}
	h.registry = r
	ready, failed := make(chan struct{}), make(chan error, 1)
	h.tasks.Go(func() { h.watchRegistry(sync.OnceFunc(func() { close(ready) }), failed) })
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-ready:
	case err := <-failed:
		return fmt.Errorf("host: %w", err)
	case <-timer.C:
		return fmt.Errorf("host: the registry did not answer within %v", startTimeout)
	}
	if err := h.addUnreleased(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.publish()
	h.verify.Store(true)
	h.tasks.Go(h.checkPrograms)
	return nil
}

// openRegistry opens the registry of the first namespace. Those of the others are parts of it.
func (h *Namespace) openRegistry() (*registry.Registry, error) {
	if h != h.first {
		return h.first.registry.Namespace(h.name), nil
	}
	return registry.Open(h.ctx, h.bus.Control(), h.name)
}

// watchAgain is how long after an error the registry is watched again.
const watchAgain = time.Second

// watchRegistry watches the registry until the host is closed. It begins anew when
// storage was gone, which a watch finds out only after a while, and after an error,
// of which failed is told.
func (h *Namespace) watchRegistry(initial func(), failed chan<- error) {
	for h.ctx.Err() == nil {
		ctx, stop := h.untilRestored(h.ctx)
		err := h.registry.Watch(ctx, h.recordChanged, initial)
		stop()
		if err == nil {
			continue
		}
		select {
		case failed <- err: // the first one
		default:
			h.log.Warn("changes of releases are not seen, trying again: " + err.Error())
		}
		select {
		case <-time.After(watchAgain):
		case <-h.ctx.Done():
		}
	}
}

// openPrograms makes their directory, and removes what a host that was killed has
// not fetched to the end.
func (h *Namespace) openPrograms() error {
	half, err := filepath.Glob(filepath.Join(h.programs(), ".*"))
	for _, path := range half {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return errors.Join(err, os.MkdirAll(h.programs(), 0o700))
}

// errUnreleased is the state of a function that has versions, none of which is
// released: as after a deploy without a release, or if the record of its release
// is lost.
var errUnreleased = errors.New("it has versions, but none of them is released: `fnhost release set` releases one")

// addUnreleased makes functions of those that have versions and no release.
func (h *Namespace) addUnreleased() error {
	names, err := h.registry.Names(h.ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		h.mu.Lock()
		known := h.functions[name] != nil
		h.mu.Unlock()
		if known {
			continue
		}
		if f := h.deployedFunction(name); f != nil {
			f.unreleased()
		}
	}
	return nil
}

// unreleased marks a function as one that nothing serves.
func (f *function) unreleased() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.err = Unreleased, errUnreleased
	f.settle()
}

// deployedFunction returns the deployed function name, which it makes if need be.
// It returns nil if the name belongs to a watched or in-process function.
func (h *Namespace) deployedFunction(name string) *function {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.functions[name]
	if f == nil && !h.closed {
		f = newFunction(h, name, builder.Source{})
		f.deployed = &deployment{changed: make(chan struct{}), gone: make(chan struct{})}
		f.loaded = make(map[int]*version)
		h.functions[name] = f
		h.reindex()
	}
	if f == nil || f.deployed == nil {
		return nil
	}
	return f
}

// recordChanged is told of each change of the registry, in their order.
func (h *Namespace) recordChanged(c registry.Change) {
	if c.Function == nil && c.Err == nil {
		h.forget(c.Name)
		return
	}
	f := h.deployedFunction(c.Name)
	if f == nil {
		if !h.isClosed() {
			h.log.Warn("a function that is deployed here is not served: this host has another one of that name", "function", c.Name)
		}
		return
	}
	d := f.deployed
	if c.Err != nil {
		f.quarantine(c.Err)
		d.mu.Lock()
		d.done(c.Revision, c.Err)
		d.mu.Unlock()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = c.Function
	if d.err != nil && d.applied == c.Revision {
		d.applied = 0 // it is told again: perhaps it can be applied now
	}
	if !d.applying {
		d.applying = true
		h.tasks.Go(f.applyLoop)
	}
}

// done notes that a revision was applied, or could not be. d.mu is held.
func (d *deployment) done(revision uint64, err error) {
	d.applied, d.err = revision, err
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits until a revision was applied, and returns why it could not be.
func (d *deployment) await(ctx context.Context, revision uint64) error {
	for {
		d.mu.Lock()
		applied, err, changed := d.applied, d.err, d.changed
		d.mu.Unlock()
		if applied >= revision {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// forget ends a function that was removed from the registry.
func (h *Namespace) forget(name string) {
	h.mu.Lock()
	f := h.functions[name]
	if f == nil || f.deployed == nil {
		h.mu.Unlock()
		return
	}
	delete(h.functions, name)
	h.reindex()
	h.mu.Unlock()
	h.publish()
	h.remove(f)
	close(f.deployed.gone)
	if len(h.sources) > 0 {
		h.rediscover() // a watched folder may have waited for the name
	}
}

// applyLoop applies the record that the registry has of a function, until there
// is no newer one.
func (f *function) applyLoop() {
	d := f.deployed
	for {
		d.mu.Lock()
		want := d.want
		if want.Revision == d.applied || f.h.ctx.Err() != nil {
			d.applying = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		err := f.apply(f.h.ctx, want)
		if err != nil && f.h.ctx.Err() == nil {
			f.quarantine(err)
		}
		d.mu.Lock()
		d.done(want.Revision, err)
		d.mu.Unlock()
	}
}

// apply makes a release what serves. If some of it cannot be had, what serves goes
// on; if nothing does, as after a start of the host, the rest of it serves.
func (f *function) apply(ctx context.Context, want *registry.Function) error {
	next := &release{}
	var failed error
	for _, p := range want.Release.Parts {
		v, err := f.load(ctx, p.Version)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("release %s: %w", want.Release.String(), err))
			continue
		}
		next.parts = append(next.parts, part{v, p.Weight})
	}
	if failed != nil && (len(next.parts) == 0 || f.current.Load() != nil) {
		return failed
	}
	f.switchTo(next, Event{How: Released})
	return failed
}

// applyAgain applies what was applied before.
func (f *function) applyAgain() {
	d := f.deployed
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied = 0
	if !d.applying && d.want != nil {
		d.applying = true
		f.h.tasks.Go(f.applyLoop)
	}
}

// quarantine says that what the registry says cannot be served. What served
// before goes on.
func (f *function) quarantine(err error) {
	if errors.Is(err, registry.ErrDamaged) || errors.Is(err, registry.ErrNotFound) {
		err = fmt.Errorf("%w: deploy the function again, or release a version that is whole: `fnhost versions %s` lists them, `fnhost release set` releases one", err, f.name)
	}
	f.fail(err, "")
}
