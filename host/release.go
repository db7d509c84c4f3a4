package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
)

// setRelease changes what of a function serves, in one step, and returns when it
// does so on this host. Versions are loaded, and their first workers started,
// before anything changes.
func (h *Namespace) setRelease(ctx context.Context, f *function, who string, change func(*registry.Function) ([]registry.Part, error)) (*registry.Function, error) {
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return nil, err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	var promises []func()
	defer func() {
		for _, kept := range promises {
			kept()
		}
	}()
	record, err := h.registry.Release(ctx, f.name, who, func(r *registry.Function) ([]registry.Part, error) {
		parts, err := change(r)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			v, err := f.load(ctx, p.Version)
			if errors.Is(err, registry.ErrNotFound) {
				return nil, err
			}
			var kept func()
			if err == nil {
				kept, err = h.configs.promise(ctx, f.name, v)
			}
			if err == nil {
				promises = append(promises, kept)
				err = v.warm(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("v%d: %w", p.Version, err)
			}
		}
		return parts, nil
	})
	if errors.Is(err, registry.ErrNotFound) {
		return nil, wire.Errorf(wire.NoFunction, "%v: `fnhost versions %s` lists those that are", err, f.name)
	}
	if err != nil {
		return nil, h.explainEnd(ctx, err)
	}
	if err := f.deployed.await(ctx, record.Revision); err != nil {
		return nil, err
	}
	h.note(slog.LevelInfo, f.name, "", "released%s: %s", by(who), record.Release.String())
	return record, nil
}

// deployedNamed returns a deployed function.
func (h *Namespace) deployedNamed(name string) (*function, error) {
	f := (*h.index.Load())[name]
	if f == nil {
		return nil, h.notFound(name)
	}
	if f.deployed == nil {
		return nil, wire.Errorf(wire.Conflict, "function %q has no releases: it is watched, or part of the program, and its latest version serves", name)
	}
	return f, nil
}

// SetRelease makes parts the release of a deployed function: which versions get
// how many percent of the invocations, in sum 100. by says who asks. The error is
// an *[functions.Error]: of code NoFunction for a function or version that there
// is not, Conflict for a function that is not deployed, and BadRequest for weights
// that make no whole.
func (h *Namespace) SetRelease(ctx context.Context, name, by string, parts []registry.Part) (*registry.Function, error) {
	return h.changeRelease(ctx, name, by, func(*registry.Function) ([]registry.Part, error) {
		r := registry.Release{Parts: parts}
		if err := r.Check(); err != nil {
			return nil, wire.Errorf(wire.BadRequest, "release of function %q: %v", name, err)
		}
		return parts, nil
	})
}

// Rollback releases an earlier version of a deployed function to all invocations:
// version, or, for 0, the one that was released before the one that serves. Of a
// canary it is the one that serves beside it. Errors are as those of SetRelease.
func (h *Namespace) Rollback(ctx context.Context, name, by string, version int) (*registry.Function, error) {
	return h.changeRelease(ctx, name, by, func(f *registry.Function) ([]registry.Part, error) {
		if version != 0 {
			return registry.Whole(version), nil
		}
		if len(f.Release.Parts) > 1 {
			return registry.Whole(slices.MinFunc(f.Release.Parts, byVersion).Version), nil
		}
		before, err := h.releasedBefore(ctx, f)
		if err != nil {
			return nil, err
		}
		return registry.Whole(before), nil
	})
}

// releasedBefore returns the version that was released before the one that serves.
func (h *Namespace) releasedBefore(ctx context.Context, f *registry.Function) (int, error) {
	numbers, err := h.registry.Numbers(ctx, f.Name)
	if err != nil {
		return 0, err
	}
	there := make(map[int]bool)
	for _, n := range numbers {
		there[n] = true
	}
	before := 0
	for _, n := range f.Released {
		if len(f.Release.Parts) > 0 && n < f.Release.Parts[0].Version && there[n] {
			before = n
		}
	}
	if before == 0 {
		return 0, wire.Errorf(wire.Conflict, "function %q has no earlier version that was released: name one, `fnhost versions %s` lists them", f.Name, f.Name)
	}
	return before, nil
}

// Promote releases the canary of a function, its latest version in the release,
// to all invocations. The error is of code Conflict if there is none; others are
// as those of SetRelease.
func (h *Namespace) Promote(ctx context.Context, name, by string) (*registry.Function, error) {
	return h.changeRelease(ctx, name, by, func(f *registry.Function) ([]registry.Part, error) {
		if len(f.Release.Parts) < 2 {
			return nil, wire.Errorf(wire.Conflict, "function %q has no canary: %s serves alone", name, f.Release.String())
		}
		return registry.Whole(slices.MaxFunc(f.Release.Parts, byVersion).Version), nil
	})
}

func byVersion(a, b registry.Part) int { return a.Version - b.Version }

func (h *Namespace) changeRelease(ctx context.Context, name, by string, change func(*registry.Function) ([]registry.Part, error)) (*registry.Function, error) {
	f, err := h.deployedNamed(name)
	if err != nil {
		return nil, err
	}
	return h.setRelease(ctx, f, by, change)
}

// Remove ends a deployed function, and removes all its versions. Errors are as
// those of SetRelease.
func (h *Namespace) Remove(ctx context.Context, name string) error {
	f, err := h.deployedNamed(name)
	if err != nil {
		return err
	}
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	if err := h.registry.Remove(ctx, name); err != nil && !errors.Is(err, registry.ErrNotFound) {
		return h.explainEnd(ctx, err)
	}
	select {
	case <-f.deployed.gone:
	case <-ctx.Done():
		return h.explainEnd(ctx, ctx.Err())
	}
	if h.begin() {
		go func() {
			defer h.tasks.Done()
			h.collect()
		}()
	}
	return nil
}

// Versions returns the versions of a deployed function, the newest first, and its
// record, nil if nothing of it is released. Errors are as those of SetRelease.
func (h *Namespace) Versions(ctx context.Context, name string) ([]*registry.Version, *registry.Function, error) {
	if _, err := h.deployedNamed(name); err != nil {
		return nil, nil, err
	}
	list, err := h.registry.Versions(ctx, name)
	if err != nil && len(list) == 0 {
		return nil, nil, err
	}
	f, err := h.registry.Function(ctx, name)
	if errors.Is(err, registry.ErrNotFound) {
		err = nil
	}
	return list, f, err
}
