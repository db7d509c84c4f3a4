package watch

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// MaxPaths is the greatest number of paths in a Change.
const MaxPaths = 256

// A Change says what happened below a tree since the last one.
type Change struct {
	// Paths are the absolute paths that changed, sorted, without duplicates, at most MaxPaths.
	// They lie below the directory given to Add.
	Paths []string

	// Rescan is set if Paths is incomplete: anything below the tree may have changed.
	Rescan bool
}

// A debouncer collects changes and hands them to fn when none was added for
// quiet, or the first waits for longest already. fn runs in a goroutine of its
// own, never twice at a time; a change that is added meanwhile waits for it.
type debouncer struct {
	quiet, longest time.Duration
	fn             func(Change)

	mu      sync.Mutex
	idle    *sync.Cond // signalled when running becomes false
	timer   *time.Timer
	running bool
	closed  bool
	paths   map[string]struct{}
	rescan  bool
	first   time.Time // of the first waiting change; zero if there is none
	due     time.Time
}

func newDebouncer(quiet, longest time.Duration, fn func(Change)) *debouncer {
	d := &debouncer{quiet: quiet, longest: longest, fn: fn, paths: make(map[string]struct{})}
	d.idle = sync.NewCond(&d.mu)
	return d
}

// add notes a change of path; rescan says that more may have changed.
func (d *debouncer) add(path string, rescan bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if len(d.paths) < MaxPaths {
		d.paths[path] = struct{}{}
	} else if _, known := d.paths[path]; !known {
		rescan = true
	}
	d.rescan = d.rescan || rescan

	now := time.Now()
	if d.first.IsZero() {
		d.first = now
	}
	d.due = now.Add(d.quiet)
	if latest := d.first.Add(d.longest); d.due.After(latest) {
		d.due = latest
	}
	if !d.running {
		d.schedule(now)
	}
}

// schedule sets the timer to when the waiting changes are due.
func (d *debouncer) schedule(now time.Time) {
	wait := max(0, d.due.Sub(now))
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.fire)
		return
	}
	d.timer.Reset(wait)
}

// fire is the timer's function: it calls fn.
func (d *debouncer) fire() {
	change, ok := d.take()
	if !ok {
		return
	}
	// Deferred, so that a fn that ends its goroutine does not block close.
	defer d.finish()
	d.fn(change)
}

// take removes and returns the waiting changes if they are due. A timer that
// was set anew just when it expired fires too early, or while fn runs.
func (d *debouncer) take() (Change, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.running || d.first.IsZero() {
		return Change{}, false
	}
	if now := time.Now(); now.Before(d.due) {
		d.schedule(now)
		return Change{}, false
	}
	change := Change{Paths: slices.Sorted(maps.Keys(d.paths)), Rescan: d.rescan}
	clear(d.paths)
	d.rescan, d.first = false, time.Time{}
	d.running = true
	return change, true
}

// finish ends a call of fn and schedules the next if there is something to report.
func (d *debouncer) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
	d.idle.Broadcast()
	if !d.closed && !d.first.IsZero() {
		d.schedule(time.Now())
	}
}

// close drops waiting changes and waits for a running fn.
func (d *debouncer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	for d.running {
		d.idle.Wait()
	}
}
