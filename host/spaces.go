package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

const spacesBucket = "namespaces"

// spaces are the namespaces beside the default one. What there is says a bucket, which one
// watcher follows; each namespace is brought to what its record says by a goroutine, while
// there is something to do.
type spaces struct {
	h      *Host
	bucket *jetkv.Bucket
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex
	all     map[string]*space
	changed chan struct{} // closed, and made anew, when something of it changes
	closed  bool

	exports map[string][]Export // by who exports
	sharing bool                // a goroutine tells the NATS server of the exports
	again   bool                // and has to begin anew
	stuck   bool                // and could not tell all
	shared  []Export            // what it has told; of that goroutine alone
}

// space is a namespace as this host has it.
type space struct {
	name     string
	record   *spaceRecord // nil: it was removed
	revision uint64       // of the record
	tried    uint64       // revision that this host has tried to be at
	err      error        // why it is not
	busy     bool         // a goroutine is at it
	ns       *Namespace   // nil if it does not serve; of the goroutine alone
}

// unavailable is why a namespace that there is does not serve.
func (sp *space) unavailable() error {
	switch {
	case sp.record.Removing:
		return wire.Errorf(wire.Unavailable, "the namespace %q is being removed", sp.name)
	case sp.err != nil:
		return wire.Errorf(wire.Unavailable, "the namespace %q does not serve: %v; it is tried again", sp.name, sp.err)
	}
	return wire.Errorf(wire.Unavailable, "the namespace %q is being started: try again", sp.name)
}

// openSpaces starts the namespaces that there are, and follows what becomes of them. One
// that cannot be started is told of, and tried again.
func (h *Host) openSpaces() error {
	ctx, cancel := context.WithTimeout(h.ctx, startTimeout)
	defer cancel()
	b, err := h.controlBucket(ctx, jetkv.Config{Bucket: spacesBucket, Description: "namespaces"})
	if err != nil {
		return fmt.Errorf("host: namespaces: %w", err)
	}
	s := &spaces{h: h, bucket: b, all: make(map[string]*space), exports: make(map[string][]Export), changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	h.spaces = s
	h.closers = append(h.closers, s.close)
	ready := make(chan struct{})
	s.tasks.Go(func() { s.watch(sync.OnceFunc(func() { close(ready) })) })
	select {
	case <-ready:
	case <-ctx.Done():
		return fmt.Errorf("host: the bucket of namespaces did not answer within %v", startTimeout)
	}
	err = s.wait(ctx, func() bool {
		for _, sp := range s.all {
			if sp.tried != sp.revision {
				return false
			}
		}
		return true
	})
	if err != nil {
		h.log.Warn("some namespaces are still being started")
	}
	return nil
}

// watch follows the bucket to the end. When storage was gone, which a watcher finds out
// only after a while, it begins anew.
func (s *spaces) watch(ready func()) {
	for s.ctx.Err() == nil {
		ctx, stop := s.h.untilRestored(s.ctx)
		err := s.watchOnce(ctx, ready)
		again := ctx.Err() != nil
		stop()
		if again {
			continue
		}
		s.h.log.Warn("changes of namespaces are not seen, trying again: " + err.Error())
		s.pause()
	}
}

func (s *spaces) pause() {
	select {
	case <-time.After(watchAgain):
	case <-s.ctx.Done():
	}
}

func (s *spaces) watchOnce(ctx context.Context, ready func()) error {
	w, err := s.bucket.Watch(ctx, kv.WatchOptions{Initial: true})
	if err != nil {
		return err
	}
	defer w.Close()
	seen := make(map[string]bool)
	for initial := true; ; {
		e, err := w.Next(ctx)
		if err != nil {
			return err
		}
		from, isExports := strings.CutPrefix(e.Key, exportsPrefix)
		switch {
		case isExports:
			seen[e.Key] = true
			s.applyExports(from, e.Value)
			continue
		case e.Op == kv.OpReady:
			s.dropUnseen(seen)
			initial = false
			ready()
			continue
		case e.Op != kv.OpPut:
			s.apply(e.Key, nil, e.Revision)
			continue
		}
		if initial {
			seen[e.Key] = true
		}
		r := &spaceRecord{}
		if err := json.Unmarshal(e.Value, r); err != nil || checkNamespace(e.Key) != nil {
			s.h.log.Error("the record of a namespace is damaged, and what it says is not known", "namespace", e.Key)
			continue
		}
		s.apply(e.Key, r, e.Revision)
	}
}

// dropUnseen takes those for removed that were so while nobody watched.
func (s *spaces) dropUnseen(seen map[string]bool) {
	s.mu.Lock()
	gone := make(map[string]uint64)
	for name, sp := range s.all {
		if !seen[name] && sp.record != nil {
			gone[name] = sp.revision + 1
		}
	}
	for from := range s.exports {
		if !seen[exportsPrefix+from] {
			delete(s.exports, from)
			s.reshare()
		}
	}
	s.mu.Unlock()
	for name, revision := range gone {
		s.apply(name, nil, revision)
	}
}

// apply notes what the record of a namespace is, and has it brought there.
func (s *spaces) apply(name string, r *spaceRecord, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.all[name]
	if sp == nil {
		if r == nil {
			return
		}
		sp = &space{name: name}
		s.all[name] = sp
	}
	if revision <= sp.revision || s.closed {
		return
	}
	sp.record, sp.revision = r, revision
	if !sp.busy {
		sp.busy = true
		s.tasks.Go(func() { s.settle(sp) })
	}
}

// settle brings a namespace to what its record says, until it is there.
func (s *spaces) settle(sp *space) {
	for told := false; ; {
		s.mu.Lock()
		if s.closed || sp.tried == sp.revision && sp.err == nil {
			sp.busy = false
			if sp.record == nil && sp.ns == nil {
				delete(s.all, sp.name)
			}
			s.tell()
			s.mu.Unlock()
			return
		}
		record, revision := sp.record, sp.revision
		s.mu.Unlock()
		err := s.bring(sp, record)
		if s.ctx.Err() != nil {
			continue // which is its end
		}
		s.mu.Lock()
		sp.tried, sp.err = revision, err
		s.tell()
		s.mu.Unlock()
		if err == nil {
			told = false
			continue
		}
		if !told {
			s.h.log.Error("a namespace is not as it should be, and is tried again: "+err.Error(), "namespace", sp.name)
			told = true
		}
		s.pause()
	}
}

// tell wakes those who wait. s.mu is held.
func (s *spaces) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// bring brings a namespace to what a record says.
func (s *spaces) bring(sp *space, r *spaceRecord) error {
	switch {
	case r == nil:
		s.stop(sp)
		return errors.Join(s.h.bus.RemoveAccount(sp.name), os.RemoveAll(s.h.spaceDir(sp.name)))
	case r.Removing:
		s.stop(sp)
		if err := s.unexportAll(s.ctx, sp.name); err != nil {
			return err
		}
		if a := s.h.authority(); a != nil { // who is of it is not of the next one of its name
			if err := a.RemoveNamespace(s.ctx, sp.name); err != nil {
				return err
			}
		}
		if err := s.h.erase(s.ctx, sp.name); err != nil {
			return err
		}
		return s.bucket.Delete(s.ctx, sp.name)
	case sp.ns == nil:
		return s.start(sp, r.Limits)
	}
	sp.ns.setLimits(r.Limits)
	return s.h.bus.LimitAccount(sp.name, accountLimits(r.Limits))
}

// start has a namespace serve.
func (s *spaces) start(sp *space, l Limits) error {
	h := s.h
	if err := os.MkdirAll(h.spaceDir(sp.name), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	ns := newNamespace(h.shared, sp.name)
	defer context.AfterFunc(s.ctx, ns.cancel)()
	ns.setLimits(l)
	conn, err := h.bus.OpenAccount(sp.name, accountLimits(l))
	if err != nil {
		return err
	}
	ns.conn = conn
	if err := ns.open(); err != nil {
		ns.close()
		return err
	}
	sp.ns = ns
	s.serve(sp.name, ns)
	return nil
}

// stop ends a namespace, if it serves. It returns when nothing of it runs any more.
func (s *spaces) stop(sp *space) {
	if sp.ns == nil {
		return
	}
	s.serve(sp.name, nil)
	sp.ns.close()
	sp.ns = nil
}

// serve changes what of a name serves.
func (s *spaces) serve(name string, ns *Namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.h.live.Load())
	if delete(next, name); ns != nil {
		next[name] = ns
	}
	s.h.live.Store(&next)
	s.reshare()
}

// close ends all of them.
func (s *spaces) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	var wg sync.WaitGroup
	for _, sp := range s.all {
		wg.Go(func() { s.stop(sp) })
	}
	wg.Wait()
}

// wait waits until cond holds, which is asked with s.mu held.
func (s *spaces) wait(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return closedError{}
		}
	}
}

// await waits until a revision of a record was tried, and returns why it is not so.
func (s *spaces) await(ctx context.Context, name string, revision uint64) (err error) {
	waited := s.wait(ctx, func() bool {
		sp := s.all[name]
		if sp == nil || sp.tried < revision {
			return false
		}
		err = sp.err
		return true
	})
	return errors.Join(waited, err)
}

// awaitGone waits until nothing of a namespace is left, or some of it cannot be removed.
func (s *spaces) awaitGone(ctx context.Context, name string) (err error) {
	waited := s.wait(ctx, func() bool {
		sp := s.all[name]
		if sp == nil {
			return true
		}
		if sp.err != nil && sp.tried == sp.revision && (sp.record == nil || sp.record.Removing) {
			err = wire.Errorf(wire.Unavailable, "some of the namespace %q stays for now: %v; it is tried again", name, sp.err)
		}
		return err != nil
	})
	return errors.Join(waited, err)
}

func (s *spaces) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.all[name]
	return sp != nil && sp.record != nil
}

// about is what there is to tell of all of them.
func (s *spaces) about() (list []NamespaceInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sp := range s.all {
		if sp.record == nil {
			continue
		}
		n := NamespaceInfo{Name: name}
		if ns := s.h.lookUp(name); ns != nil {
			n = ns.about()
		} else {
			n.Error = sp.unavailable().Error()
		}
		n.Created, n.Limits, n.Removing = &sp.record.Created, sp.record.Limits, sp.record.Removing
		list = append(list, n)
	}
	return list
}

// lookUp returns a namespace that serves, nil if there is none of that name.
func (h *shared) lookUp(name string) *Namespace { return (*h.live.Load())[name] }

// spaceDir is where a namespace has what it keeps in files.
func (h *shared) spaceDir(name string) string {
	if name == bus.DefaultAccount {
		return h.cfg.Dir
	}
	return filepath.Join(h.cfg.Dir, "namespaces", name)
}
