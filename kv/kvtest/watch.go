package kvtest

import (
	"context"
	"fmt"
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
