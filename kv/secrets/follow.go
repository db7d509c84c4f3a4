package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// catchUp takes in what is in the bucket.
func (s *Store) catchUp(ctx context.Context, w kv.Watcher) error {
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if e.Op == kv.OpReady {
			return nil
		}
		s.see(e)
	}
}

// follow takes in what changes, until ctx ends.
func (s *Store) follow(ctx context.Context, w kv.Watcher) {
	for {
		e, err := w.Next(ctx)
		if err == nil {
			s.see(e)
			continue
		}
		w.Close()
		for ctx.Err() == nil {
			if w, err = s.begin(ctx); err == nil {
				break
			}
			s.log.Warn("secrets that others set are not seen for now: " + err.Error())
			if sleep(ctx, 5*time.Second) != nil {
				break
			}
		}
		if ctx.Err() != nil {
			if err == nil {
				w.Close()
			}
			return
		}
	}
}

// beginTime bounds the reading of all that is there.
const beginTime = time.Minute

// begin watches anew, after something was missed. Until all that there is was read, and if
// it cannot be, what was known before goes on.
func (s *Store) begin(ctx context.Context) (kv.Watcher, error) {
	w, err := s.bucket.Watch(ctx, kv.WatchOptions{Initial: true})
	if err != nil {
		return nil, err
	}
	s.keys.sealing.Lock() // no version is learnt meanwhile, nor removed
	defer s.keys.sealing.Unlock()
	now := &Store{cfg: s.cfg, log: s.log, open: true, keys: s.keys, index: make(map[string]map[int]known), gone: make(map[string]uint64)}
	reading, cancel := context.WithTimeout(ctx, beginTime)
	defer cancel()
	if err := now.catchUp(reading, w); err != nil {
		w.Close()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.gone, s.check, s.checks, s.at = now.index, now.gone, now.check, now.checks, now.at
	for name, v := range s.values {
		if is, ok := s.index[name][v.version]; !ok || !is.Created.Equal(v.created) {
			s.forget(name)
		}
	}
	return w, nil
}

// see takes in what the watcher says.
func (s *Store) see(e kv.Entry) {
	s.apply(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = e.Revision
	if e.Revision >= s.gone[e.Key] {
		delete(s.gone, e.Key)
	}
}

// apply takes in one entry of the bucket. What is damaged is told, and stands for itself:
// the version before it does not take its place.
func (s *Store) apply(e kv.Entry) {
	if e.Key == checkKey {
		s.applyCheck(e)
		return
	}
	namespace, name, version, ok := parseRecordKey(e.Key)
	if !ok {
		s.log.Error("the bucket of secrets has something else in it", "key", e.Key)
		return
	}
	if namespace != s.cfg.Namespace {
		return
	}
	if e.Op != kv.OpPut {
		s.unlearn(name, version, e.Revision)
		return
	}
	r, err := decodeRecord(e.Key, e.Value)
	if err != nil {
		s.log.Error("a version of a secret cannot be read: "+err.Error(), "secret", name, "version", version)
		r = &record{Namespace: namespace, Name: name, Version: version}
	}
	s.learn(r, e.Revision)
}

func (s *Store) applyCheck(e kv.Entry) {
	var r *record
	if e.Op == kv.OpPut {
		var err error
		if r, err = decodeRecord(e.Key, e.Value); err != nil {
			s.log.Error(err.Error())
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Revision < s.checks {
		return // the watcher is behind
	}
	s.check, s.checks = r, e.Revision
	if ring := s.keys.ring.Load(); r != nil && ring != nil && ring.find(r.Key) == nil && s.open { // else who opens it is told
		s.log.Error("the secrets are sealed with another master key now: this host needs it, too", "key", r.Key)
	}
}

// haveKey makes sure that there is a master key, and that it is the one of this bucket.
// The first one that a host has of its own is made here.
func (s *Store) haveKey(ctx context.Context) error {
	s.mu.Lock()
	ready, closed := s.keys.ring.Load() != nil && s.check != nil, s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if ready {
		return s.checkNow(ctx)
	}
	s.keys.sealing.Lock()
	defer s.keys.sealing.Unlock()
	ring := s.keyring()
	made := false
	if ring == nil {
		if err := s.checkKeys(nil); err != nil {
			return err
		}
		var err error
		if ring, made, err = s.cfg.Source.Make(ctx); err != nil {
			return err
		}
	}
	if err := s.putCheck(ctx, ring, true); err != nil {
		if made && errors.Is(err, ErrWrongKey) {
			s.cfg.Source.unmake() // another host was first: nothing is sealed with it
		}
		return err
	}
	s.keys.ring.Store(ring)
	if made {
		s.cfg.Source.Tell(s.log, ring)
	}
	return nil
}

// Tell says in a log where the key is that Make has made.
func (s *Source) Tell(log *slog.Logger, ring *Keyring) {
	log.Warn("the master key was made in "+s.Own+": it protects against somebody who gets the streams alone, not against one who gets the whole "+
		"data directory; to keep it elsewhere, move the file there and name it with --master-key-file", "key", ring.Primary().ID())
}

// keyring returns the master keys, nil for none yet, or if the store was closed.
func (s *Store) keyring() *Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.keys.ring.Load()
}

// Make returns the keys as Load does. Where there are none it makes one, in the host's own
// file, and made is true.
func (s *Source) Make(ctx context.Context) (ring *Keyring, made bool, err error) {
	ring, err = s.Load(ctx)
	if err != nil || ring != nil {
		return ring, false, err
	}
	ring = NewKeyring(NewKey())
	return ring, true, s.writeOwn(ring)
}

// unmake removes the file that make has made.
func (s *Source) unmake() { os.Remove(s.Own) }

// putCheck stores the record that opens with the primary key: only if there is none, or
// in the place of the one that is there.
func (s *Store) putCheck(ctx context.Context, ring *Keyring, first bool) error {
	e, err := s.bucket.Get(ctx, checkKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if err == nil {
		s.applyCheck(e)
		if err := s.checkKeys(ring); err != nil {
			return err
		}
		if first || s.checkID() == ring.Primary().ID() {
			return nil
		}
	}
	r := &record{Format: recordFormat, Name: checkName, Created: time.Now().UTC()}
	r.Sealed = ring.Seal([]byte(checkName), r.place()...)
	revision, err := s.bucket.Put(ctx, checkKey, r.encode(), kv.IfRevision(e.Revision))
	if errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("secrets: another host has changed the master key at the same time: try again")
	}
	if err != nil {
		return err
	}
	s.applyCheck(kv.Entry{Key: checkKey, Value: r.encode(), Revision: revision})
	return nil
}

// checkID returns the ID of the key that the check record is sealed with, "" for none.
func (s *Store) checkID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.check == nil {
		return ""
	}
	return s.check.Key
}
