package host

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/rpc"
)

// publish makes a new table of the versions that serve, and tells the triggers.
func (h *Namespace) publish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &trigger.Table{Functions: make(map[string]*trigger.Function, len(h.functions))}
	for name, f := range h.functions {
		if r := f.current.Load(); r != nil {
			t.Functions[name] = r.main().info.Load()
		} else {
			if t.Pending == nil {
				t.Pending = make(map[string][]manifest.Route)
			}
			t.Pending[name] = f.routes
		}
	}
	for _, one := range []trigger.Trigger{h.gateway, h.rpc, h.events} {
		one.Update(t)
	}
}

// schemaTimeout bounds how long a worker may take to describe itself.
const schemaTimeout = 10 * time.Second

// learnSchemas asks a worker of a new version for the schemas of its endpoints:
// after the switch, since nobody who waits for the new version needs them. Their
// comments come from the source.
func (f *function) learnSchemas(v *version) {
	if !f.askSchemas(v) {
		return
	}
	if r := f.current.Load(); r != nil && r.main() == v {
		f.h.publish()
	}
}

// askSchemas completes what is known of a version by its schemas, and reports
// whether it could.
func (f *function) askSchemas(v *version) bool {
	var list []functions.Description
	if !readBeside(v.artifact, schemasSuffix, &list) {
		ctx, cancel := context.WithTimeout(f.h.ctx, schemaTimeout)
		defer cancel()
		resp, err := v.runner.Do(ctx, &wire.Request{Kind: wire.Describe})
		if err != nil {
			f.h.log.Debug("no schemas: "+err.Error(), "function", f.name)
			return false
		}
		data := resp.Payload
		if resp.Body != nil {
			rest, err := io.ReadAll(resp.Body)
			if err != nil {
				return false
			}
			data = append(data[:len(data):len(data)], rest...)
		}
		if json.Unmarshal(data, &list) != nil {
			return false
		}
		writeBeside(v.artifact, schemasSuffix, list)
	}
	info := *v.info.Load()
	info.Endpoints = slices.Clone(info.Endpoints)
	for i := range info.Endpoints {
		e := &info.Endpoints[i]
		for _, d := range list {
			if d.Name == e.Name {
				p := v.artifact.Package // of the same source, whether it was built now or is of the cache
				e.Request, e.Response = schemaJSON(document(d.Request, p)), schemaJSON(document(d.Response, p))
			}
		}
	}
	v.info.Store(&info)
	return true
}

// Functions returns the status of all functions, sorted by name. A watched
// directory whose function has the name of another is among them as one that has
// failed, under a name that no function can have: "hello (functions/hello2)".
func (h *Namespace) Functions() []admin.Function {
	h.mu.Lock()
	list := make([]*function, 0, len(h.functions))
	for _, f := range h.functions {
		list = append(list, f)
	}
	conflicts := h.conflicts
	h.mu.Unlock()
	status := make([]admin.Function, len(list))
	for i, f := range list {
		status[i] = f.status()
	}
	for _, c := range conflicts {
		status = append(status, c.status())
	}
	slices.SortFunc(status, func(a, b admin.Function) int { return strings.Compare(a.Name, b.Name) })
	return status
}

// Function returns the status of one function. It returns an *[functions.Error]
// of code NoFunction, which names the nearest one, if there is none of that name.
func (h *Namespace) Function(name string) (admin.Function, error) {
	h.mu.Lock()
	f, conflicts := h.functions[name], h.conflicts
	h.mu.Unlock()
	if i := slices.IndexFunc(conflicts, func(c conflict) bool { return c.name == name }); i >= 0 {
		return conflicts[i].status(), nil
	}
	if f == nil {
		return admin.Function{}, h.notFound(name)
	}
	return f.status(), nil
}

func (f *function) status() admin.Function {
	f.mu.Lock()
	s := admin.Function{Name: f.name, State: string(f.state), Kind: f.kind(), Dir: f.src.Dir}
	if f.err != nil {
		s.Error = f.err.Error()
		for _, d := range diagnosticsOf(f.err) {
			s.Diagnostics = append(s.Diagnostics, admin.Diagnostic(d))
		}
	}
	f.mu.Unlock()
	r := f.current.Load()
	if r == nil {
		return s
	}
	v := r.main()
	info := v.info.Load()
	s.Version, s.Since, s.Doc = v.name, &v.since, info.Doc
	for _, p := range r.parts {
		s.Workers.Add(p.runner.Stats())
		s.Release = append(s.Release, admin.Part{Version: p.name, Weight: p.weight})
	}
	s.Timeout = v.manifest.Timeout.String()
	for _, route := range v.manifest.Triggers.HTTP {
		s.Routes = append(s.Routes, route.Patterns()...)
	}
	for _, e := range info.Endpoints {
		path := f.h.mount() + "/" + f.name
		if e.Name != "" {
			path += "/" + e.Name
		}
		s.Endpoints = append(s.Endpoints, admin.Endpoint{Name: e.Name, Kind: e.Kind, Doc: e.Doc, Path: path,
			Subject: rpc.Subject(f.name, e.Name), Request: e.Request, Response: e.Response})
	}
	if v.artifact != nil {
		s.Artifact, s.Size = v.artifact.ID, v.artifact.Size
		s.Network, s.Walls = f.h.wallsOf(v.manifest)
	}
	return s
}
