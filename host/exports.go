package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger"
)

// Export lets one namespace have something of another one: a function, which functions
// there can call as functions.Call(ctx, "@acme/orders"), or what is published on a subject.
type Export = admin.Export

// exportsPrefix begins the keys of what namespaces export, in the bucket of namespaces.
const exportsPrefix = "exports."

// Exports returns what namespaces export, sorted.
func (h *Host) Exports() []Export {
	list := slices.Clone(*h.exported.Load())
	slices.SortFunc(list, func(a, b Export) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// Export has one namespace export something to another one, until [Host.Unexport]. The
// error is of code BadRequest for what is no export, Unprocessed for a subject that
// would come back to where it was published, or else as those of [Host.SetLimits].
func (h *Host) Export(ctx context.Context, e Export) error {
	ctx, done, err := h.changeExports(ctx, e)
	if err != nil {
		return err
	}
	defer done()
	for _, name := range []string{e.From, e.To} {
		if _, err := h.Namespace(name); err != nil {
			return err
		}
	}
	if e.Subject != "" {
		if err := h.bus.ExportSubject(e.From, e.To, e.Subject); err != nil {
			return wire.Errorf(wire.Unprocessed, "%v", err)
		}
	}
	return h.explainEnd(ctx, h.spaces.changeExports(ctx, e.From, func(list []Export) []Export {
		if slices.Contains(list, e) {
			return list
		}
		return append(list, e)
	}))
}

// Unexport ends an export, at once. The error is of code NotFound if there is none, or as
// those of [Host.Export].
func (h *Host) Unexport(ctx context.Context, e Export) error {
	ctx, done, err := h.changeExports(ctx, e)
	if err != nil {
		return err
	}
	defer done()
	if !slices.Contains(*h.exported.Load(), e) {
		return wire.Errorf(wire.NotFound, "%s is not exported: `fnhost namespace exports` lists what is", e)
	}
	return h.explainEnd(ctx, h.spaces.changeExports(ctx, e.From, func(list []Export) []Export {
		return slices.DeleteFunc(list, func(one Export) bool { return one == e })
	}))
}

// changeExports begins a change of the exports.
func (h *Host) changeExports(ctx context.Context, e Export) (context.Context, func(), error) {
	function, endpoint, isEndpoint := strings.Cut(e.Function, "/")
	switch {
	case (e.Function == "") == (e.Subject == ""):
		return nil, nil, wire.Errorf(wire.BadRequest, "an export is of a function or of a subject: name one")
	case e.From == e.To || e.From == "" || e.To == "":
		return nil, nil, wire.Errorf(wire.BadRequest, "an export is from one namespace to another one: name both")
	case e.Function != "" && (manifest.ValidName(function) != nil || isEndpoint && manifest.ValidName(endpoint) != nil):
		return nil, nil, wire.Errorf(wire.BadRequest, "%q is no name of a function, or of an endpoint as orders/create", e.Function)
	}
	return h.changeSpaces(ctx)
}

// changeExports stores what a namespace exports, and returns when it is so on this host.
func (s *spaces) changeExports(ctx context.Context, from string, do func([]Export) []Export) error {
	var next []Export
	err := kv.Retry(ctx, func() error {
		var list []Export
		e, err := s.bucket.Get(ctx, exportsPrefix+from)
		if err == nil {
			err = json.Unmarshal(e.Value, &list)
		}
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		next = do(list)
		b, err := json.Marshal(next)
		if err == nil {
			_, err = s.bucket.Put(ctx, exportsPrefix+from, b, kv.IfRevision(e.Revision))
		}
		return err
	})
	if err != nil {
		return stored(err)
	}
	return s.wait(ctx, func() bool { return slices.Equal(s.exports[from], next) && (!s.sharing || s.stuck) })
}

// applyExports notes what a namespace exports.
func (s *spaces) applyExports(from string, value []byte) {
	var list []Export
	if err := json.Unmarshal(value, &list); err != nil && len(value) > 0 {
		s.h.log.Error("the record of what a namespace exports is damaged, and nothing is", "namespace", from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exports[from] = list; len(list) == 0 {
		delete(s.exports, from)
	}
	s.reshare()
}

// reshare has the exports be what they should be: those of namespaces that serve. s.mu is held.
func (s *spaces) reshare() {
	all := []Export{}
	for _, list := range s.exports {
		for _, e := range list {
			if s.h.lookUp(e.From) != nil && s.h.lookUp(e.To) != nil {
				all = append(all, e)
			}
		}
	}
	s.h.exported.Store(&all)
	if s.closed {
		return
	}
	if s.again = true; !s.sharing {
		s.sharing = true
		s.tasks.Go(s.share)
	}
}

// share tells the NATS server of the subjects that are exported, until it knows.
func (s *spaces) share() {
	for {
		s.mu.Lock()
		if !s.again || s.closed {
			s.sharing = false
			s.tell()
			s.mu.Unlock()
			return
		}
		s.again = false
		wanted := slices.DeleteFunc(slices.Clone(*s.h.exported.Load()), func(e Export) bool { return e.Subject == "" })
		s.mu.Unlock()
		failed := false
		for _, e := range s.shared { // of this goroutine alone, of which there is one
			if !slices.Contains(wanted, e) {
				if err := s.h.bus.UnexportSubject(e.From, e.To, e.Subject); err != nil && !errors.Is(err, bus.ErrNoAccount) {
					s.h.log.Warn(err.Error())
				}
			}
		}
		s.shared = nil
		for _, e := range wanted {
			if err := s.h.bus.ExportSubject(e.From, e.To, e.Subject); err != nil {
				s.h.log.Warn("a subject is not exported yet, trying again: " + err.Error())
				failed = true
				continue
			}
			s.shared = append(s.shared, e)
		}
		s.mu.Lock()
		if s.stuck = failed; failed {
			s.again = true
			s.tell()
		}
		s.mu.Unlock()
		if failed {
			s.pause()
		}
	}
}

// unexportAll forgets what was exported from and to a namespace that is removed.
func (s *spaces) unexportAll(ctx context.Context, name string) error {
	s.mu.Lock()
	var from []string
	for one, list := range s.exports {
		if one == name || slices.ContainsFunc(list, func(e Export) bool { return e.To == name }) {
			from = append(from, one)
		}
	}
	s.mu.Unlock()
	for _, one := range from {
		err := s.changeExports(ctx, one, func(list []Export) []Export {
			return slices.DeleteFunc(list, func(e Export) bool { return e.From == name || e.To == name })
		})
		if err == nil && one == name {
			err = s.bucket.Delete(ctx, exportsPrefix+one)
		}
		if err != nil {
			return fmt.Errorf("exports of namespace %s: %w", one, err)
		}
	}
	return nil
}

// foreign returns the namespace and the function in it that a function of h calls as
// "@acme/orders", if it was exported to h.
func (h *Namespace) foreign(target string) (ns *Namespace, name, endpoint string, err error) {
	from, path, _ := strings.Cut(target[1:], "/")
	name, endpoint, _ = strings.Cut(path, "/")
	for _, e := range *h.exported.Load() {
		if e.From == from && e.To == h.name && (e.Function == path || e.Function == name) {
			if ns = h.lookUp(from); ns != nil {
				return ns, name, endpoint, nil
			}
		}
	}
	return nil, "", "", wire.Errorf(wire.Forbidden, "%s is not exported to the namespace %q: `fnhost namespace export %s %s --function %s` does so", target, h.name, from, h.name, path)
}

// callForeign calls a function of another namespace for one of this.
func (h *Namespace) callForeign(ctx context.Context, f *function, target string, inv *trigger.Invocation) (*trigger.Result, error) {
	ns, name, endpoint, err := h.foreign(target)
	if err != nil {
		return nil, err
	}
	inv.Function, inv.Endpoint, inv.Caller = name, endpoint, "@"+h.name+"/"+f.name
	return invoker{ns}.Invoke(ctx, inv)
}
