package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fnhost/fnhost/kv"
)

// ErrNothingToRotate is wrapped by the error of Rotate where there is no new master key,
// which says how to bring one.
var ErrNothingToRotate = errors.New("no new master key")

// Rotation says what Rotate has done.
type Rotation struct {
	Key       string   `json:"key"`               // ID of the primary key
	Rewrapped int      `json:"rewrapped"`         // versions whose data keys were sealed anew
	Dropped   []string `json:"dropped,omitempty"` // IDs of keys that are of no use any more
	Unread    []string `json:"unread,omitempty"`  // versions that are damaged, or whose key is not there
	Source    string   `json:"source"`            // where the keys come from
	Owned     bool     `json:"owned"`             // it is the host's own file, from which the dropped ones are gone
}

// Rotate reads the source of the master keys again, and seals all data keys with the
// primary one. Of the host's own file that is a new key, which it makes and writes there
// before the old one; at the end the old one goes. One that was broken off is finished
// by the next. Secrets can be read and set all the time.
//
// Where several hosts share the bucket each has to be told: the first one seals all
// anew, and the others take up their keys. All must have both keys before.
//
// The error wraps [ErrNothingToRotate] if the source is not the host's own and its
// primary key is the one that seals all already, or if there is no secret yet, and
// [ErrWrongKey] if the keys do not open what there is; nothing has changed then.
func (s *Store) Rotate(ctx context.Context) (Rotation, error) {
	s.keys.rotating.Lock()
	defer s.keys.rotating.Unlock()
	ring, err := s.nextKeys(ctx)
	if err != nil {
		return Rotation{}, err
	}
	if err := s.step("keys written"); err != nil {
		return Rotation{}, err
	}
	s.use(ring)
	done := Rotation{Key: ring.Primary().ID(), Source: s.cfg.Source.String(), Owned: s.cfg.Source.owned(), Dropped: ring.IDs()[1:]}
	if err := s.rewrapAll(ctx, ring, &done); err != nil {
		return done, fmt.Errorf("the rotation was broken off, and can be repeated: %w", err)
	}
	if s.cfg.Rewrap != nil {
		if err := s.cfg.Rewrap(ring); err != nil {
			return done, fmt.Errorf("the rotation was broken off, and can be repeated: %w", err)
		}
	}
	if err := s.step("all rewrapped"); err != nil {
		return done, err
	}
	if err := s.putCheck(ctx, ring, false); err != nil {
		return done, fmt.Errorf("the rotation was broken off, and can be repeated: %w", err)
	}
	if err := s.step("check written"); err != nil {
		return done, err
	}
	if !done.Owned {
		return done, nil
	}
	alone := NewKeyring(ring.Primary())
	if err := s.cfg.Source.writeOwn(alone); err != nil {
		return done, fmt.Errorf("all is sealed with the new key, and the old one stays for now: %w", err)
	}
	s.use(alone)
	return done, nil
}

// nextKeys returns the keys to go on with.
func (s *Store) nextKeys(ctx context.Context) (*Keyring, error) {
	source := s.cfg.Source
	ring, err := source.Load(ctx)
	if err != nil {
		return nil, err
	}
	if s.checkID() == "" || ring == nil {
		return nil, fmt.Errorf("%w: there is no secret yet, and so nothing to seal anew", ErrNothingToRotate)
	}
	if err := s.checkKeys(ring); err != nil {
		return nil, err
	}
	now := s.keyring()
	nothing := now != nil && now.Primary() == ring.Primary() && s.sealedBy(ring.Primary().ID())
	switch {
	case source.owned() && len(ring.keys) == 1:
		ring = NewKeyring(NewKey(), ring.keys[0])
		return ring, source.writeOwn(ring)
	case source.owned():
		return ring, nil // broken off
	case nothing && source.Text != "":
		return nil, fmt.Errorf("%w: put a new one (`fnhost secret key` makes it) before the old one into FNHOST_MASTER_KEY, with space between them, restart the host, and rotate again; then the old one can go", ErrNothingToRotate)
	case nothing:
		s.use(ring) // others may have come or gone beside it
		return nil, fmt.Errorf("%w: have %s give a new one (`fnhost secret key` makes it) on a line before the old one, and rotate again; then the old one can go", ErrNothingToRotate, source)
	}
	return ring, nil
}

// sealedBy reports whether all is sealed by a key.
func (s *Store) sealedBy(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, versions := range s.index {
		for _, info := range versions {
			if info.Key != id {
				return false
			}
		}
	}
	return s.check != nil && s.check.Key == id
}

// use seals with other keys from now on, when nothing that was sealed with those before
// is still on its way to the bucket.
func (s *Store) use(ring *Keyring) {
	s.keys.sealing.Lock()
	defer s.keys.sealing.Unlock()
	s.keys.ring.Store(ring)
}

// rewrapAll seals the data keys of all versions, of all namespaces, with the primary key.
func (s *Store) rewrapAll(ctx context.Context, ring *Keyring, done *Rotation) error {
	for e, err := range kv.All(ctx, s.bucket, kv.Query{Limit: 100}) {
		if err != nil {
			return err
		}
		if e.Key == checkKey {
			continue
		}
		err := kv.Retry(ctx, func() error { return s.rewrap(ctx, ring, e.Key, done) })
		switch {
		case errors.Is(err, kv.ErrNotFound): // removed meanwhile
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrWrongKey):
			done.Unread = append(done.Unread, e.Key)
		case err != nil:
			return err
		}
	}
	slices.Sort(done.Unread)
	return nil
}

// rewrap seals the data key of one version.
func (s *Store) rewrap(ctx context.Context, ring *Keyring, key string, done *Rotation) error {
	e, err := s.bucket.Get(ctx, key)
	if err != nil {
		return err
	}
	r, err := decodeRecord(key, e.Value)
	if err != nil || r.Key == ring.Primary().ID() {
		return err
	}
	if r.Sealed, err = ring.Rewrap(r.Sealed, r.place()...); err != nil {
		return err
	}
	revision, err := s.bucket.Put(ctx, key, r.encode(), kv.IfRevision(e.Revision))
	if err != nil {
		return err
	}
	if r.Namespace == s.cfg.Namespace {
		s.learn(r, revision)
	}
	done.Rewrapped++
	return s.step("rewrapped")
}

// step lets a test break off here.
func (s *Store) step(name string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(name)
}
