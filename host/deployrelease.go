package host

import (
	"context"
	"errors"
	"time"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/trigger/rpc"
)

// release makes a version serve, as the options say.
func (d *deploy) release(ctx context.Context, p *deployedFunction) (admin.Deployed, error) {
	r := admin.Deployed{Function: p.Name, Version: registry.VersionName(p.number), Unchanged: p.existing != nil, Subject: rpc.Subject(p.Name, "")}
	r.Asks = d.h.asksWho(p.Name, p.manifest)
	if base := d.h.Info().HTTP; base != "" {
		r.URL = base + d.h.mount() + "/" + p.Name
	}
	if current := p.f.current.Load(); current != nil {
		r.Before = current.String()
	}
	if d.o.NoRelease {
		if p.f.current.Load() == nil {
			p.f.unreleased()
			d.h.publish()
		}
		r.Took = time.Since(d.start)
		return r, nil
	}
	var kept *registry.Function
	end := d.step(p.Name, "release")
	f, err := d.h.setRelease(ctx, p.f, d.o.By, func(f *registry.Function) ([]registry.Part, error) {
		switch {
		case d.o.Canary > 0:
			return f.Release.Canary(p.number, d.o.Canary), nil
		case p.existing == nil || !f.Release.Holds(p.number):
			return registry.Whole(p.number), nil
		case p.f.isReady():
			kept = f
			return nil, errKept
		}
		return f.Release.Parts, nil // which this host could not serve: it tries again
	})
	if errors.Is(err, errKept) {
		f, err = kept, nil
	}
	if err != nil {
		return r, err
	}
	r.Release = f.Release.String()
	end(r.Release)
	if text := d.h.loop(p.Name); text != "" {
		d.event(admin.DeployEvent{Function: p.Name, Step: admin.StepWarning, Text: text})
	}
	r.Took = time.Since(d.start)
	return r, nil
}

// errKept is the error of a change to a release that is as it should be.
var errKept = errors.New("host: the release stays")

// isReady reports whether what should serve does.
func (f *function) isReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == Ready
}

// tidy removes what is older than what is kept.
func (d *deploy) tidy() {
	trimmed := false
	for _, p := range d.list {
		removed, err := d.h.registry.Trim(d.h.ctx, p.Name)
		if err != nil && d.h.ctx.Err() == nil {
			d.h.log.Warn("old versions were not removed: "+err.Error(), "function", p.Name)
		}
		p.f.unload(removed)
		trimmed = trimmed || len(removed) > 0
	}
	if trimmed {
		d.h.collect()
	}
}

// collect removes what no version needs.
func (h *Namespace) collect() {
	if _, err := h.registry.Collect(h.ctx); err != nil && h.ctx.Err() == nil {
		h.log.Warn("what no version needs was not removed: " + err.Error())
	}
	h.prunePrograms()
}
