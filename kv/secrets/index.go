package secrets

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/fnhost/fnhost/kv"
)

// KeysOf returns the IDs of the master keys that seal what is in a bucket, of all
// namespaces, sorted; none if no secret was ever set there. Damaged records are left
// out. The error is one of the bucket.
func KeysOf(ctx context.Context, b kv.Bucket) ([]string, error) {
	ids := make(map[string]bool)
	for e, err := range kv.All(ctx, b, kv.Query{Limit: 100, Values: true}) {
		if err != nil {
			return nil, fmt.Errorf("secrets: %w", err)
		}
		if r, err := decodeRecord(e.Key, e.Value); err == nil {
			ids[r.Key] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// newest returns the number of the latest version, 0 for none.
func (s *Store) newest(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for version := range s.index[name] {
		most = max(most, version)
	}
	return most
}

// learn notes a version that was stored.
func (s *Store) learn(r *record, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := recordKey(r.Namespace, r.Name, r.Version)
	if revision < s.gone[key] || revision < s.index[r.Name][r.Version].revision {
		return // the watcher is behind
	}
	delete(s.gone, key)
	if s.index[r.Name] == nil {
		s.index[r.Name] = make(map[int]known)
	}
	s.index[r.Name][r.Version] = known{r.info(), revision}
	if v, ok := s.values[r.Name]; ok && !v.created.Equal(r.Created) && v.version <= r.Version {
		s.forget(r.Name)
	}
}

// unlearn notes that a version was removed.
func (s *Store) unlearn(name string, version int, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision < s.index[name][version].revision {
		return // the watcher is behind
	}
	delete(s.index[name], version)
	if len(s.index[name]) == 0 {
		delete(s.index, name)
		s.forget(name)
	}
	if v, ok := s.values[name]; ok && v.version == version {
		s.forget(name)
	}
}

// Names returns the names of all secrets, sorted.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.index))
}

// List returns the latest version of each secret, by name.
func (s *Store) List() []Info {
	list := []Info{}
	for _, name := range s.Names() {
		if info := s.versions(name); len(info) > 0 {
			list = append(list, info[0])
		}
	}
	return list
}

// Versions returns the versions of a secret that are kept, the newest first. The error
// wraps [ErrNotFound].
func (s *Store) Versions(name string) ([]Info, error) {
	list := s.versions(name)
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return list, nil
}

func (s *Store) versions(name string) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Info, 0, len(s.index[name]))
	for _, one := range s.index[name] {
		list = append(list, one.Info)
	}
	slices.SortFunc(list, func(a, b Info) int { return b.Version - a.Version })
	return list
}
