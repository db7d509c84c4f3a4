package host

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/bundle"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
)

// backend is a namespace as the management API sees it, and the host.
type backend struct {
	invoker
	host *Host
}

// Info implements [admin.Backend]. Who asks for another namespace than the default one may
// be a tenant, whom the directories of the host are no business of.
func (b backend) Info() admin.Info {
	info := b.h.Info()
	if b.h != b.h.first {
		info.Dir, info.Watch, info.PID = "", nil, 0
	}
	return info
}

func (b backend) Functions() []admin.Function { return b.h.Functions() }

func (b backend) Function(name string) (admin.Function, error) { return b.h.Function(name) }

func (b backend) ReadLogs(ctx context.Context, q logs.Query, yield func(logs.Record) error) error {
	q.Namespace = b.h.name
	return b.h.logs.Read(ctx, q, yield)
}

// Status implements [admin.Backend].
func (b backend) Status(ctx context.Context) (admin.Status, error) {
	s := admin.Status{Info: b.h.Info(), Functions: make(map[string]int), Free: freeSpace(b.h.cfg.Dir)}
	for _, f := range b.h.Functions() {
		s.Functions[f.State]++
		s.Workers += f.Workers.Workers
		s.Running += f.Workers.Running
	}
	if err := b.h.storageErr(); err != nil {
		s.Storage = err.Error()
	}
	if b.h != b.h.first { // the disk is of the host, and what a namespace has is in Stored
		if s.Info, s.Free = b.Info(), -1; s.Storage != "" {
			s.Storage = "nothing can be stored on this host at the moment"
		}
	}
	s.Deploys = b.Deploys()
	if b.h.registry != nil {
		u, err := b.h.registry.Usage(ctx)
		if err != nil {
			return s, err
		}
		s.Stored = &admin.Stored{Artifacts: u.Artifacts, Sources: u.Sources, Records: u.Records}
	}
	return s, nil
}

// Deploy implements [admin.Backend].
func (b backend) Deploy(ctx context.Context, req admin.DeployRequest, body io.Reader, yield func(admin.DeployEvent) error) error {
	o := DeployOptions{
		Dir: req.Dir, Name: req.Name, NoRelease: req.NoRelease, Canary: req.Canary, By: req.By,
		Source: registry.Source{Kind: registry.Upload, Commit: req.Commit, Author: req.Author, Message: req.Message},
	}
	if req.URL != "" {
		o.Source = registry.Source{Kind: registry.Git, URL: req.URL, Ref: req.Ref}
		if o.Name == "" {
			o.Name = repositoryName(req.URL)
		}
		return b.h.runDeploy(ctx, req.ID, deployInput{options: o, fetch: b.h.fetchGit}, yield)
	}
	receive := func(ctx context.Context, dir string) error { return unpack(ctx, body, dir) }
	return b.h.runDeploy(ctx, req.ID, deployInput{options: o, receive: receive}, yield)
}

// repositoryName is the name of a function that is a git repository, and has no
// name of its own: "hello" for https://git.example.com/team/hello.git.
func repositoryName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return manifest.NameFromDir(strings.TrimSuffix(path.Base(u.Path), ".git"))
}

func unpack(ctx context.Context, body io.Reader, dir string) error {
	_, err := bundle.Unpack(ctx, body, dir, bundle.Limits{})
	var fault *bundle.Error // without where it was unpacked
	if errors.As(err, &fault) {
		err = fault
	}
	switch {
	case errors.Is(err, bundle.ErrTooLarge):
		return wire.Errorf(wire.TooLarge, "%v", err)
	case errors.Is(err, bundle.ErrUnsafe), errors.Is(err, bundle.ErrDamaged):
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	return err
}

// FollowDeploy implements [admin.Backend].
func (b backend) FollowDeploy(ctx context.Context, id string, yield func(admin.DeployEvent) error) error {
	run, err := b.h.runs.get(id)
	if err != nil {
		return err
	}
	return run.follow(ctx, yield)
}

// CancelDeploy implements [admin.Backend].
func (b backend) CancelDeploy(id string) error {
	run, err := b.h.runs.get(id)
	if err != nil {
		return err
	}
	if run.ended() {
		return wire.Errorf(wire.Conflict, "the deploy %s has ended", id)
	}
	run.cancel(errDeployCanceled)
	return nil
}

// Deploys implements [admin.Backend].
func (b backend) Deploys() []admin.Deploy {
	b.h.runs.mu.Lock()
	list := slices.Clone(b.h.runs.list)
	b.h.runs.mu.Unlock()
	var status []admin.Deploy
	for _, run := range slices.Backward(list) {
		status = append(status, run.status())
	}
	return status
}

// Versions implements [admin.Backend].
func (b backend) Versions(ctx context.Context, name string) ([]admin.Version, error) {
	list, f, err := b.h.Versions(ctx, name)
	if err != nil {
		return nil, err
	}
	versions := make([]admin.Version, len(list))
	for i, v := range list {
		versions[i] = versionOf(v, f)
	}
	return versions, nil
}

// Version implements [admin.Backend].
func (b backend) Version(ctx context.Context, name, version string) (admin.Version, error) {
	number, err := registry.ParseVersion(version)
	if err != nil {
		return admin.Version{}, wire.Errorf(wire.BadRequest, "%v", err)
	}
	list, f, err := b.h.Versions(ctx, name)
	if err != nil {
		return admin.Version{}, err
	}
	for _, v := range list {
		if v.Number == number {
			one := versionOf(v, f)
			one.Log, err = b.h.registry.Log(ctx, name, number)
			return one, err
		}
	}
	return admin.Version{}, wire.Errorf(wire.NoFunction, "function %q has no version v%d: `fnhost versions %s` lists what there is", name, number, name)
}

func versionOf(v *registry.Version, f *registry.Function) admin.Version {
	a := admin.Version{
		Function: v.Function, Version: v.Name(), Artifact: v.Artifact, Program: v.Program, Size: v.Size, Source: admin.VersionSource(v.Source),
		Created: v.Created, Took: v.Took, Toolchain: v.Toolchain, Doc: v.Doc, Manifest: v.Manifest,
	}
	for _, e := range v.Endpoints {
		a.Endpoints = append(a.Endpoints, e.Name)
	}
	if f != nil {
		for _, p := range f.Release.Parts {
			if p.Version == v.Number {
				a.Weight = p.Weight
			}
		}
	}
	return a
}

// Release implements [admin.Backend].
func (b backend) Release(ctx context.Context, name string, req admin.ReleaseRequest) (admin.Release, error) {
	f, err := b.release(ctx, name, req)
	if err != nil {
		return admin.Release{}, err
	}
	r := admin.Release{Function: name, Time: f.Release.Time, By: f.Release.By}
	for _, p := range f.Release.Parts {
		r.Parts = append(r.Parts, admin.Part{Version: registry.VersionName(p.Version), Weight: p.Weight})
	}
	return r, nil
}

func (b backend) release(ctx context.Context, name string, req admin.ReleaseRequest) (*registry.Function, error) {
	switch {
	case req.Promote:
		return b.h.Promote(ctx, name, req.By)
	case req.Rollback == "previous":
		return b.h.Rollback(ctx, name, req.By, 0)
	case req.Rollback != "":
		number, err := registry.ParseVersion(req.Rollback)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "%v", err)
		}
		return b.h.Rollback(ctx, name, req.By, number)
	}
	var parts []registry.Part
	for _, p := range req.Parts {
		number, err := registry.ParseVersion(p.Version)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "%v", err)
		}
		parts = append(parts, registry.Part{Version: number, Weight: p.Weight})
	}
	return b.h.SetRelease(ctx, name, req.By, parts)
}

// Remove implements [admin.Backend].
func (b backend) Remove(ctx context.Context, name string) error { return b.h.Remove(ctx, name) }
