package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// generation is the key that each change writes too: who has read all layers, and
// finds it unchanged, has read them as they are.
const generation = "generation"

// Bucket is the name of the bucket, and History how many revisions it is to keep.
const (
	Bucket  = "config"
	History = kv.MaxHistory
)

// Store keeps layers in a bucket that takes a Commit. It is safe for concurrent use.
type Store struct{ bucket kv.Bucket }

// NewStore returns the store of a bucket.
func NewStore(b kv.Bucket) *Store { return &Store{b} }

// Check decides whether a change may be: next is what all layers will be. Its error is
// that of the change, and nothing was stored. It may be called more than once.
type Check func(next *State) error

// Change says what is changed: how, by whom, and under which conditions.
type Change struct {
	Layer Layer
	By    string // for the history
	// Revision is where the layer must stand; 0: anywhere. If it does not, the error
	// is a [kv.ConflictError].
	Revision uint64
	Check    Check // nil: anything may be
}

// State returns all layers at one moment.
func (s *Store) State(ctx context.Context) (*State, error) {
	state := &State{layers: make(map[Layer]*Record)}
	g, err := s.bucket.Get(ctx, generation)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	state.generation = g.Revision
	for e, err := range kv.All(ctx, s.bucket, kv.Query{Values: true}) {
		if err != nil {
			return nil, err
		}
		if state, err = state.Apply(e); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// Apply returns the state after an entry of the bucket, as its watcher tells it. An
// entry that is no layer changes nothing; one that cannot be read is an error.
func (s *State) Apply(e kv.Entry) (*State, error) {
	l, ok := ParseKey(e.Key)
	if !ok {
		return s, nil
	}
	if e.Op != kv.OpPut {
		return s.with(l, nil), nil
	}
	r, err := record(e)
	if err != nil {
		return s, err
	}
	return s.with(l, r), nil
}

// record reads one of an entry.
func record(e kv.Entry) (*Record, error) {
	var stored struct {
		Record
		Values json.RawMessage `json:"values"`
	}
	err := json.Unmarshal(e.Value, &stored)
	if err == nil {
		stored.Record.Values, err = ParseObject(stored.Values)
	}
	if err != nil {
		return nil, fmt.Errorf("config: layer %q, revision %d, cannot be read: %w", e.Key, e.Revision, err)
	}
	stored.Revision = e.Revision
	return &stored.Record, nil
}

// Set sets a path of a layer to a value, of the kinds that [Parse] returns, and
// returns the layer. null in a layer takes away what earlier layers have there. It returns
// ErrPath and ErrValue, the error of the Check, a *kv.ConflictError for a Revision, and those of
// the bucket. If the value is there already, nothing is stored.
func (s *Store) Set(ctx context.Context, c Change, path string, value any) (*Record, error) {
	if err := checkValue(value, 0); err != nil {
		return nil, err
	}
	words := "set " + path + " to " + Short(value)
	if path == "" {
		words = "set all to " + Short(value)
	}
	return s.change(ctx, c, words, func(values map[string]any) (map[string]any, error) { return Set(values, path, value) })
}

// Remove removes a path of a layer, and returns the layer; the empty path removes all
// that is set. It returns ErrPath, ErrNoPath if nothing is set there, and what Set does.
func (s *Store) Remove(ctx context.Context, c Change, path string) (*Record, error) {
	words := "removed " + path
	if path == "" {
		words = "removed all"
	}
	return s.change(ctx, c, words, func(values map[string]any) (map[string]any, error) { return Remove(values, path) })
}

// Rollback makes the values of an earlier revision those of the layer again, as a new
// revision, and returns the layer. It returns ErrRevision for one that is not kept, and what Set does.
func (s *Store) Rollback(ctx context.Context, c Change, revision uint64) (*Record, error) {
	list, err := s.History(ctx, c.Layer)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Revision == revision {
			return s.change(ctx, c, fmt.Sprintf("back to revision %d", revision), func(map[string]any) (map[string]any, error) { return r.Values, nil })
		}
	}
	return nil, fmt.Errorf("%w: %d of the %s, of which %d are kept", ErrRevision, revision, c.Layer, len(list))
}

// History returns the revisions of a layer that are kept, the oldest first.
func (s *Store) History(ctx context.Context, l Layer) ([]Record, error) {
	entries, err := s.bucket.History(ctx, l.Key())
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	var list []Record
	for _, e := range entries {
		if e.Op != kv.OpPut {
			continue
		}
		r, err := record(e)
		if err != nil {
			return nil, err
		}
		list = append(list, *r)
	}
	return list, nil
}

// change edits a layer as often as others have changed something meanwhile.
func (s *Store) change(ctx context.Context, c Change, words string, edit func(map[string]any) (map[string]any, error)) (result *Record, err error) {
	var wanted error
	err = kv.Retry(ctx, func() error {
		result, wanted, err = s.try(ctx, c, words, edit)
		return err
	})
	if err == nil {
		err = wanted
	}
	return result, err
}

// try does it once. wanted is a conflict that another try does not change.
func (s *Store) try(ctx context.Context, c Change, words string, edit func(map[string]any) (map[string]any, error)) (_ *Record, wanted, err error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	was := state.Layer(c.Layer)
	if c.Revision != 0 && was.Revision != c.Revision {
		return nil, &kv.ConflictError{Key: c.Layer.Key(), Wanted: c.Revision, Current: was.Revision}, nil
	}
	values, err := edit(was.Values)
	if err != nil {
		return nil, nil, err
	}
	if was.Revision > 0 && same(values, was.Values) {
		return was, nil, nil
	}
	r := &Record{Values: values, By: c.By, Time: time.Now().UTC(), Change: words}
	data := Marshal(r)
	if len(data) > MaxSize {
		return nil, nil, fmt.Errorf("%w: the layer would have %d bytes, at most %d", ErrValue, len(data), MaxSize)
	}
	if c.Check != nil {
		if err := c.Check(state.with(c.Layer, r)); err != nil {
			return nil, nil, err
		}
	}
	revisions, err := s.bucket.Commit(ctx,
		kv.Put(c.Layer.Key(), data, kv.IfRevision(was.Revision)), kv.Put(generation, nil, kv.IfRevision(state.generation)))
	if err != nil {
		return nil, nil, err
	}
	r.Revision = revisions[0]
	return r, nil, nil
}
