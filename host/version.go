package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/kv/config"
	"github.com/fnhost/fnhost/trigger"
)

// runner runs the invocations of one version: a pool of workers, or a Go
// function of this process.
type runner interface {
	Do(ctx context.Context, req *wire.Request) (*wire.Response, error)
	Drain(ctx context.Context)
	Stats() worker.Stats
}

// version is a version of a function that can run.
type version struct {
	id       string // of the artifact and the manifest
	name     string // "v3"
	number   int
	runner   runner
	info     atomic.Pointer[trigger.Function]
	manifest *manifest.Manifest
	artifact *builder.Artifact // nil for an in-process function
	since    time.Time

	publishes []builder.Publish // as far as its source tells; never changed once it serves

	compile   sync.Once // of its configuration's schema, when that is first needed
	schema    *config.Schema
	schemaErr error
}

// release says which versions get the invocations of a function.
type release struct {
	parts []part // the heaviest first
}

// part is a version's part in a release.
type part struct {
	*version
	weight int // in percent
}

func wholeRelease(v *version) *release { return &release{parts: []part{{v, 100}}} }

// main returns the version that stands for the function: the one with the most
// invocations.
func (r *release) main() *version { return r.parts[0].version }

// pick chooses the version of one invocation.
func (r *release) pick() *version {
	if len(r.parts) == 1 {
		return r.parts[0].version
	}
	n := rand.IntN(100)
	for _, p := range r.parts {
		if n -= p.weight; n < 0 {
			return p.version
		}
	}
	return r.main()
}

// String returns "v3", or "v3=90 v4=10".
func (r *release) String() string {
	parts := make([]registry.Part, len(r.parts))
	for i, p := range r.parts {
		parts[i] = registry.Part{Version: p.number, Weight: p.weight}
	}
	return (&registry.Release{Parts: parts}).String()
}

func (r *release) holds(v *version) bool {
	return slices.ContainsFunc(r.parts, func(p part) bool { return p.version == v })
}

// discard ends a pool that never served.
func (f *function) discard(r runner) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Drain(ctx)
}

func (f *function) workerSpec(v *version) worker.Spec {
	m := v.manifest
	env := plainEnv(m)
	if m.Memory > 0 {
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", m.Memory))
	}
	most := m.Scale.Max
	if most == 0 {
		most = max(f.h.cfg.MaxWorkers, m.Scale.Min)
	}
	spec := worker.Spec{
		Function: f.name, Version: v.name, Path: v.artifact.Path, Dir: filepath.Join(f.h.cfg.Dir, "run"), Env: env,
		Limits: worker.Limits{
			Min: m.Scale.Min, Max: most, Concurrency: m.Concurrency, Queue: m.Queue, Idle: m.Scale.Idle, Grace: f.h.cfg.Grace,
		},
		Serve:   func(ctx context.Context, x *wire.Exchange) { f.h.serveCall(ctx, f, v, x) },
		Redact:  f.hide,
		Output:  f.h.addLog,
		Spawner: f.h.spawner,
	}
	f.h.wallIn(&spec, m)
	return spec
}

// switchTo makes next what serves, in one step, and lets versions that are not
// part of it end what they run. e is told when that has happened.
func (f *function) switchTo(next *release, e Event) {
	now := time.Now()
	f.mu.Lock()
	if f.removed {
		f.mu.Unlock()
		for _, p := range next.parts {
			f.discard(p.runner)
		}
		return
	}
	for _, p := range next.parts {
		if p.since.IsZero() {
			p.since = now
		}
	}
	old := f.current.Swap(next)
	f.state, f.err, f.failedID = Ready, nil, ""
	f.settle()
	if old != nil {
		for _, p := range old.parts {
			if !next.holds(p.version) {
				if f.loaded[p.number] == p.version {
					delete(f.loaded, p.number)
				}
				f.drain(p.version)
			}
		}
	}
	f.mu.Unlock()
	f.h.publish()
	e.Time, e.Function, e.State, e.Version, e.First = time.Now(), f.name, Ready, next.main().name, old == nil
	f.h.emit(e)
	f.warnOfLoop()
}

// drain ends a version in the background. f.mu is held.
func (f *function) drain(old *version) {
	f.drains.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.h.cfg.Drain)
		defer cancel()
		old.runner.Drain(ctx)
	})
}
