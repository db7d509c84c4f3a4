package host

import (
	"context"
	"encoding/json"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/kv/config"
)

func configLayer(l admin.ConfigLayer) (ConfigLayer, error) {
	if l.Version == "" {
		return ConfigLayer{Function: l.Function}, nil
	}
	number, err := registry.ParseVersion(l.Version)
	if err != nil {
		return ConfigLayer{}, wire.Errorf(wire.BadRequest, "%v", err)
	}
	return ConfigLayer{Function: l.Function, Version: number}, nil
}

// withLayer does something with a layer, and returns what it has then.
func (b backend) withLayer(l admin.ConfigLayer, do func(ConfigLayer) (*config.Record, error)) (admin.Config, error) {
	layer, err := configLayer(l)
	if err != nil {
		return admin.Config{}, err
	}
	r, err := do(layer)
	if err != nil {
		return admin.Config{}, err
	}
	return b.shownConfig(layer, r), nil
}

func (b backend) shownConfig(l ConfigLayer, r *config.Record) admin.Config {
	layer, _ := l.layer(b.h.name)
	c := admin.Config{Layer: layer.String(), Revision: r.Revision, By: r.By, Change: r.Change, Values: config.Marshal(r.Values)}
	if !r.Time.IsZero() {
		c.Time = &r.Time
	}
	return c
}

// Config implements [admin.Configurer].
func (b backend) Config(ctx context.Context, l admin.ConfigLayer) (admin.Config, error) {
	return b.withLayer(l, func(l ConfigLayer) (*config.Record, error) { return b.h.Config(ctx, l) })
}

// SetConfig implements [admin.Configurer].
func (b backend) SetConfig(ctx context.Context, l admin.ConfigLayer, by, path string, value json.RawMessage) (admin.Config, error) {
	note := ""
	c, err := b.withLayer(l, func(l ConfigLayer) (*config.Record, error) {
		r, err := b.h.SetConfig(ctx, l, by, path, value)
		if err == nil {
			note = b.h.configNote(ctx, l, path, value)
		}
		return r, err
	})
	c.Note = note
	return c, err
}

// RemoveConfig implements [admin.Configurer].
func (b backend) RemoveConfig(ctx context.Context, l admin.ConfigLayer, by, path string) (admin.Config, error) {
	return b.withLayer(l, func(l ConfigLayer) (*config.Record, error) { return b.h.RemoveConfig(ctx, l, by, path) })
}

// RollbackConfig implements [admin.Configurer].
func (b backend) RollbackConfig(ctx context.Context, l admin.ConfigLayer, by string, revision uint64) (admin.Config, error) {
	return b.withLayer(l, func(l ConfigLayer) (*config.Record, error) { return b.h.RollbackConfig(ctx, l, by, revision) })
}

// ConfigHistory implements [admin.Configurer].
func (b backend) ConfigHistory(ctx context.Context, l admin.ConfigLayer) ([]admin.Config, error) {
	layer, err := configLayer(l)
	if err != nil {
		return nil, err
	}
	list, err := b.h.ConfigHistory(ctx, layer)
	var shown []admin.Config
	for i := range list {
		shown = append(shown, b.shownConfig(layer, &list[i]))
	}
	return shown, err
}

// EffectiveConfig implements [admin.Configurer].
func (b backend) EffectiveConfig(ctx context.Context, l admin.ConfigLayer) (admin.EffectiveConfig, error) {
	layer, err := configLayer(l)
	if err != nil {
		return admin.EffectiveConfig{}, err
	}
	e, err := b.h.EffectiveConfig(ctx, layer.Function, layer.Version)
	if err != nil {
		return admin.EffectiveConfig{}, err
	}
	shown := admin.EffectiveConfig{Function: e.Function, Version: e.Version, Revision: e.Revision, Values: config.Marshal(e.Values), Defaults: config.Marshal(e.Defaults),
		From: make(map[string]string), Partial: e.Partial, Misfit: e.Misfit}
	for path, from := range e.From {
		if shown.From[path] = "defaults"; from != (config.Layer{}) {
			shown.From[path] = from.String()
		}
	}
	return shown, nil
}
