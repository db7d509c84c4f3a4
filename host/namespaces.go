package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
)

// ErrNoNamespace is wrapped by the errors for a namespace that there is not. Their code is NotFound.
var ErrNoNamespace = errors.New("no such namespace")

// Limits bound what a namespace may use; 0 is no bound. A deploy beyond Functions, and a
// request beyond Requests, are refused with an error of code TooMany. Memory is
// reserved: the sum of that of all namespaces must fit in what the server has for streams.
type Limits = admin.NamespaceLimits

// NamespaceInfo is what there is to tell of a namespace.
type NamespaceInfo = admin.Namespace

// namespaceName is what names of namespaces look like.
var namespaceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// checkNamespace returns an error for what is no name of a namespace that can be made.
func checkNamespace(name string) error {
	switch {
	case !namespaceName.MatchString(name):
		return wire.Errorf(wire.BadRequest, "%q is no name of a namespace: it has up to 32 lower-case letters, digits and hyphens, and begins with a letter", name)
	case name == bus.DefaultAccount || name == bus.ControlAccount:
		return wire.Errorf(wire.BadRequest, "the namespace %q is the host's own: choose another name", name)
	}
	return nil
}

func checkLimits(l Limits) error {
	if l.Functions < 0 || l.Storage < 0 || l.Memory < 0 || l.Requests < 0 {
		return wire.Errorf(wire.BadRequest, "a limit is not negative: 0 is none")
	}
	return nil
}

// Namespace returns a namespace by its name: "default" and "" are that of the host
// itself. The error wraps [ErrNoNamespace] if there is none, or is of code Unavailable
// for one that is being removed, or does not start.
func (h *Host) Namespace(name string) (*Namespace, error) {
	if name == "" || name == h.name {
		return h.defaultNamespace, nil
	}
	if ns := h.lookUp(name); ns != nil {
		return ns, nil
	}
	if h.isClosed() {
		return nil, closedError{}
	}
	return nil, h.spaces.missing(name)
}

// CreateNamespace makes a namespace, which serves on this host when it returns, and on
// other nodes within moments. Its name has up to 32 lower-case letters, digits and
// hyphens, and begins with a letter. It is there until it is removed, also when hosts start anew.
//
// The error is of code BadRequest for a name or limits that are none, Conflict if there is one of that name,
// or while a backup is being made, Unprocessed for limits that are more than there is, and
// Unavailable if it cannot be stored, or with a NATS server that runs elsewhere.
func (h *Host) CreateNamespace(ctx context.Context, name string, l Limits) (*Namespace, error) {
	if err := errors.Join(checkNamespace(name), checkLimits(l)); err != nil {
		return nil, err
	}
	ctx, done, err := h.changeSpaces(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s := h.spaces
	revision, err := s.put(ctx, name, &spaceRecord{Created: time.Now().UTC(), Limits: l}, kv.IfAbsent())
	if errors.Is(err, kv.ErrExists) {
		return nil, wire.Errorf(wire.Conflict, "there is a namespace %q already: `fnhost namespace ls` lists them", name)
	}
	if err != nil {
		return nil, h.explainEnd(ctx, stored(err))
	}
	err = s.await(ctx, name, revision)
	if err == nil {
		return h.Namespace(name)
	}
	if ctx.Err() == nil { // it cannot be had as it is wanted: nothing is to stay of it
		err = wire.Errorf(wire.Unprocessed, "the namespace %q cannot be made: %v", name, err)
		if dropped := s.bucket.Delete(ctx, name, kv.IfRevision(revision)); dropped != nil {
			err = fmt.Errorf("%w; it is there, and tried again: `fnhost namespace rm %s` removes it", err, name)
		}
	}
	return nil, h.explainEnd(ctx, err)
}

// SetLimits sets all limits of a namespace: what is 0 is none. What it has already stays,
// also if it is more. The error wraps [ErrNoNamespace], or is of code BadRequest for the
// default one, Unprocessed for limits that are more than there is, or as those of
// [Host.CreateNamespace].
func (h *Host) SetLimits(ctx context.Context, name string, l Limits) error {
	if err := errors.Join(checkNamespace(name), checkLimits(l)); err != nil {
		return err
	}
	ctx, done, err := h.changeSpaces(ctx)
	if err != nil {
		return err
	}
	defer done()
	ns, err := h.Namespace(name)
	if err != nil {
		return err
	}
	before := ns.limits.Load().Limits
	if err := h.bus.LimitAccount(name, accountLimits(l)); err != nil {
		return wire.Errorf(wire.Unprocessed, "the limits of namespace %q stay as they are: %v", name, err)
	}
	revision, err := h.spaces.change(ctx, name, func(r *spaceRecord) { r.Limits = l })
	if err == nil {
		err = h.spaces.await(ctx, name, revision)
	}
	if err != nil {
		h.bus.LimitAccount(name, accountLimits(before))
	}
	return h.explainEnd(ctx, err)
}

// RemoveNamespace removes a namespace with all that is in it: functions, streams,
// buckets, configuration, secrets, runs, what was pushed to it, the accounts, tokens and rules
// that are of it alone, and its exports. What runs in it may end within Config.Drain. It
// returns when nothing of it is left; if that fails, or the host is killed meanwhile, the
// rest is removed later. The error wraps [ErrNoNamespace], or is of code BadRequest for the
// default one, Conflict if it has functions and force is not set, or while a backup is
// being made, and Unavailable.
func (h *Host) RemoveNamespace(ctx context.Context, name string, force bool) error {
	if err := checkNamespace(name); err != nil {
		return err
	}
	ctx, done, err := h.changeSpaces(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !h.spaces.has(name) {
		return h.spaces.missing(name)
	}
	if ns := h.lookUp(name); !force && ns != nil {
		if names := slices.Sorted(maps.Keys(*ns.index.Load())); len(names) > 0 {
			return wire.Errorf(wire.Conflict, "the namespace %q has functions (%s): remove them first, or force it: `fnhost namespace rm %s --force` removes them with all they have stored", name, shortList(names), name)
		}
	} else if !force {
		return wire.Errorf(wire.Conflict, "the namespace %q does not serve, so that it is not known what it has: `fnhost namespace rm %s --force` removes it with all of that", name, name)
	}
	if _, err := h.spaces.change(ctx, name, func(r *spaceRecord) { r.Removing = true }); err != nil && !errors.Is(err, ErrNoNamespace) {
		return h.explainEnd(ctx, err)
	}
	return h.explainEnd(ctx, h.spaces.awaitGone(ctx, name))
}

// shortList names the first ones of a list.
func shortList(names []string) string {
	const most = 5
	text := ""
	for i, name := range names[:min(len(names), most)] {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Namespaces returns what there is to tell of all namespaces, by name.
func (h *Host) Namespaces() []NamespaceInfo {
	list := []NamespaceInfo{h.defaultNamespace.about()}
	if h.spaces != nil {
		list = append(list, h.spaces.about()...)
	}
	slices.SortFunc(list, func(a, b NamespaceInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// about is what the namespace itself knows.
func (h *Namespace) about() NamespaceInfo {
	n := NamespaceInfo{Name: h.name, Limits: h.limits.Load().Limits, Functions: len(*h.index.Load())}
	n.Storage, n.Memory = h.bus.AccountUsage(h.name)
	return n
}

// changeSpaces begins a change of the namespaces.
func (h *Host) changeSpaces(ctx context.Context) (_ context.Context, done func(), err error) {
	switch {
	case h.isClosed():
		return nil, nil, closedError{}
	case h.spaces == nil:
		return nil, nil, wire.Errorf(wire.Unavailable, "the NATS server of this host runs elsewhere, which has one account for it: make accounts there, and run a host with the user of each")
	}
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return nil, nil, err
	}
	if !h.backingUp.TryRLock() {
		return nil, nil, wire.Errorf(wire.Conflict, "a backup of this host is being made, which is to have the namespaces as they are: wait for its end, and try again; nothing was changed")
	}
	ctx, stop := h.whileStoring(ctx)
	return ctx, func() {
		stop()
		h.backingUp.RUnlock()
	}, nil
}

// spaceRecord is what the bucket of namespaces has of one.
type spaceRecord struct {
	Created  time.Time `json:"created"`
	Limits   Limits    `json:"limits"`
	Removing bool      `json:"removing,omitempty"` // what is in it goes, and then the record
}

func (r *spaceRecord) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // of nothing that cannot be encoded
	}
	return b
}

// put stores the record of a namespace.
func (s *spaces) put(ctx context.Context, name string, r *spaceRecord, options ...kv.Option) (uint64, error) {
	return s.bucket.Put(ctx, name, r.encode(), options...)
}

// change changes the record of a namespace, and returns its revision then.
func (s *spaces) change(ctx context.Context, name string, do func(*spaceRecord)) (revision uint64, err error) {
	err = kv.Retry(ctx, func() error {
		e, err := s.bucket.Get(ctx, name)
		if errors.Is(err, kv.ErrNotFound) {
			return s.missing(name)
		}
		r := &spaceRecord{}
		if err == nil {
			err = json.Unmarshal(e.Value, r)
		}
		if err == nil {
			do(r)
			revision, err = s.put(ctx, name, r, kv.IfRevision(e.Revision))
		}
		return err
	})
	return revision, stored(err)
}

// missing is the error for a namespace that does not serve here.
func (s *spaces) missing(name string) error {
	var names []string
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sp := s.all[name]; sp != nil && sp.record != nil {
			return sp.unavailable()
		}
		for known, sp := range s.all {
			if sp.record != nil {
				names = append(names, known)
			}
		}
	}
	return noNamespaceError(fmt.Sprintf("no namespace %q%s", name, nearest.DidYouMean(name, append(names, bus.DefaultAccount))))
}

// noNamespaceError is ErrNoNamespace with a code, and a text that names the namespace.
type noNamespaceError string

func (e noNamespaceError) Error() string { return string(e) }

func (e noNamespaceError) Unwrap() []error {
	return []error{ErrNoNamespace, &wire.Error{Code: wire.NotFound}}
}
