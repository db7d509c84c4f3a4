package auth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/kv"
)

// state is what the bucket holds, as far as this host has heard of it.
type state struct {
	revisions map[string]uint64 // of each key: an older one changes nothing
	accounts  map[string]*Account
	tokens    map[string]*Token
	families  map[string]*family
	revoked   map[string]bool // IDs of access tokens
	rules     map[string]*rules.Rule
	damaged   map[string]bool // rules that cannot be read: nobody knows what they forbid
	issuers   map[string]*issuer
	keys      keySet
	stale     bool // nobody tells of changes any more: what is revoked cannot be known
}

func (s *state) init() {
	*s = state{revisions: make(map[string]uint64), accounts: make(map[string]*Account), tokens: make(map[string]*Token), families: make(map[string]*family),
		revoked: make(map[string]bool), rules: make(map[string]*rules.Rule), damaged: make(map[string]bool), issuers: make(map[string]*issuer)}
}

// Kinds of records, the first word of their keys.
const (
	accountKind = "account" // account.<name>
	tokenKind   = "token"   // token.<id>
	familyKind  = "family"  // family.<id>, with a TTL
	revokedKind = "revoked" // revoked.<id>, with a TTL
	ruleKind    = "rule"    // rule.<id>
	issuerKind  = "issuer"  // issuer.<name>
	keysKey     = "keys"
)

// follow reads the bucket, and then all that changes there.
func (a *Authority) follow(ctx context.Context) error {
	w, err := a.catchUp(ctx)
	if err != nil {
		return err
	}
	a.tasks.Go(func() {
		for {
			a.read(w)
			w.Close()
			if a.ctx.Err() != nil {
				return
			}
			a.setStale(true)
			for w = nil; w == nil; {
				select {
				case <-a.ctx.Done():
					return
				case <-time.After(time.Second):
				}
				if w, err = a.catchUp(a.ctx); err != nil {
					a.log.Warn("accounts and tokens cannot be read, and are refused until they can: " + err.Error())
				}
			}
			a.setStale(false)
		}
	})
	return nil
}

// catchUp returns a watcher that has told of all there is.
func (a *Authority) catchUp(ctx context.Context) (kv.Watcher, error) {
	w, err := a.bucket.Watch(a.ctx, kv.WatchOptions{Initial: true})
	if err != nil {
		return nil, err
	}
	// Rules are compiled when all are there, and not once for each.
	a.reading.Store(true)
	defer a.compile()
	defer a.reading.Store(false)
	seen := make(map[string]bool)
	for {
		e, err := w.Next(ctx)
		if err != nil {
			w.Close()
			return nil, err
		}
		if e.Op == kv.OpReady {
			break
		}
		seen[e.Key] = true
		a.apply(e, true)
	}
	a.mu.RLock()
	var gone []string
	for key := range a.state.revisions {
		if !seen[key] {
			gone = append(gone, key)
		}
	}
	a.mu.RUnlock()
	for _, key := range gone { // deleted while nobody followed
		if _, err := a.bucket.Get(ctx, key); errors.Is(err, kv.ErrNotFound) {
			a.apply(kv.Entry{Key: key, Op: kv.OpDelete, Revision: 1<<63 - 1}, true)
		}
	}
	return w, nil
}

func (a *Authority) read(w kv.Watcher) {
	for {
		e, err := w.Next(a.ctx)
		if err != nil {
			return
		}
		a.apply(e, true)
	}
}

func (a *Authority) setStale(stale bool) {
	a.mu.Lock()
	a.state.stale = stale
	a.mu.Unlock()
	a.generation.Add(1)
	a.cfg.Changed()
}

// apply takes in a change, unless a later one of the key was taken in before. told is set
// for what the watcher tells, which comes in order.
func (a *Authority) apply(e kv.Entry, told bool) {
	kind, name, _ := strings.Cut(e.Key, ".")
	a.mu.Lock()
	s := &a.state
	if e.Revision <= s.revisions[e.Key] {
		a.mu.Unlock()
		return
	}
	gone := e.Op != kv.OpPut
	s.revisions[e.Key] = e.Revision
	if gone && told {
		delete(s.revisions, e.Key) // nothing older will be told
	}
	var err error
	switch kind {
	case accountKind:
		err = put(s.accounts, name, e, gone)
	case tokenKind:
		err = put(s.tokens, name, e, gone)
	case familyKind:
		err = put(s.families, name, e, gone)
	case ruleKind:
		if err = put(s.rules, name, e, gone); err == nil && !gone {
			if err = s.rules[name].Validate(); err != nil {
				delete(s.rules, name)
			}
		}
		if delete(s.damaged, name); err != nil {
			s.damaged[name] = true
		}
	case issuerKind:
		if old := s.issuers[name]; old != nil {
			old.stop()
		}
		err = put(s.issuers, name, e, gone)
	case revokedKind:
		if !gone {
			s.revoked[name] = true
		} else {
			delete(s.revoked, name)
		}
	case keysKey:
		if !gone {
			var keys keySet
			if err = json.Unmarshal(e.Value, &keys); err == nil {
				s.keys = keys
			}
		}
	}
	a.mu.Unlock()
	switch {
	case err != nil && kind == ruleKind: // it may be one that forbids something
		a.log.Error("a rule is damaged, and nobody may do anything until it is removed: `fnhost rule rm "+name+"`: "+err.Error(), "key", e.Key)
	case err != nil: // what it was before is gone: nobody gets in by it
		a.log.Error("a record of identities is damaged, and counts as if it were not there: "+err.Error(), "key", e.Key)
	}
	if kind == ruleKind && !a.reading.Load() {
		a.compile()
	}
	a.generation.Add(1)
	a.cfg.Changed()
}

// put takes a record in. One that cannot be read is none.
func put[T any](m map[string]*T, name string, e kv.Entry, gone bool) error {
	delete(m, name)
	if gone {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(e.Value, v); err != nil {
		return err
	}
	m[name] = v
	return nil
}

// compile makes the rules of the state, and those that are always there, the ones that
// count.
func (a *Authority) compile() {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := rules.Builtin()
	for _, id := range slices.Sorted(maps.Keys(a.state.rules)) {
		list = append(list, *a.state.rules[id])
	}
	set, err := rules.Compile(list)
	if err != nil { // a record that no version of this program has written: better nobody than the wrong one
		a.log.Error("the rules cannot be compiled: nobody may do anything until they are mended: " + err.Error())
		set, _ = rules.Compile(nil)
	}
	a.set.Store(set)
	a.closed.Store(len(a.state.damaged) > 0)
}

// write stores a record, and takes it in at once.
func (a *Authority) write(ctx context.Context, key string, v any, options ...kv.Option) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	revision, err := a.bucket.Put(ctx, key, b, options...)
	if err == nil {
		a.apply(kv.Entry{Key: key, Value: b, Revision: revision, Op: kv.OpPut}, false)
	}
	return err
}

// remove deletes a record, which must be there, and takes that in at once.
func (a *Authority) remove(ctx context.Context, key string) error {
	e, err := a.bucket.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := a.bucket.Delete(ctx, key, kv.IfRevision(e.Revision)); err != nil {
		return err
	}
	a.apply(kv.Entry{Key: key, Op: kv.OpDelete, Revision: e.Revision + 1}, false)
	return nil
}

// change reads a record, has fn change it, and stores it, as one step.
func change[T any](ctx context.Context, a *Authority, key string, fn func(*T) error, options ...kv.Option) (*T, error) {
	var v *T
	err := kv.Retry(ctx, func() error {
		e, err := a.bucket.Get(ctx, key)
		if err != nil {
			return err
		}
		v = new(T)
		if err := json.Unmarshal(e.Value, v); err != nil {
			return wire.Errorf(wire.Internal, "the record %s is damaged: remove it", key)
		}
		if err := fn(v); err != nil {
			return err
		}
		return a.write(ctx, key, v, append(options, kv.IfRevision(e.Revision))...)
	})
	return v, err
}
