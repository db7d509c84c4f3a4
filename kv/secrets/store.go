package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/kv"
)

var (
	// ErrNotFound is wrapped by the errors for a secret that there is not.
	ErrNotFound = errors.New("secrets: no such secret")
	// ErrValue is wrapped by the errors for a value that is empty or too large.
	ErrValue = errors.New("secrets: not a value")
	// ErrClosed is returned once the store was closed.
	ErrClosed = errors.New("secrets: closed")
)

// Config of a [Store].
type Config struct {
	Bucket    kv.Bucket // without history: versions are keys of their own
	Namespace string    // default: "default"
	Keys      *Keyring  // as Source has loaded them; nil for none yet
	Source    *Source
	// Rewrap is called by Rotate with the new keys, before the old ones are of no use any
	// more, for what else they seal. It may be called again. Default: nothing.
	Rewrap func(*Keyring) error
	// Logger gets what goes wrong beside the calls. Default: [slog.Default].
	Logger *slog.Logger
}

// Store is the secrets of one namespace. It follows the bucket, so that what others
// write there is seen soon, and what it has written itself at once. It keeps opened
// values in memory until they are replaced. Its methods are safe for concurrent use.
type Store struct {
	cfg    Config
	bucket kv.Bucket
	log    *slog.Logger

	keys *keys

	mu     sync.Mutex
	open   bool // what it has found at its beginning was judged
	closed bool
	index  map[string]map[int]known // by name and version
	gone   map[string]uint64        // keys that were removed here, at that revision, which is still to be seen
	values map[string]value         // opened, of the latest version
	check  *record                  // nil: no secret was ever set here
	checks uint64                   // its revision
	at     uint64                   // revision up to which the bucket was followed

	cancel context.CancelFunc
	ended  chan struct{}

	fault func(step string) error // of tests
}

// keys are what seals the secrets of all namespaces of a bucket.
type keys struct {
	sealing  sync.RWMutex // held while something is sealed and stored, or removed; by Rotate when it changes the keys
	rotating sync.Mutex
	ring     atomic.Pointer[Keyring] // nil for none yet
}

// known is a version that is in the bucket, at a revision of it.
type known struct {
	Info
	revision uint64
}

// value is one that was opened.
type value struct {
	version int
	created time.Time // tells it from one of the same version, after a removal
	bytes   []byte
}

// Open opens the secrets in a bucket. The error wraps [ErrWrongKey] if they are sealed
// with a master key that is not among those of cfg.Keys; nothing was changed then. The
// store must be closed.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	k := &keys{}
	k.ring.Store(cfg.Keys)
	return openStore(ctx, cfg, k)
}

// Namespace opens the secrets of another namespace of the bucket, which have the same
// master keys: a rotation by one of the stores is one of all. Errors are as those of [Open].
// The store must be closed, before or after s.
func (s *Store) Namespace(ctx context.Context, name string, log *slog.Logger) (*Store, error) {
	cfg := s.cfg
	cfg.Namespace, cfg.Logger = name, log
	return openStore(ctx, cfg, s.keys)
}

func openStore(ctx context.Context, cfg Config, k *keys) (*Store, error) {
	s := &Store{cfg: cfg, bucket: cfg.Bucket, log: cfg.Logger, keys: k, index: make(map[string]map[int]known), gone: make(map[string]uint64), values: make(map[string]value), ended: make(chan struct{})}
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	w, err := s.bucket.Watch(following, kv.WatchOptions{Initial: true})
	if err == nil {
		if err = s.catchUp(ctx, w); err != nil {
			w.Close()
		}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("secrets: %w", err)
	}
	if err := s.checkNow(ctx); err != nil {
		w.Close()
		cancel()
		return nil, err
	}
	s.open = true
	go func() {
		defer close(s.ended)
		s.follow(following, w)
	}()
	return s, nil
}

// Close ends the following of the bucket, and zeroes the values in memory.
func (s *Store) Close() {
	s.cancel()
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.values {
		s.forget(name)
	}
	s.closed = true
}

// Prepare makes sure that there is a master key, which it makes if need be, as Set does.
// The error wraps [ErrWrongKey], or is one of the bucket or the source.
func (s *Store) Prepare(ctx context.Context) error { return s.haveKey(ctx) }

// checkKeys returns an error if a keyring is not the one of this bucket.
func (s *Store) checkKeys(ring *Keyring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.check == nil {
		for name, versions := range s.index {
			for _, info := range versions {
				if ring.find(info.Key) == nil {
					return s.wrongKey(info.Key, ring, fmt.Sprintf("the secret %q", name))
				}
			}
		}
		return nil
	}
	if ring.find(s.check.Key) == nil {
		return s.wrongKey(s.check.Key, ring, "what is stored")
	}
	if _, err := ring.Open(s.check.Sealed, s.check.place()...); err != nil {
		return fmt.Errorf("the record %q of the bucket %q: %w", checkKey, s.bucket.Name(), err)
	}
	return nil
}

// checkNow is checkKeys of the keys in use. The store of another namespace may have changed
// them just now, with a check that is not seen here yet: then that is read.
func (s *Store) checkNow(ctx context.Context) error {
	err := s.checkKeys(s.keyring())
	if !errors.Is(err, ErrWrongKey) {
		return err
	}
	e, getErr := s.bucket.Get(ctx, checkKey)
	if getErr != nil {
		return err
	}
	s.applyCheck(e)
	return s.checkKeys(s.keyring())
}

func (s *Store) wrongKey(id string, ring *Keyring, what string) error {
	return fmt.Errorf("%w: %s needs the master key %.16q, and %s; nothing was changed", ErrWrongKey, what, id, s.cfg.Source.Wanted(ring))
}

// Get returns the latest version of a secret, and which it is. The value belongs to the
// caller. The error wraps [ErrNotFound], [ErrWrongKey] or [ErrDamaged], or is one of
// the bucket.
func (s *Store) Get(ctx context.Context, name string) ([]byte, Info, error) {
	for try := 1; ; try++ {
		info, known, ok := s.latest(name)
		if !ok {
			return nil, Info{}, fmt.Errorf("%w: %q", ErrNotFound, name)
		}
		if known != nil {
			return known, info, nil
		}
		b, err := s.read(ctx, info)
		if err == nil {
			s.remember(info, b)
			return b, info, nil
		}
		// It was removed, or sealed with a newer key, just now.
		if again := errors.Is(err, kv.ErrNotFound) || errors.Is(err, ErrWrongKey); !again || try == 5 {
			if errors.Is(err, kv.ErrNotFound) {
				err = ErrNotFound
			}
			return nil, Info{}, fmt.Errorf("secret %q: %w", name, err)
		}
		if err := sleep(ctx, time.Duration(try*try)*5*time.Millisecond); err != nil {
			return nil, Info{}, err
		}
	}
}

// latest returns the latest version of a secret, with its value if that is in memory.
func (s *Store) latest(name string) (Info, []byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.index[name]
	if len(versions) == 0 {
		return Info{}, nil, false
	}
	info := versions[slices.Max(slices.Collect(maps.Keys(versions)))].Info
	if v, ok := s.values[name]; ok && v.version == info.Version && v.created.Equal(info.Created) {
		return info, slices.Clone(v.bytes), true
	}
	return info, nil, true
}

// read opens a version as it stands in the bucket.
func (s *Store) read(ctx context.Context, info Info) ([]byte, error) {
	key := recordKey(s.cfg.Namespace, info.Name, info.Version)
	e, err := s.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(key, e.Value)
	if err != nil {
		return nil, err
	}
	return s.keyring().Open(r.Sealed, r.place()...)
}

// remember keeps an opened value, if it is still that of the latest version.
func (s *Store) remember(info Info, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := s.index[info.Name][info.Version]; ok && now.Created.Equal(info.Created) && !s.closed {
		s.forget(info.Name)
		s.values[info.Name] = value{info.Version, info.Created, slices.Clone(b)}
	}
}

// forget zeroes an opened value. s.mu is held.
func (s *Store) forget(name string) {
	clear(s.values[name].bytes)
	delete(s.values, name)
}

// Set stores the next version of a secret, and returns when it is stored. by says who
// does so. The latest [Keep] versions stay. The error wraps kv.ErrInvalidKey, [ErrValue]
// or [ErrWrongKey], or is one of the bucket, after which it may have been stored all the
// same.
func (s *Store) Set(ctx context.Context, name string, value []byte, by string) (Info, error) {
	if err := ValidateName(name); err != nil {
		return Info{}, err
	}
	switch {
	case len(value) == 0:
		return Info{}, fmt.Errorf("%w: it is empty", ErrValue)
	case len(value) > MaxValue:
		return Info{}, fmt.Errorf("%w: it has more than %d KiB", ErrValue, MaxValue>>10)
	}
	if err := s.haveKey(ctx); err != nil {
		return Info{}, err
	}
	s.keys.sealing.RLock()
	defer s.keys.sealing.RUnlock()
	r := &record{Format: recordFormat, Namespace: s.cfg.Namespace, Name: name, Created: time.Now().UTC(), By: by}
	if err := s.putNext(ctx, r, value); err != nil {
		return Info{}, fmt.Errorf("secret %q: %w", name, err)
	}
	s.prune(ctx, name)
	return r.info(), nil
}

// putNext stores a record as the next version of its secret.
func (s *Store) putNext(ctx context.Context, r *record, value []byte) error {
	for {
		ring := s.keyring()
		if ring == nil {
			return ErrClosed
		}
		r.Version = s.newest(r.Name) + 1
		r.Sealed = ring.Seal(value, r.place()...)
		key := recordKey(r.Namespace, r.Name, r.Version)
		revision, err := s.bucket.Put(ctx, key, r.encode(), kv.IfAbsent())
		if err == nil {
			late, err := s.isLate(ctx, r)
			if err == nil && !late {
				s.learn(r, revision)
				return nil
			}
			if err == nil {
				err = s.bucket.Delete(ctx, key, kv.IfRevision(revision))
			}
			if err != nil && !errors.Is(err, kv.ErrConflict) { // a conflict: it was pruned once more
				return err
			}
			continue
		}
		if !errors.Is(err, kv.ErrExists) {
			return err
		}
		e, err := s.bucket.Get(ctx, key) // somebody else has set it, and is not seen here yet
		if err == nil {
			s.apply(e)
		} else if !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// isLate reports whether a version was stored that had been there before, and was pruned: by
// who has waited so long that others have stored as many as are kept. The newer ones are
// learnt then.
func (s *Store) isLate(ctx context.Context, r *record) (bool, error) {
	late := false
	versions := kv.Filter{Prefix: r.Namespace + ".", Suffix: "." + r.Name}
	for e, err := range kv.All(ctx, s.bucket, kv.Query{Filter: versions, Values: true}) {
		if err != nil {
			return false, err
		}
		if _, name, version, ok := parseRecordKey(e.Key); ok && name == r.Name && version >= r.Version+Keep {
			late = true
			s.apply(e)
		}
	}
	return late, nil
}

// prune removes versions that are too old. What it leaves the next one removes.
func (s *Store) prune(ctx context.Context, name string) {
	versions := s.versions(name)
	if err := s.remove(ctx, versions[min(Keep, len(versions)):]); err != nil {
		s.log.Warn("old versions of a secret stay for now: "+err.Error(), "secret", name)
	}
}

// remove removes versions, all or none.
func (s *Store) remove(ctx context.Context, versions []Info) error {
	if len(versions) == 0 {
		return nil
	}
	changes := make([]kv.Change, 0, len(versions))
	for _, info := range versions {
		changes = append(changes, kv.Delete(recordKey(s.cfg.Namespace, info.Name, info.Version)))
	}
	revisions, err := s.bucket.Commit(ctx, changes...)
	if err != nil {
		return err
	}
	for i, info := range versions {
		s.unlearn(info.Name, info.Version, revisions[i])
		s.mu.Lock()
		if revisions[i] > s.at {
			s.gone[changes[i].Key] = revisions[i]
		}
		s.mu.Unlock()
	}
	return nil
}

// Remove removes a secret with all its versions. The error wraps [ErrNotFound], or is
// one of the bucket, after which it may have been removed all the same.
func (s *Store) Remove(ctx context.Context, name string) error {
	s.keys.sealing.RLock()
	defer s.keys.sealing.RUnlock()
	versions := s.versions(name)
	if len(versions) == 0 {
		return fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err := s.remove(ctx, versions); err != nil {
		return fmt.Errorf("secret %q: %w", name, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
