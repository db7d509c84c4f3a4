package kvtest

import (
	"time"

	"github.com/fnhost/fnhost/kv"
)

// slack is a TTL of what a test still has to do something with; machines can be slow.
const slack = 4 * time.Second

var ttls = []test{
	{name: "a key expires", run: func(f *fixture) {
		before := time.Now()
		f.put("a", "1", kv.TTL(slack))
		f.put("b", "1")
		e := f.get("a")
		if left := e.Expires.Sub(e.Created); left != slack {
			f.Errorf("it expires %v after it was written", left)
		}
		f.gone("a")
		if after := time.Since(before); after < slack {
			f.Errorf("it was gone after %v", after)
		}
		f.holds("b", "1")
		f.put("a", "2", kv.IfAbsent())
		f.holds("a", "2")
	}},
	{name: "an update has its own ttl", run: func(f *fixture) {
		first := f.put("a", "1", kv.TTL(slack))
		f.put("a", "2", kv.TTL(time.Hour), kv.IfRevision(first))
		f.put("b", "1", kv.TTL(slack))
		f.put("b", "2") // stays
		f.put("c", "1")
		f.put("c", "2", kv.TTL(time.Second))
		f.put("d", "1", kv.TTL(slack+time.Second))
		f.gone("d")
		f.gone("c")
		f.holds("a", "2")
		f.holds("b", "2")
	}},
	{name: "touch", run: func(f *fixture) {
		first := f.put("a", "1", kv.TTL(slack))
		f.put("b", "1", kv.TTL(slack))
		f.put("c", "1")
		f.put("d", "1", kv.TTL(slack+time.Second))
		second, err := f.Touch(f.ctx, "a", time.Hour)
		f.ok(err)
		if e := f.get("a"); second <= first || e.Revision != second || e.Expires.Sub(e.Created) != time.Hour {
			f.Errorf("got %+v, touched at %d after %d", e, second, first)
		}
		_, err = f.Touch(f.ctx, "b", 0)
		f.ok(err)
		_, err = f.Touch(f.ctx, "c", time.Second)
		f.ok(err)
		f.gone("c")
		f.gone("d")
		f.holds("a", "1")
		f.holds("b", "1")
	}},
	{name: "no older value comes back", history: 5, run: func(f *fixture) {
		f.put("a", "old")
		f.put("a", "older")
		f.put("a", "new", kv.TTL(time.Second))
		f.put("b", "old")
		_, err := f.Commit(f.ctx, kv.Put("b", []byte("new"), kv.TTL(time.Second)), kv.Put("c", nil))
		f.ok(err)
		f.put("d", "1", kv.TTL(3*time.Second))
		f.gone("a")
		f.gone("b")
		f.gone("d")
		f.absent("a")
		f.absent("b")
	}},
	{name: "a fraction of a second is an error", run: func(f *fixture) {
		f.put("there", "1")
		for _, d := range []time.Duration{1, time.Millisecond, 999 * time.Millisecond, 1500 * time.Millisecond, -time.Second, time.Minute + 1} {
			_, err := f.Put(f.ctx, "a", nil, kv.TTL(d))
			f.is(err, kv.ErrTTL)
			_, err = f.Touch(f.ctx, "there", d)
			f.is(err, kv.ErrTTL)
			_, err = f.Add(f.ctx, "a", 1, kv.TTL(d))
			f.is(err, kv.ErrTTL)
			_, err = f.Commit(f.ctx, kv.Put("b", nil), kv.Put("a", nil, kv.TTL(d)))
			f.is(err, kv.ErrTTL)
			_, err = kv.TryLock(f.ctx, f.Bucket, "a", d)
			f.is(err, kv.ErrTTL)
		}
		f.absent("a")
		f.absent("b")
		if e := f.get("there"); !e.Expires.IsZero() {
			f.Errorf("it expires at %v", e.Expires)
		}
	}},
	{name: "expiry is seen as expiry", run: func(f *fixture) {
		w := f.watch(kv.WatchOptions{})
		first := f.put("a", "1", kv.TTL(time.Second))
		f.next(w, "a", kv.OpPut)
		e := f.next(w, "a", kv.OpExpire)
		if e.Revision <= first || len(e.Value) > 0 {
			f.Errorf("got %+v after revision %d", e, first)
		}
		f.put("b", "1")
		f.next(w, "b", kv.OpPut) // and nothing between
		f.delete("b")
		f.next(w, "b", kv.OpDelete)
	}},
	{name: "what has expired is in no list", run: func(f *fixture) {
		f.put("a", "1", kv.TTL(time.Second))
		f.put("b", "1")
		f.gone("a")
		if got := f.keys(kv.Query{}); got != "b" {
			f.Errorf("got %q", got)
		}
		if n, err := f.Count(f.ctx, kv.Filter{}); n != 1 || err != nil {
			f.Errorf("there are %d, %v", n, err)
		}
	}},
}
