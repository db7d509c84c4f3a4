package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger"
)

// load returns a version of a deployed function, ready to run.
func (f *function) load(ctx context.Context, number int) (*version, error) {
	f.deployed.loading.Lock()
	defer f.deployed.loading.Unlock()
	if v := f.isLoaded(number); v != nil {
		return v, nil
	}
	record, err := f.h.registry.Version(ctx, f.name, number)
	if err != nil {
		return nil, err
	}
	path, err := f.h.program(ctx, record)
	if err != nil {
		return nil, err
	}
	v := f.newVersion(number, &builder.Artifact{ID: record.Artifact, Path: path, Size: record.Size}, record.Manifest)
	v.id, v.publishes = record.Artifact+record.ManifestSum, record.Publishes
	info := &trigger.Function{Name: f.name, Version: v.name, Doc: record.Doc, Manifest: record.Manifest}
	for _, e := range record.Endpoints {
		info.Endpoints = append(info.Endpoints, trigger.Endpoint{Name: e.Name, Kind: e.Kind, Doc: e.Doc, Request: e.Request, Response: e.Response})
	}
	v.info.Store(info)
	return v, f.keep(v)
}

func (f *function) isLoaded(number int) *version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loaded[number]
}

// keep adds to the versions that are loaded.
func (f *function) keep(v *version) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed {
		f.discard(v.runner)
		return wire.Errorf(wire.Unavailable, "function %q is being removed", f.name)
	}
	f.loaded[v.number] = v
	return nil
}

// unload ends versions that were trimmed and still are loaded.
func (f *function) unload(numbers []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.current.Load()
	for _, n := range numbers {
		if v := f.loaded[n]; v != nil && (current == nil || !current.holds(v)) {
			delete(f.loaded, n)
			f.drain(v)
		}
	}
}

// named returns the version of a function that has a name.
func (f *function) named(ctx context.Context, name string) (*version, error) {
	if r := f.current.Load(); r != nil {
		for _, p := range r.parts {
			if p.name == name {
				return p.version, nil
			}
		}
	}
	if f.deployed != nil {
		number, err := registry.ParseVersion(name)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "version %v", err)
		}
		v, err := f.load(ctx, number)
		if err == nil || !errors.Is(err, registry.ErrNotFound) {
			return v, err
		}
	}
	serves := ""
	if v := f.version(); v != "" {
		serves = "; " + v + " serves"
	}
	if f.deployed != nil {
		serves += fmt.Sprintf(": `fnhost versions %s` lists what there is", f.name)
	}
	return nil, wire.Errorf(wire.NoFunction, "function %q has no version %q%s", f.name, name, serves)
}

// warm starts a worker of a version that has none, so that a release does not
// begin with a cold start, or with a program that does not start.
func (v *version) warm(ctx context.Context) error {
	pool, ok := v.runner.(*worker.NativePool)
	if !ok || pool.Stats().Workers > 0 {
		return nil
	}
	return pool.Warm(ctx)
}
