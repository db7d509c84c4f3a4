package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/redact"
	"github.com/fnhost/fnhost/host/worker"
)

// function is a name, and what serves under it.
type function struct {
	h        *Namespace
	name     string
	src      builder.Source   // of a watched function
	deployed *deployment      // of a deployed function
	routes   []manifest.Route // for the time before the first version
	current  atomic.Pointer[release]
	latest   atomic.Pointer[[]string]        // directories that the latest build has read
	hidden   atomic.Pointer[redact.Redactor] // the secrets that it was given; nil for none
	failures failures

	mu       sync.Mutex
	state    State
	err      error
	failedID string           // what has failed, so that it is not tried again unchanged
	versions int              // how many there were, of a function that is not deployed
	loaded   map[int]*version // of a deployed function: those in the release, and those asked for
	settled  chan struct{}    // closed when the first build has ended, either way
	dirty    bool             // the source may have changed
	changed  time.Time        // when
	building bool             // a goroutine is at it
	abort    context.CancelCauseFunc
	removed  bool
	drains   sync.WaitGroup
	callers  callers
}

func newFunction(h *Namespace, name string, src builder.Source) *function {
	return &function{h: h, name: name, src: src, state: Building, settled: make(chan struct{})}
}

// settle lets those go on who wait for the first build. f.mu is held.
func (f *function) settle() {
	select {
	case <-f.settled:
	default:
		close(f.settled)
	}
}

// fail records that the latest source does not make a version. id is that of what
// has failed, "" if it is to be tried again unchanged.
func (f *function) fail(err error, id string) {
	f.mu.Lock()
	f.state, f.err, f.failedID = Failed, err, id
	f.settle()
	removed := f.removed
	f.mu.Unlock()
	if removed {
		return
	}
	f.h.emit(Event{Time: time.Now(), Function: f.name, State: Failed, Version: f.version(), Err: err})
	message := worker.CutOutput(err.Error())
	if f.deployed == nil {
		message = "the latest source does not serve: " + message
	}
	f.h.addLog(logs.Record{Level: 8, Function: f.name, Source: logs.Host, Message: message})
	if errors.Is(err, builder.ErrNoHandler) || errors.Is(err, os.ErrNotExist) {
		f.h.rediscover()
	}
}

func (f *function) version() string {
	if r := f.current.Load(); r != nil {
		return r.main().name
	}
	return ""
}

// retire takes the function out of service: it gets no more versions.
func (f *function) retire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = true
	f.state = Draining
	if f.abort != nil {
		f.abort(errNewer)
	}
	f.settle()
}

// stop ends the function: no more builds, no more invocations, and then no
// more workers.
func (f *function) stop(ctx context.Context) {
	f.retire()
	f.mu.Lock()
	serving := f.running()
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, v := range serving {
		wg.Go(func() { v.runner.Drain(ctx) })
	}
	wg.Wait()
	f.drains.Wait()
	f.noteMore()
}

// stopWithin is stop for at most limit.
func (f *function) stopWithin(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	f.stop(ctx)
}

// running returns the versions that may run invocations. f.mu is held.
func (f *function) running() []*version {
	list := slices.Collect(maps.Values(f.loaded))
	if r := f.current.Load(); r != nil {
		for _, p := range r.parts {
			if !slices.Contains(list, p.version) {
				list = append(list, p.version)
			}
		}
	}
	return list
}

// isLocal reports whether the function is one of this program.
func (f *function) isLocal() bool { return f.src.Dir == "" && f.deployed == nil }

// kind says where the function comes from.
func (f *function) kind() string {
	switch {
	case f.deployed != nil:
		return "deployed"
	case f.src.Dir != "":
		return "watched"
	}
	return "in process"
}
