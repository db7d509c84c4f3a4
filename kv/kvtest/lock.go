package kvtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

var locks = []test{
	{name: "one holds it", run: func(f *fixture) {
		first, err := kv.TryLock(f.ctx, f.Bucket, "l", time.Minute)
		f.ok(err)
		_, err = kv.TryLock(f.ctx, f.Bucket, "l", time.Minute)
		f.is(err, kv.ErrExists)
		f.ok(first.Renew(f.ctx))
		f.ok(first.Release(f.ctx))
		f.ok(first.Release(f.ctx))
		f.is(first.Renew(f.ctx), kv.ErrLost)
		second, err := kv.TryLock(f.ctx, f.Bucket, "l", time.Minute)
		f.ok(err)
		if second.Token() <= first.Token() {
			f.Errorf("token %d after %d", second.Token(), first.Token())
		}
	}},
	{name: "an expired one is lost and can be taken", run: func(f *fixture) {
		first, err := kv.TryLock(f.ctx, f.Bucket, "l", slack)
		f.ok(err)
		_, err = f.Commit(f.ctx, first.Check(), kv.Put("guarded", []byte("first")))
		f.ok(err)
		second, err := kv.Lock(f.ctx, f.Bucket, "l", time.Minute) // waits until it is
		f.ok(err)
		if second.Token() <= first.Token() {
			f.Errorf("token %d after %d", second.Token(), first.Token())
		}
		_, err = f.Commit(f.ctx, first.Check(), kv.Put("guarded", []byte("late")))
		f.is(err, kv.ErrConflict)
		f.is(first.Renew(f.ctx), kv.ErrLost)
		_, err = f.Commit(f.ctx, second.Check(), kv.Put("guarded", []byte("second")))
		f.ok(err)
		f.ok(second.Renew(f.ctx))
		f.holds("guarded", "second")
		third, err := kv.TryLock(f.ctx, f.Bucket, "m", time.Second)
		f.ok(err)
		f.gone("m")
		f.is(third.Release(f.ctx), kv.ErrLost)
	}},
	{name: "many wait, each gets it once", run: func(f *fixture) {
		const waiters = 8
		var wg sync.WaitGroup
		var mu sync.Mutex
		var last uint64
		inside := 0
		for range waiters {
			wg.Go(func() {
				l, err := kv.Lock(f.ctx, f.Bucket, "l", time.Minute)
				if err != nil {
					f.Error(err)
					return
				}
				mu.Lock()
				inside++
				if inside != 1 || l.Token() <= last {
					f.Errorf("%d inside, token %d after %d", inside, l.Token(), last)
				}
				last = l.Token()
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				inside--
				mu.Unlock()
				if err := l.Release(f.ctx); err != nil {
					f.Error(err)
				}
			})
		}
		wg.Wait()
	}},
	{name: "a renewal whose answer is lost is no lost lease", run: func(f *fixture) {
		deaf := &deafBucket{Bucket: f.Bucket}
		l, err := kv.TryLock(f.ctx, deaf, "l", time.Minute)
		f.ok(err)
		deaf.lose = true
		f.is(l.Renew(f.ctx), errDeaf)
		f.is(l.Renew(f.ctx), errDeaf)
		deaf.lose = false
		f.ok(l.Renew(f.ctx))
		_, err = f.Commit(f.ctx, l.Check(), kv.Put("guarded", nil))
		f.ok(err)
		f.ok(l.Release(f.ctx))
		f.absent("l")
	}},
	{name: "who waits ends with the context", run: func(f *fixture) {
		_, err := kv.Lock(f.ctx, f.Bucket, "l", time.Minute)
		f.ok(err)
		ctx, cancel := context.WithTimeout(f.ctx, 20*time.Millisecond)
		defer cancel()
		_, err = kv.Lock(ctx, f.Bucket, "l", time.Minute)
		f.is(err, context.DeadlineExceeded)
		_, err = kv.TryLock(f.ctx, f.Bucket, "free", 0)
		if !errors.Is(err, kv.ErrTTL) {
			f.Errorf("a lease for ever: %v", err)
		}
	}},
}

var errDeaf = errors.New("the answer is lost")

// deafBucket writes, and may not tell.
type deafBucket struct {
	kv.Bucket
	lose bool
}

func (b *deafBucket) Put(ctx context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	revision, err := b.Bucket.Put(ctx, key, value, options...)
	if err == nil && b.lose {
		return 0, errDeaf
	}
	return revision, err
}
