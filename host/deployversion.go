package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/bundle"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/registry"
)

// prepare builds a function, and starts it, unless there is an equal version.
func (d *deploy) prepare(ctx context.Context, p *deployedFunction) (err error) {
	if p.manifest, p.sum, err = loadManifest(p.Source.Dir); err != nil {
		return err
	}
	id, _, err := d.h.builder.Scan(p.Source)
	if err != nil {
		return err
	}
	versions, err := d.h.registry.Versions(ctx, p.Name)
	if err != nil && !errors.Is(err, registry.ErrDamaged) {
		return err
	}
	for _, v := range versions {
		p.number = max(p.number, v.Number)
		if p.existing == nil && v.Artifact == id && v.ManifestSum == p.sum {
			p.existing = v
		}
	}
	if p.existing != nil {
		if _, err := d.h.program(ctx, p.existing); errors.Is(err, registry.ErrDamaged) {
			p.existing = nil // it is made anew
		}
	}
	number := p.number + 1
	if p.existing != nil {
		number = p.existing.Number
	}
	if err := d.h.configs.checkManifest(ctx, p.Name, number, p.manifest); err != nil || p.existing != nil {
		return err
	}
	end := d.step(p.Name, "build")
	p.artifact, err = d.h.builder.Build(ctx, p.Source)
	if errors.Is(err, builder.ErrNoGo) {
		return wire.Errorf(wire.Unavailable, "%v", err)
	}
	if err != nil {
		return err
	}
	end(string(p.artifact.How))
	if err := d.place(p); err != nil {
		return err
	}
	end = d.step(p.Name, "start")
	if p.next, err = p.f.startVersion(ctx, p.number+1, p.artifact, p.manifest); err != nil {
		return err
	}
	p.f.askSchemas(p.next)
	end(p.next.name)
	return nil
}

// discard ends what was started and does not serve.
func (d *deploy) discard() {
	for _, p := range d.list {
		if p.next != nil {
			p.f.discard(p.next.runner)
		}
	}
}

// pack makes the bundle that is stored with the versions.
func (d *deploy) pack(ctx context.Context) error {
	need := int64(0)
	for _, p := range d.list {
		if p.artifact != nil {
			need += 2 * p.artifact.Size
		}
	}
	if need == 0 {
		return nil // nothing is new
	}
	if err := d.h.checkRoom(need); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(d.h.cfg.Dir, "run"), "bundle-*")
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	d.bundle = f.Name()
	s, err := bundle.Pack(ctx, d.tree, f, bundle.Limits{})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.o.Source.Size, d.o.Source.Files = s.Bytes, len(s.Entries)
	return nil
}

// store makes a version of what was started.
func (d *deploy) store(ctx context.Context, p *deployedFunction) error {
	if p.existing != nil {
		p.number = p.existing.Number
		return nil
	}
	end := d.step(p.Name, "store")
	info := p.next.info.Load()
	v := &registry.Version{
		Function: p.Name, Artifact: p.artifact.ID, Size: p.artifact.Size, Manifest: p.manifest, ManifestSum: p.sum, Doc: info.Doc,
		Source: d.o.Source, Created: time.Now().UTC(), Took: p.artifact.Took, Toolchain: d.h.builder.Toolchain(),
	}
	if v.Source.Kind == "" {
		v.Source.Kind = registry.Upload
	}
	if v.Source.Author == "" {
		v.Source.Author = d.o.By
	}
	if v.Source.Dir = d.relative(p.Source.Dir); v.Source.Dir == "." {
		v.Source.Dir = ""
	}
	for _, at := range p.next.publishes {
		at.File = d.relative(at.File)
		v.Publishes = append(v.Publishes, at)
	}
	for _, e := range info.Endpoints {
		v.Endpoints = append(v.Endpoints, registry.Endpoint{Name: e.Name, Kind: e.Kind, Doc: e.Doc, Request: e.Request, Response: e.Response})
	}
	d.mu.Lock()
	log := d.log.String()
	d.mu.Unlock()
	if err := d.h.registry.Add(ctx, v, p.artifact.Path, d.bundle, log); err != nil {
		return err
	}
	if v.Number == p.next.number { // else another node has taken the number
		p.next.id, p.next.publishes = p.artifact.ID+p.sum, v.Publishes
		if err := p.f.keep(p.next); err != nil {
			return err
		}
		p.next = nil
	}
	p.number = v.Number
	end(v.Name())
	return nil
}

// place puts the program of a function where those of deployed versions lie.
func (d *deploy) place(p *deployedFunction) error {
	sum := hashFile(p.artifact.Path)
	if sum == "" {
		return fmt.Errorf("host: the program %s cannot be read", p.artifact.Path)
	}
	path, err := d.h.placeProgram(p.artifact.Path, sum)
	if err != nil {
		return err
	}
	a := *p.artifact
	a.Path = path
	p.artifact = &a
	return nil
}
