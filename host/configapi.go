package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/config"
)

// ConfigLayer names a layer of the configuration: the zero value that of the
// namespace, which all functions read; that of a function; or of one version of it.
type ConfigLayer struct {
	Function string
	Version  int // 0: of all
}

func (l ConfigLayer) layer(namespace string) (config.Layer, error) {
	if l.Function == "" && l.Version == 0 {
		return config.Layer{Namespace: namespace}, nil
	}
	if err := manifest.ValidName(l.Function); err != nil || l.Version < 0 {
		return config.Layer{}, wire.Errorf(wire.BadRequest, "no layer of configuration is that of version %d of function %q", l.Version, l.Function)
	}
	return config.Layer{Namespace: namespace, Function: l.Function, Version: l.Version}, nil
}

// Config returns what is set in a layer, with who has changed it last. A layer in which
// nothing was ever set is empty, at revision 0. The error is of code BadRequest for
// what is no layer, and Unavailable if the configuration cannot be read.
func (h *Namespace) Config(ctx context.Context, l ConfigLayer) (*config.Record, error) {
	layer, err := l.layer(h.name)
	if err != nil {
		return nil, err
	}
	state, err := h.configs.current(ctx)
	if err != nil {
		return nil, err
	}
	return state.Layer(layer), nil
}

// SetConfig sets a path of a layer, such as "limits.rate", to a value that
// encoding/json can encode, and returns the layer when the functions of this host have
// been told. null takes away what earlier layers have there; the empty path is the
// whole layer. by says who asks. Functions that serve and read the layer must agree: if
// the value does not fit the schema of one, nothing is stored, and no function sees it.
//
// The error is of code BadRequest for what is no layer, path or value, Unprocessed if
// it does not fit, or Unavailable if it cannot be stored.
func (h *Namespace) SetConfig(ctx context.Context, l ConfigLayer, by, path string, value any) (*config.Record, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, wire.Errorf(wire.BadRequest, "configuration %q: %v", path, err)
	}
	v, err := config.Parse(data)
	if err != nil {
		return nil, configFailure(err, "")
	}
	return h.changeConfig(ctx, l, by, path, func(ctx context.Context, c config.Change) (*config.Record, error) {
		return h.configs.store.Set(ctx, c, path, v)
	})
}

// RemoveConfig removes what a layer has at a path; the empty path is all of it. Errors
// are as those of SetConfig, and of code NotFound if nothing is set there.
func (h *Namespace) RemoveConfig(ctx context.Context, l ConfigLayer, by, path string) (*config.Record, error) {
	return h.changeConfig(ctx, l, by, path, func(ctx context.Context, c config.Change) (*config.Record, error) {
		return h.configs.store.Remove(ctx, c, path)
	})
}

// RollbackConfig makes an earlier revision of a layer the current one again. Errors are
// as those of SetConfig, and of code NotFound for a revision that is not kept.
func (h *Namespace) RollbackConfig(ctx context.Context, l ConfigLayer, by string, revision uint64) (*config.Record, error) {
	return h.changeConfig(ctx, l, by, "", func(ctx context.Context, c config.Change) (*config.Record, error) {
		return h.configs.store.Rollback(ctx, c, revision)
	})
}

// ConfigHistory returns the revisions of a layer that are kept, at most 64, the oldest
// first. Errors are as those of [Host.Config].
func (h *Namespace) ConfigHistory(ctx context.Context, l ConfigLayer) ([]config.Record, error) {
	layer, err := l.layer(h.name)
	if err != nil {
		return nil, err
	}
	if err := h.configs.open(ctx); err != nil {
		return nil, err
	}
	list, err := h.configs.store.History(ctx, layer)
	return list, configFailure(err, "")
}

func (h *Namespace) changeConfig(ctx context.Context, l ConfigLayer, who, path string, do func(context.Context, config.Change) (*config.Record, error)) (*config.Record, error) {
	layer, err := l.layer(h.name)
	if err != nil {
		return nil, err
	}
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return nil, err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	state, err := h.configs.current(ctx)
	if err != nil {
		return nil, err
	}
	decided, err := h.configs.decide(ctx)
	if err != nil {
		return nil, h.explainEnd(ctx, err)
	}
	defer decided() // when it is seen here, too
	r, err := do(ctx, config.Change{Layer: layer, By: who, Check: h.configs.checkAll(layer)})
	if err != nil {
		return nil, h.explainEnd(ctx, configFailure(err, didYouMean(path, state.Layer(layer).Values)))
	}
	if r.Revision > state.Layer(layer).Revision {
		h.note(slog.LevelInfo, l.Function, "", "configuration of the %s%s: %s", layer, by(who), r.Change)
	}
	return r, h.configs.await(ctx, func() bool { return h.configs.seen >= r.Revision })
}

// didYouMean names the path of a document that is nearest to one.
func didYouMean(path string, doc map[string]any) string {
	var have []string
	for _, leaf := range config.Leaves(doc) {
		for at := leaf.Path; at != ""; at = at[:max(strings.LastIndexByte(at, '.'), 0)] {
			have = append(have, at)
		}
	}
	return nearest.DidYouMean(path, have)
}

// configFailure gives an error of a layer its code. hint goes with what is not there.
func configFailure(err error, hint string) error {
	var e *wire.Error
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case errors.Is(err, config.ErrPath), errors.Is(err, config.ErrValue):
		return wire.Errorf(wire.BadRequest, "%v", err)
	case errors.Is(err, config.ErrNoPath):
		return wire.Errorf(wire.NotFound, "%v%s", err, hint)
	case errors.Is(err, config.ErrRevision):
		return wire.Errorf(wire.NotFound, "%v: `fnhost config history` lists them", err)
	case errors.Is(err, kv.ErrConflict):
		return wire.Errorf(wire.Conflict, "%v", err)
	}
	return wire.Errorf(wire.Unavailable, "configuration: %v", err)
}

// picky returns the versions that a layer reaches, that serve or will do so soon, and that
// not every configuration fits. Those to come are first: one that serves meanwhile is among both.
func (c *configs) picky(l config.Layer) map[promise]bool {
	all := make(map[promise]bool)
	add := func(p promise) {
		if isPicky(p.v.manifest) && l.Reaches(c.h.name, p.function, p.v.number) {
			all[p] = true
		}
	}
	c.mu.Lock()
	for p := range c.promised {
		add(p)
	}
	c.mu.Unlock()
	for name, f := range *c.h.index.Load() {
		if r := f.current.Load(); r != nil {
			for _, p := range r.parts {
				add(promise{name, p.version})
			}
		}
	}
	return all
}

// checkAll returns the check of a change to a layer: all versions that serve and read
// it must be able to go on.
func (c *configs) checkAll(l config.Layer) config.Check {
	return func(next *config.State) error {
		var misfits []error
		for p := range c.picky(l) {
			doc, _, _ := c.read(next, p.function, p.v.number, p.v.manifest)
			var misfit *configError
			if err := p.v.fits(p.function, doc); errors.As(err, &misfit) {
				misfits = append(misfits, fmt.Errorf("function %q %s: %w", p.function, p.v.name, misfit.misfit))
			}
		}
		if len(misfits) == 0 {
			return nil
		}
		slices.SortFunc(misfits, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		more := ""
		if len(misfits) > shownMisfits {
			more = fmt.Sprintf("\nand %d more", len(misfits)-shownMisfits)
			misfits = misfits[:shownMisfits]
		}
		return wire.Errorf(wire.Unprocessed, "nothing was changed, since a function that serves does not take it:\n%v%s", errors.Join(misfits...), more)
	}
}

const shownMisfits = 5

// EffectiveConfig is what a version of a function reads.
type EffectiveConfig struct {
	Function string
	Version  string // "" if there is no such function yet
	Revision uint64
	Values   map[string]any
	Defaults map[string]any          // of the manifest, as far as the function may read them
	From     map[string]config.Layer // of each leaf, by its path; the zero Layer: the manifest's defaults
	Partial  bool                    // access.config leaves something out
	Misfit   string                  // in what it does not fit the schema, "" for nothing
}

// EffectiveConfig returns what a version of a function reads, 0 for the one that
// serves. For a function that is not there it is what it would read without defaults
// of its own. The error is of code NoFunction for a version that there is not, and
// others as those of [Host.Config].
func (h *Namespace) EffectiveConfig(ctx context.Context, function string, number int) (*EffectiveConfig, error) {
	if _, err := (ConfigLayer{Function: function}).layer(h.name); err != nil || function == "" {
		return nil, wire.Errorf(wire.BadRequest, "name the function whose configuration is meant, not %q", function)
	}
	v := &version{number: number, manifest: manifest.Default()}
	f := (*h.index.Load())[function]
	switch {
	case f == nil && number > 0:
		return nil, h.notFound(function)
	case f == nil:
	case number > 0:
		named, err := f.named(ctx, registry.VersionName(number))
		if err != nil {
			return nil, err
		}
		v = named
	case f.current.Load() != nil:
		v = f.current.Load().main()
	}
	state, err := h.configs.current(ctx)
	if err != nil {
		return nil, err
	}
	e := &EffectiveConfig{Function: function, Version: v.name, From: make(map[string]config.Layer)}
	e.Values, e.Partial, e.Revision = h.configs.read(state, function, v.number, v.manifest)
	e.Defaults, _, _ = h.configs.read(&config.State{}, function, v.number, v.manifest)
	origins := state.Origins(v.manifest.Config.Values(), h.name, function, v.number)
	for _, leaf := range config.Leaves(e.Values) {
		e.From[leaf.Path] = origins[leaf.Path]
	}
	var misfit *configError
	if errors.As(v.fits(function, e.Values), &misfit) {
		e.Misfit = misfit.misfit.Error()
	}
	return e, nil
}
