package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/kv/config"
)

// hasReferences reports whether values of env refer to something.
func hasReferences(m *manifest.Manifest) bool {
	for _, value := range m.Env {
		if manifest.Refers(value) {
			return true
		}
	}
	return false
}

// plainEnv returns the environment of a manifest, but for what refers to something.
func plainEnv(m *manifest.Manifest) []string {
	env := make([]string, 0, len(m.Env)+1)
	for key, value := range m.Env {
		if !manifest.Refers(value) {
			env = append(env, key+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// expandEnv returns the rest of it, with what a version reads as its configuration.
func expandEnv(m *manifest.Manifest, doc map[string]any) (env []string, err error) {
	for _, key := range slices.Sorted(maps.Keys(m.Env)) {
		if !manifest.Refers(m.Env[key]) {
			continue
		}
		value, err := manifest.Expand(m.Env[key], func(ref manifest.Reference) (string, error) {
			return expandConfig(key, ref, doc)
		})
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("env.%s would hold a NUL character", key)
		}
		env = append(env, key+"="+value)
	}
	return env, nil
}

// expandConfig returns what stands for a reference: text as it is, all else as JSON.
func expandConfig(key string, ref manifest.Reference, doc map[string]any) (string, error) {
	v, err := config.Get(doc, ref.Name)
	if err != nil && ref.Optional {
		return ref.Default, nil
	}
	if err != nil {
		return "", fmt.Errorf("%s is missing, to which env.%s refers", ref.Name, key)
	}
	if text, ok := v.(string); ok {
		return text, nil
	}
	return string(config.Marshal(v)), nil
}

// environment is that of the workers of a version, as far as it can change. It replaces
// them when it has.
type environment struct {
	c    *configs
	f    *function
	v    *version
	pool *worker.NativePool // set before any worker starts

	view *configView // guarded by c.mu, as what follows; nil before the first worker
	used string      // what the workers have
}

// now returns the environment for a worker that starts.
func (e *environment) now(ctx context.Context) ([]string, error) {
	view, err := e.c.listen(ctx, e.f, e.v, e)
	if err != nil {
		return nil, err
	}
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	e.view = view
	if view.message == nil {
		if view.err != nil {
			return nil, view.err
		}
		return nil, errors.New("its configuration is not known")
	}
	env, err := expandEnv(e.v.manifest, view.doc)
	if e.used == "" {
		e.used = strings.Join(env, "\x00")
	}
	return env, err
}

// changed implements [listener]. c.mu is held.
func (e *environment) changed() {
	if e.view == nil || e.used == "" {
		return // no worker has it
	}
	env, err := expandEnv(e.v.manifest, e.view.doc)
	if err != nil { // it would not have fitted
		return
	}
	if next := strings.Join(env, "\x00"); next != e.used {
		e.used = next
		e.c.h.note(slog.LevelInfo, e.f.name, e.v.name, "the environment has changed: workers are replaced")
		e.pool.Renew()
	}
}

// stop is called when there are no more workers.
func (e *environment) stop() {
	e.c.mu.Lock()
	view := e.view
	e.c.mu.Unlock()
	if view != nil {
		e.c.unlisten(view, e)
	}
}
