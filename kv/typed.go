package kv

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Typed is a bucket whose values are a T in JSON. What it does not offer is done on
// the bucket itself.
type Typed[T any] struct{ bucket Bucket }

// Of returns the bucket with values of type T.
func Of[T any](b Bucket) Typed[T] { return Typed[T]{b} }

// Bucket returns the bucket itself.
func (t Typed[T]) Bucket() Bucket { return t.bucket }

// Get returns a key's value and revision. Beside what the bucket's Get returns, it
// returns the error of encoding/json for a value that is no T.
func (t Typed[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	var v T
	e, err := t.bucket.Get(ctx, key)
	if err != nil {
		return v, 0, err
	}
	v, err = t.Value(e)
	return v, e.Revision, err
}

// Put writes a value as the bucket's Put does. It returns the error of encoding/json
// for a value that has no JSON.
func (t Typed[T]) Put(ctx context.Context, key string, value T, options ...Option) (uint64, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("kv: key %q: %w", key, err)
	}
	return t.bucket.Put(ctx, key, b, options...)
}

// Value returns the value of an entry, as of a list or a watcher.
func (t Typed[T]) Value(e Entry) (T, error) {
	var v T
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, fmt.Errorf("kv: key %q: %w", e.Key, err)
	}
	return v, nil
}

// Modify writes what change makes of a key's value, with the zero T for one that is
// not there, and begins again if somebody else has written meanwhile, until ctx ends.
// It returns the value that it has written, and the error of change, which then has
// changed nothing. The new value has no TTL but that of an option.
func (t Typed[T]) Modify(ctx context.Context, key string, change func(*T) error, options ...Option) (T, error) {
	var v T
	err := Retry(ctx, func() error {
		var revision uint64
		var err error
		v, revision, err = t.Get(ctx, key)
		if err != nil && !isNotFound(err) {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		_, err = t.Put(ctx, key, v, append(options[:len(options):len(options)], IfRevision(revision))...)
		return err
	})
	return v, err
}

// Retry calls do until it returns no ErrConflict, or ctx ends; then it returns the
// conflict together with the error of ctx. Between calls it waits for a random time, which grows from 1 ms to 100 ms,
// so that many who write one key come to their turn.
func Retry(ctx context.Context, do func() error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := do()
		if err == nil || !isConflict(err) {
			return err
		}
		if cause := sleep(ctx, jitter(wait)); cause != nil {
			return fmt.Errorf("%w: %w", cause, err)
		}
	}
}
