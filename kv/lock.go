package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// Lease is a lock that is held for a time. Who holds one renews it well before that
// has passed (a third of the time is a good rhythm), and stops what it does when it is lost.
//
// A holder that was stopped for long may not know yet that it has lost the lock. So
// whatever it writes elsewhere should carry Token, and be refused there if a greater one
// was seen before; inside the bucket, a Commit with Check does it:
//
//	b.Commit(ctx, lease.Check(), kv.Put("report", value))
//
// All methods are safe for concurrent use.
type Lease struct {
	bucket Bucket
	key    string
	ttl    time.Duration
	token  uint64
	owner  []byte

	mu       sync.Mutex
	revision uint64 // of the key, 0 if the lease is lost or released
}

// TryLock takes a lock for ttl, or returns ErrExists, as a *ConflictError, if somebody
// holds it. A key is a lock if it is used as one and nothing else. It returns
// ErrTTL for a ttl that is not of whole seconds, from 1 s on.
func TryLock(ctx context.Context, b Bucket, key string, ttl time.Duration) (*Lease, error) {
	return tryLock(ctx, b, key, ttl, []byte(rand.Text()))
}

func tryLock(ctx context.Context, b Bucket, key string, ttl time.Duration, owner []byte) (*Lease, error) {
	if ttl == 0 {
		return nil, ErrTTL // it would be held for ever
	}
	revision, err := b.Put(ctx, key, owner, IfAbsent(), TTL(ttl))
	if err != nil {
		return nil, err
	}
	return &Lease{bucket: b, key: key, ttl: ttl, token: revision, owner: owner, revision: revision}, nil
}

// Lock takes a lock for ttl, and waits until it is free or ctx ends. Who waits is not
// in a queue: anybody may be next. It returns the errors of [TryLock] but ErrExists.
func Lock(ctx context.Context, b Bucket, key string, ttl time.Duration) (*Lease, error) {
	owner := []byte(rand.Text())
	l, err := tryLock(ctx, b, key, ttl, owner)
	if !errors.Is(err, ErrExists) {
		return l, err
	}
	w, err := b.Watch(ctx, WatchOptions{Filter: Key(key), Initial: true, KeysOnly: true})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	there := false
	for {
		e, err := w.Next(ctx)
		if err != nil {
			if cause := ctx.Err(); cause != nil {
				return nil, cause
			}
			return nil, err
		}
		there = e.Op == OpPut || there && e.Op == OpReady
		if there {
			continue
		}
		if l, err = tryLock(ctx, b, key, ttl, owner); !errors.Is(err, ErrExists) {
			return l, err
		}
	}
}

// Token returns the lease's fencing token: greater than that of every lease of this
// lock before it. It stays the same when the lease is renewed.
func (l *Lease) Token() uint64 { return l.token }

// Check returns the change that has a Commit fail if the lease is lost. It is of no
// use after the next Renew.
func (l *Lease) Check() Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revision == 0 {
		return Check(l.key, l.token) // it stands there no more
	}
	return Check(l.key, l.revision)
}

// Renew has the lease last for its whole time again, from now on. It returns ErrLost
// if the time had passed, or the lease was released.
func (l *Lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revision == 0 {
		return ErrLost
	}
	return l.change(ctx, func() error {
		revision, err := l.bucket.Put(ctx, l.key, l.owner, IfRevision(l.revision), TTL(l.ttl))
		if err == nil {
			l.revision = revision
		}
		return err
	})
}

// Release gives the lock back. It returns ErrLost if it was lost before, and nil if it
// was released before.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revision == 0 {
		return nil
	}
	return l.change(ctx, func() error {
		err := l.bucket.Delete(ctx, l.key, IfRevision(l.revision), Purge())
		if err == nil {
			l.revision = 0
		}
		return err
	})
}

// change does do, whose conflict means that the lease is lost, unless the key holds
// this lease's own value: then an earlier renewal has happened without being known.
func (l *Lease) change(ctx context.Context, do func() error) error {
	err := do()
	if !isConflict(err) {
		return err
	}
	e, err := l.bucket.Get(ctx, l.key)
	if err == nil && bytes.Equal(e.Value, l.owner) {
		l.revision = e.Revision
		if err = do(); !isConflict(err) {
			return err
		}
	} else if err != nil && !isNotFound(err) {
		return err
	}
	l.revision = 0
	return ErrLost
}

func isConflict(err error) bool { return errors.Is(err, ErrConflict) }
func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// jitter returns a random part of d, at least a tenth.
func jitter(d time.Duration) time.Duration {
	return d/10 + mathrand.N(d*9/10)
}

// sleep waits, and returns the error of ctx if that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
