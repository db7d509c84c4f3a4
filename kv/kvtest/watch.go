package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// watch makes a watcher that is closed in the end.
func (f *fixture) watch(o kv.WatchOptions) kv.Watcher {
	f.Helper()
	w, err := f.Watch(f.ctx, o)
	f.ok(err)
	f.Cleanup(func() { w.Close() })
	return w
}

// next wants the next change to be of a key and an op.
func (f *fixture) next(w kv.Watcher, key string, op kv.Op) kv.Entry {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, Patience)
	defer cancel()
	e, err := w.Next(ctx)
	f.ok(err)
	if e.Key != key || e.Op != op {
		f.Fatalf("got %s of %q, want %s of %q", e.Op, e.Key, op, key)
	}
	return e
}

var watches = []test{
	{name: "changes from now on", run: func(f *fixture) {
		f.puts("before")
		w := f.watch(kv.WatchOptions{})
		revision := f.put("a", "1", kv.TTL(time.Hour))
		f.put("a", "2")
		f.delete("a")
		f.delete("before", kv.Purge())
		f.puts("b")
		e := f.next(w, "a", kv.OpPut)
		if e.Op == kv.OpPut && string(e.Value) == "1" { // the bucket may have kept the latest only
			if e.Revision != revision || e.Expires.Sub(e.Created) != time.Hour {
				f.Errorf("got %+v", e)
			}
		}
		f.until(w, "b")
	}, history: 5},
	{name: "initial values, then ready, then changes", run: func(f *fixture) {
		f.puts("a b c x")
		f.delete("b")
		f.put("a", "2")
		w := f.watch(kv.WatchOptions{Initial: true})
		f.next(w, "c", kv.OpPut)
		f.next(w, "x", kv.OpPut)
		if e := f.next(w, "a", kv.OpPut); string(e.Value) != "2" {
			f.Errorf("got %+v", e)
		}
		f.next(w, "", kv.OpReady)
		f.puts("b")
		f.next(w, "b", kv.OpPut)
		f.delete("x")
		if e := f.next(w, "x", kv.OpDelete); len(e.Value) > 0 {
			f.Errorf("got %+v", e)
		}
	}},
	{name: "ready at once where nothing is", run: func(f *fixture) {
		f.puts("a b")
		f.delete("b")
		f.next(f.watch(kv.WatchOptions{Initial: true, Filter: kv.Prefix("n.")}), "", kv.OpReady)
		f.next(f.watch(kv.WatchOptions{Initial: true, Filter: kv.Key("b")}), "", kv.OpReady)
		f.next(f.watch(kv.WatchOptions{Initial: true, Filter: kv.Filter{Suffix: "z"}}), "", kv.OpReady)
	}},
	{name: "from a revision", history: 5, run: func(f *fixture) {
		f.puts("a b")
		from := f.put("c", "c")
		f.puts("d")
		f.delete("a")
		w := f.watch(kv.WatchOptions{From: from})
		if e := f.next(w, "c", kv.OpPut); e.Revision != from {
			f.Errorf("got %+v", e)
		}
		f.next(w, "d", kv.OpPut)
		f.next(w, "a", kv.OpDelete)
		f.puts("e")
		last := f.next(w, "e", kv.OpPut)
		w = f.watch(kv.WatchOptions{From: last.Revision + 1})
		f.puts("f")
		f.next(w, "f", kv.OpPut)
	}},
	{name: "only what the filter chooses", run: func(f *fixture) {
		w := f.watch(kv.WatchOptions{Filter: kv.Filter{Prefix: "a.", Suffix: "z"}})
		f.puts("a.b b.z a.z z a.b.z")
		f.next(w, "a.z", kv.OpPut)
		f.next(w, "a.b.z", kv.OpPut)
	}},
	{name: "keys only", run: func(f *fixture) {
		w := f.watch(kv.WatchOptions{KeysOnly: true})
		revision := f.put("a", "value")
		if e := f.next(w, "a", kv.OpPut); e.Value != nil || e.Revision != revision {
			f.Errorf("got %+v", e)
		}
	}},
	{name: "next ends with its context and goes on after it", run: func(f *fixture) {
		w := f.watch(kv.WatchOptions{})
		ctx, cancel := context.WithTimeout(f.ctx, 10*time.Millisecond)
		defer cancel()
		_, err := w.Next(ctx)
		f.is(err, context.DeadlineExceeded)
		f.puts("a")
		f.next(w, "a", kv.OpPut)
	}},
	{name: "close ends who waits", run: func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		byContext, err := f.Watch(ctx, kv.WatchOptions{})
		f.ok(err)
		for _, test := range []struct {
			w    kv.Watcher
			stop func()
		}{{f.watch(kv.WatchOptions{}), nil}, {byContext, cancel}} {
			done := make(chan error, 1)
			go func() {
				_, err := test.w.Next(f.ctx)
				done <- err
			}()
			time.Sleep(10 * time.Millisecond) // so that it may wait by now
			if test.stop == nil {
				f.ok(test.w.Close())
			} else {
				test.stop()
			}
			f.is(<-done, kv.ErrClosed)
			_, err := test.w.Next(f.ctx)
			f.is(err, kv.ErrClosed)
			f.ok(test.w.Close())
		}
	}},
	{name: "the latest value is never left out", run: func(f *fixture) {
		const writers, each = 4, 200
		w := f.watch(kv.WatchOptions{})
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for n := range each {
					if _, err := f.Put(f.ctx, fmt.Sprint("k", i), []byte(fmt.Sprint(n))); err != nil {
						f.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if f.Failed() {
			return
		}
		f.puts("end")
		latest, last := map[string]string{}, uint64(0)
		for {
			e, err := w.Next(f.ctx)
			f.ok(err)
			if e.Revision <= last {
				f.Fatalf("revision %d after %d", e.Revision, last)
			}
			last = e.Revision
			if e.Key == "end" {
				break
			}
			latest[e.Key] = string(e.Value)
		}
		for i := range writers {
			if got := latest[fmt.Sprint("k", i)]; got != fmt.Sprint(each-1) {
				f.Errorf("the latest of k%d is %s", i, got)
			}
		}
	}},
}

// until reads changes up to one of a key.
func (f *fixture) until(w kv.Watcher, key string) {
	f.Helper()
	for {
		e, err := w.Next(f.ctx)
		f.ok(err)
		if e.Key == key {
			return
		}
	}
}

var adds = []test{
	{name: "a counter begins at zero", run: func(f *fixture) {
		for _, step := range []struct{ delta, want int64 }{{5, 5}, {-7, -2}, {0, -2}, {1 << 62, 1<<62 - 2}} {
			got, err := f.Add(f.ctx, "n", step.delta)
			f.ok(err)
			if got != step.want {
				f.Errorf("add %d: got %d, want %d", step.delta, got, step.want)
			}
		}
		f.holds("n", fmt.Sprint(1<<62-2))
		f.delete("n")
		if got, err := f.Add(f.ctx, "n", 1); got != 1 || err != nil {
			f.Errorf("after a delete: %d, %v", got, err)
		}
	}},
	{name: "what is no number stays as it is", run: func(f *fixture) {
		for _, value := range []string{"", "x", "1.5", "9223372036854775808", strings.Repeat("1", 100)} {
			f.put("n", value)
			_, err := f.Add(f.ctx, "n", 1)
			f.is(err, kv.ErrNotNumber)
			f.holds("n", value)
		}
		for _, test := range []struct {
			value string
			delta int64
		}{{"9223372036854775807", 1}, {"-9223372036854775808", -1}, {"-1", -1 << 63}} {
			f.put("n", test.value)
			_, err := f.Add(f.ctx, "n", test.delta)
			f.is(err, kv.ErrNotNumber)
			f.holds("n", test.value)
		}
	}},
	{name: "many add to one number", run: func(f *fixture) {
		const adders, each = 32, 20
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[int64]bool{}
		for range adders {
			wg.Go(func() {
				for range each {
					n, err := f.Add(f.ctx, "n", 1)
					mu.Lock()
					if err != nil || seen[n] {
						f.Errorf("added to %d, twice: %v, %v", n, seen[n], err)
					}
					seen[n] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		f.holds("n", fmt.Sprint(adders*each))
	}},
	{name: "many modify one value", run: func(f *fixture) {
		const writers, each = 8, 10
		numbers := kv.Of[int](f.Bucket)
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if _, err := numbers.Modify(f.ctx, "n", func(n *int) error { *n++; return nil }); err != nil {
						f.Error(err)
					}
				}
			})
		}
		wg.Wait()
		f.holds("n", fmt.Sprint(writers*each))
	}},
}

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
		first, err := kv.TryLock(f.ctx, f.Bucket, "l", time.Second)
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
