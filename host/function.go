package host

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger"
)

// runner runs the invocations of one version: a pool of workers, or a Go
// function of this process.
type runner interface {
	Do(ctx context.Context, req *wire.Request) (*wire.Response, error)
	Drain(ctx context.Context)
	Stats() worker.Stats
}

// release is a version that serves.
type release struct {
	id       string // of the artifact and the manifest
	version  string
	runner   runner
	info     atomic.Pointer[trigger.Function]
	manifest *manifest.Manifest
	artifact *builder.Artifact // nil for an in-process function
	since    time.Time
}

// function is a name, and the version that serves under it.
type function struct {
	h       *Host
	name    string
	src     builder.Source   // Dir is "" for an in-process function
	routes  []manifest.Route // for the time before the first version
	current atomic.Pointer[release]
	latest  atomic.Pointer[[]string] // directories that the latest build has read

	mu       sync.Mutex
	state    State
	err      error
	failedID string        // what has failed, so that it is not tried again unchanged
	versions int           // how many there were
	settled  chan struct{} // closed when the first build has ended, either way
	dirty    bool          // the source may have changed
	changed  time.Time     // when
	building bool          // a goroutine is at it
	abort    context.CancelCauseFunc
	removed  bool
	drains   sync.WaitGroup
}

// errNewer ends a build whose source has changed again.
var errNewer = errors.New("host: newer source arrived")

func newFunction(h *Host, name string, src builder.Source) *function {
	return &function{h: h, name: name, src: src, state: Building, settled: make(chan struct{})}
}

// requestBuild asks for the source to be looked at. Of the builds of a function
// one runs at a time, and the latest source wins.
func (f *function) requestBuild() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed {
		return
	}
	if !f.dirty {
		f.changed = time.Now()
	}
	f.dirty = true
	if f.abort != nil {
		f.abort(errNewer)
	}
	if !f.building && f.h.ctx.Err() == nil {
		f.building = true
		f.h.tasks.Go(f.buildLoop)
	}
}

func (f *function) buildLoop() {
	for {
		f.mu.Lock()
		if !f.dirty || f.removed || f.h.ctx.Err() != nil {
			f.building = false
			f.mu.Unlock()
			return
		}
		f.dirty = false
		changed := f.changed
		ctx, abort := context.WithCancelCause(f.h.ctx)
		f.abort = abort
		f.mu.Unlock()
		err := f.build(ctx, changed)
		superseded := ctx.Err() != nil
		abort(nil)
		f.mu.Lock()
		f.abort = nil
		f.mu.Unlock()
		if err != nil && !superseded {
			f.fail(err)
		}
	}
}

// build brings the source as it is now to life, unless that has happened already.
func (f *function) build(ctx context.Context, changed time.Time) error {
	if f.h.builder == nil {
		return f.h.noBuild
	}
	m, sum, err := loadManifest(f.src.Dir)
	if err != nil {
		return err
	}
	id, _, err := f.h.builder.Scan(f.src)
	if err != nil {
		return err
	}
	id += sum
	f.mu.Lock()
	current := f.current.Load()
	same := current != nil && current.id == id
	undone := same && f.state != Ready
	if undone {
		f.state, f.err, f.failedID = Ready, nil, "" // back to what serves
	}
	same = same || f.failedID == id
	if !same {
		f.state = Building
	}
	f.mu.Unlock()
	if undone {
		f.h.emit(Event{Time: time.Now(), Function: f.name, State: Ready, Version: f.version(), Took: time.Since(changed), How: builder.Cached})
	}
	if same {
		return nil
	}
	f.h.emit(Event{Time: time.Now(), Function: f.name, State: Building, Version: f.version()})
	a, err := f.h.builder.Build(ctx, f.src)
	if err != nil {
		return err
	}
	next, err := f.prepare(ctx, a, m)
	if err != nil {
		if ctx.Err() == nil { // else it was stopped for newer source, which may be the same again
			f.mu.Lock()
			f.failedID = id
			f.mu.Unlock()
		}
		return err
	}
	next.id = a.ID + sum
	f.h.watchSource(f, a)
	return f.switchTo(next, changed)
}

// loadManifest reads the manifest of dir, and returns a hash of what it says.
func loadManifest(dir string) (*manifest.Manifest, string, error) {
	m, err := manifest.Load(dir)
	if err != nil {
		var list manifest.Errors
		if !errors.As(err, &list) {
			return nil, "", err
		}
		b := &builder.Error{}
		for _, e := range list {
			message := e.Message
			if e.Hint != "" {
				message += " (" + e.Hint + ")"
			}
			b.Diagnostics = append(b.Diagnostics, builder.Diagnostic{
				File: filepath.Join(dir, e.File), Line: e.Line, Column: e.Column, Message: message})
		}
		builder.AddExcerpts(b.Diagnostics)
		return nil, "", b
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, "", err
	}
	return m, fmt.Sprintf("-%x", sha256.Sum256(data))[:9], nil
}

// prepare makes a version of an artifact, and starts its first worker, unless
// the artifact has proved before that it starts.
func (f *function) prepare(ctx context.Context, a *builder.Artifact, m *manifest.Manifest) (*release, error) {
	f.mu.Lock()
	f.versions++
	version := fmt.Sprintf("v%d", f.versions)
	f.mu.Unlock()
	next := &release{version: version, manifest: m, artifact: a}
	pool := worker.NewPool(f.workerSpec(next))
	next.runner = pool
	var endpoints []worker.Endpoint
	proved := readBeside(a, readySuffix, &endpoints) && len(endpoints) > 0
	if !proved || f.current.Load() != nil || m.Scale.Min > 0 {
		if err := pool.Warm(ctx); err != nil {
			f.discard(pool)
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, fmt.Errorf("the new version does not start: %w", err)
		}
		endpoints = pool.Endpoints()
		writeBeside(a, readySuffix, endpoints)
	}
	info, err := describe(f.name, version, a, m, endpoints)
	if err != nil {
		f.discard(pool)
		return nil, err
	}
	next.info.Store(info)
	return next, nil
}

// discard ends a pool that never served.
func (f *function) discard(r runner) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Drain(ctx)
}

func (f *function) workerSpec(r *release) worker.Spec {
	m := r.manifest
	env := make([]string, 0, len(m.Env)+1)
	for key, value := range m.Env {
		env = append(env, key+"="+value)
	}
	slices.Sort(env)
	if m.Memory > 0 {
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", m.Memory))
	}
	most := m.Scale.Max
	if most == 0 {
		most = max(f.h.cfg.MaxWorkers, m.Scale.Min)
	}
	return worker.Spec{
		Function: f.name, Version: r.version, Path: r.artifact.Path, Dir: filepath.Join(f.h.cfg.Dir, "run"), Env: env,
		Limits: worker.Limits{
			Min: m.Scale.Min, Max: most, Concurrency: m.Concurrency, Queue: m.Queue, Idle: m.Scale.Idle, Grace: f.h.cfg.Grace,
		},
		Serve:   func(ctx context.Context, x *wire.Exchange) { f.h.serveCall(ctx, f, m, x) },
		Output:  f.h.logs.Add,
		Spawner: f.h.spawner,
	}
}

// describe gathers what triggers need to know of a version.
func describe(name, version string, a *builder.Artifact, m *manifest.Manifest, endpoints []worker.Endpoint) (*trigger.Function, error) {
	docs := make(map[string]string)
	for _, handler := range a.Package.Handlers {
		docs[handler.Endpoint] = handler.Doc
	}
	info := &trigger.Function{Name: name, Version: version, Doc: a.Package.Doc, Manifest: m}
	for _, e := range endpoints {
		info.Endpoints = append(info.Endpoints, trigger.Endpoint{Name: e.Name, Kind: e.Kind, Doc: docs[e.Name]})
	}
	slices.SortFunc(info.Endpoints, func(a, b trigger.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range m.Triggers.HTTP {
		if info.Endpoint(r.Endpoint) == nil {
			return nil, fmt.Errorf("%s: the route %s names the endpoint %q, which the function does not have", manifest.FileName, r.Path, r.Endpoint)
		}
	}
	return info, nil
}

// switchTo makes next the version that serves, in one step, and lets the one
// before end what it runs.
func (f *function) switchTo(next *release, changed time.Time) error {
	next.since = time.Now()
	f.mu.Lock()
	if f.removed {
		f.mu.Unlock()
		f.discard(next.runner)
		return nil
	}
	old := f.current.Swap(next)
	f.state, f.err, f.failedID = Ready, nil, ""
	f.settle()
	if old != nil {
		f.drain(old)
	}
	f.mu.Unlock()
	f.h.publish()
	e := Event{Time: time.Now(), Function: f.name, State: Ready, Version: next.version, Took: time.Since(changed), First: old == nil}
	if next.artifact != nil {
		e.How = next.artifact.How
	}
	f.h.emit(e)
	if next.artifact != nil {
		f.h.tasks.Go(func() { f.learnSchemas(next) })
	}
	return nil
}

// drain ends a version in the background. f.mu is held.
func (f *function) drain(old *release) {
	f.drains.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.h.cfg.Drain)
		defer cancel()
		old.runner.Drain(ctx)
	})
}

// settle lets those go on who wait for the first build. f.mu is held.
func (f *function) settle() {
	select {
	case <-f.settled:
	default:
		close(f.settled)
	}
}

// fail records that the latest source does not make a version.
func (f *function) fail(err error) {
	f.mu.Lock()
	f.state, f.err = Failed, err
	f.settle()
	removed := f.removed
	f.mu.Unlock()
	if removed {
		return
	}
	f.h.emit(Event{Time: time.Now(), Function: f.name, State: Failed, Version: f.version(), Err: err})
	f.h.logs.Add(logs.Record{Level: 8, Function: f.name, Source: logs.Host, Message: "build failed: " + err.Error()})
	if errors.Is(err, builder.ErrNoHandler) || errors.Is(err, os.ErrNotExist) {
		f.h.rediscover()
	}
}

func (f *function) version() string {
	if r := f.current.Load(); r != nil {
		return r.version
	}
	return ""
}

// stop ends the function: no more builds, no more invocations, and then no
// more workers.
func (f *function) stop(ctx context.Context) {
	f.mu.Lock()
	f.removed = true
	f.state = Draining
	if f.abort != nil {
		f.abort(errNewer)
	}
	f.settle()
	current := f.current.Load()
	f.mu.Unlock()
	if current != nil {
		current.runner.Drain(ctx)
	}
	f.drains.Wait()
}

// stopWithin is stop for at most limit.
func (f *function) stopWithin(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	f.stop(ctx)
}
