package host

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger"
)

// errNewer ends a build whose source has changed again.
var errNewer = errors.New("host: newer source arrived")

// errStart is the error of a version whose first worker does not get ready.
var errStart = errors.New("the new version does not start")

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
		seen := f.h.configs.revision()
		failed, err := f.build(ctx, changed)
		superseded := ctx.Err() != nil
		abort(nil)
		f.mu.Lock()
		f.abort = nil
		f.mu.Unlock()
		if err != nil && !superseded {
			f.fail(err, failed)
			if errors.As(err, new(*configError)) && f.h.configs.revision() != seen { // before it was known as failed
				f.requestBuild()
			}
		}
	}
}

// build brings the source as it is now to life, unless that has happened already.
// failed is the id of what has failed, if it would do so again.
func (f *function) build(ctx context.Context, changed time.Time) (failed string, err error) {
	if f.h.builder == nil {
		return "", f.h.noBuild
	}
	m, sum, err := loadManifest(f.src.Dir)
	if err != nil {
		return f.unreadable(err)
	}
	id, _, err := f.h.builder.Scan(f.src)
	if err != nil {
		return f.unreadable(err)
	}
	id += sum
	if f.isKnown(id, changed) {
		return "", nil
	}
	f.h.emit(Event{Time: time.Now(), Function: f.name, State: Building, Version: f.version()})
	if err := f.h.configs.checkManifest(ctx, f.name, f.nextNumber(), m); err != nil {
		return "", err // it is tried again when the configuration has changed
	}
	a, err := f.h.builder.Build(ctx, f.src)
	if err != nil {
		return "", err
	}
	next, err := f.prepare(ctx, a, m)
	if err != nil {
		return id, err
	}
	kept, err := f.h.configs.promise(ctx, f.name, next)
	if err != nil {
		f.discard(next.runner)
		return "", err
	}
	defer kept()
	next.id = a.ID + sum
	f.h.watchSource(f, a)
	f.switchTo(wholeRelease(next), Event{Took: time.Since(changed), How: a.How})
	f.h.tasks.Go(func() { f.learnSchemas(next) })
	return "", nil
}

// nextNumber is that of the version that a build makes.
func (f *function) nextNumber() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versions + 1
}

// isKnown reports whether a source is what serves, or what has failed. Otherwise
// the function is Building from now on.
func (f *function) isKnown(id string, changed time.Time) bool {
	f.mu.Lock()
	current := f.current.Load()
	same := current != nil && current.main().id == id
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
	return same
}

// unreadable returns the error of a source that cannot be read as one, with an id
// of both, unless it was told already.
func (f *function) unreadable(err error) (failed string, _ error) {
	sum := sha256.New()
	fmt.Fprintln(sum, err)
	names, _ := filepath.Glob(filepath.Join(f.src.Dir, "*"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			fmt.Fprintln(sum, name, hashFile(name))
		}
	}
	id := fmt.Sprintf("unreadable-%x", sum.Sum(nil))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == Failed && f.failedID == id {
		return "", nil
	}
	return id, err
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
func (f *function) prepare(ctx context.Context, a *builder.Artifact, m *manifest.Manifest) (*version, error) {
	f.mu.Lock()
	f.versions++
	number := f.versions
	f.mu.Unlock()
	var endpoints []worker.Endpoint
	proved := readBeside(a, readySuffix, &endpoints) && len(endpoints) > 0
	if proved && f.current.Load() == nil && m.Scale.Min == 0 {
		next := f.newVersion(number, a, m)
		return next, f.describe(next, endpoints)
	}
	return f.startVersion(ctx, number, a, m)
}

// startVersion makes a version of an artifact, and starts its first worker.
func (f *function) startVersion(ctx context.Context, number int, a *builder.Artifact, m *manifest.Manifest) (*version, error) {
	next := f.newVersion(number, a, m)
	pool := next.runner.(*worker.NativePool)
	if err := pool.Warm(ctx); err != nil {
		f.discard(pool)
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	endpoints := pool.Endpoints()
	writeBeside(a, readySuffix, endpoints)
	if err := f.describe(next, endpoints); err != nil {
		f.discard(pool)
		return nil, err
	}
	return next, nil
}

func (f *function) newVersion(number int, a *builder.Artifact, m *manifest.Manifest) *version {
	v := &version{name: registry.VersionName(number), number: number, manifest: m, artifact: a, publishes: publishesOf(a)}
	spec := f.workerSpec(v)
	if !hasReferences(m) {
		v.runner = worker.NewPool(spec)
		return v
	}
	e := &environment{c: f.h.configs, f: f, v: v}
	spec.Environ, spec.Stopped = e.now, e.stop
	e.pool = worker.NewPool(spec)
	v.runner = e.pool
	return v
}

// describe gathers what triggers need to know of a version.
func (f *function) describe(v *version, endpoints []worker.Endpoint) error {
	docs := make(map[string]string)
	for _, handler := range v.artifact.Package.Handlers {
		docs[handler.Endpoint] = handler.Doc
	}
	info := &trigger.Function{Name: f.name, Version: v.name, Doc: v.artifact.Package.Doc, Manifest: v.manifest}
	for _, e := range endpoints {
		info.Endpoints = append(info.Endpoints, trigger.Endpoint{Name: e.Name, Kind: e.Kind, Doc: docs[e.Name]})
	}
	slices.SortFunc(info.Endpoints, func(a, b trigger.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	v.info.Store(info)
	if err := checkChanges(v.manifest.Triggers.KV, v.artifact.Package.Handlers); err != nil {
		return err
	}
	return checkTriggers(info)
}

// checkChanges returns an error for a kv trigger whose handler takes a value, where
// there may be none. That of a program with a main of its own finds out when it is run.
func checkChanges(triggers []manifest.KV, handlers []builder.Handler) error {
	for i := range triggers {
		k := &triggers[i]
		for _, h := range handlers {
			if h.Endpoint == k.Endpoint && h.Value && (k.Wants(kv.OpDelete) || k.Wants(kv.OpExpire)) {
				return fmt.Errorf("%s: the kv trigger of %s is for deletes and expiries, too, which have no value for %s to take: let it take a functions.Event, or add on: [put]", manifest.FileName, k, h.Func)
			}
		}
	}
	return nil
}

// checkTriggers returns an error for a trigger of an endpoint that there is not, or
// that cannot take what it brings.
func checkTriggers(info *trigger.Function) error {
	named := make(map[string]string) // endpoint → what names it
	t := &info.Manifest.Triggers
	events := slices.Clone(t.Event)
	for _, r := range t.HTTP {
		if r.Event != "" {
			continue // it invokes nothing
		}
		named[r.Endpoint] = "the route " + r.Path
	}
	for _, e := range t.Event {
		named[e.Endpoint] = "the event trigger of " + e.Subject
	}
	for _, s := range t.Schedule {
		named[s.Endpoint] = "the schedule " + s.Pattern()
	}
	for _, s := range t.Subscribe {
		named[s.Endpoint] = "the subscription of " + s.Subject
	}
	for i := range t.KV {
		named[t.KV[i].Endpoint] = "the kv trigger of " + t.KV[i].String()
		events = append(events, t.KV[i].Event())
	}
	for _, e := range events {
		if p := info.Endpoint(e.Endpoint); e.Batch != nil && p != nil && p.Kind != wire.EndpointJSON && p.Kind != wire.EndpointBatch {
			return fmt.Errorf("%s: %s has batches, for which its handler must take a slice, such as []functions.Event", manifest.FileName, named[e.Endpoint])
		}
	}
	for _, endpoint := range slices.Sorted(maps.Keys(named)) {
		if info.Endpoint(endpoint) != nil {
			continue
		}
		if endpoint == "" {
			return fmt.Errorf("%s: %s names no endpoint, and the function has no root", manifest.FileName, named[endpoint])
		}
		return fmt.Errorf("%s: %s names the endpoint %q, which the function does not have", manifest.FileName, named[endpoint], endpoint)
	}
	return nil
}
