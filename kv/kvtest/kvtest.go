// Package kvtest holds what every implementation of package kv promises, as tests.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// Open returns an empty bucket that keeps a number of values of each key, has no TTL of
// its own, and takes values of 512 KiB. What it needs to be closed it leaves to t.Cleanup.
type Open func(t *testing.T, history int) kv.Bucket

// Patience is how long a test waits for what must happen. It is long since only a
// test that fails waits for all of it.
const Patience = 30 * time.Second

// Run runs the suite. Its tests run in parallel, each in a bucket of its own. Some wait
// for TTLs of a second or two.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name  string
		tests []test
	}{
		{"write", writes}, {"ttl", ttls}, {"list", lists}, {"watch", watches}, {"commit", commits}, {"add", adds}, {"lock", locks},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, test := range part.tests {
				t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
					defer cancel()
					test.run(&fixture{T: t, Bucket: open(t, max(test.history, 1)), ctx: ctx})
				})
			}
		})
	}
}

type test struct {
	name    string
	run     func(f *fixture)
	history int
}

// fixture is a bucket, with what most tests do to it.
type fixture struct {
	*testing.T
	kv.Bucket
	ctx context.Context
}

func (f *fixture) Name() string { return f.T.Name() }

func (f *fixture) put(key, value string, options ...kv.Option) uint64 {
	f.Helper()
	revision, err := f.Put(f.ctx, key, []byte(value), options...)
	f.ok(err)
	return revision
}

func (f *fixture) delete(key string, options ...kv.Option) {
	f.Helper()
	f.ok(f.Delete(f.ctx, key, options...))
}

func (f *fixture) get(key string) kv.Entry {
	f.Helper()
	e, err := f.Get(f.ctx, key)
	f.ok(err)
	return e
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// is wants an error to be a sentinel.
func (f *fixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

// conflicts wants a conflict of a key that stands at current.
func (f *fixture) conflicts(err error, key string, wanted, current uint64) {
	f.Helper()
	var c *kv.ConflictError
	if !errors.As(err, &c) || *c != (kv.ConflictError{Key: key, Wanted: wanted, Current: current}) {
		f.Fatalf("got error %v, want a conflict of %s at %d, wanted %d", err, key, current, wanted)
	}
	f.is(err, kv.ErrConflict)
	if errors.Is(err, kv.ErrExists) != (wanted == 0) {
		f.Fatalf("%v: it is ErrExists: %v", err, wanted != 0)
	}
}

func (f *fixture) holds(key, value string) {
	f.Helper()
	if e := f.get(key); string(e.Value) != value {
		f.Fatalf("%s holds %.40q, want %.40q", key, e.Value, value)
	}
}

func (f *fixture) absent(key string) {
	f.Helper()
	_, err := f.Get(f.ctx, key)
	f.is(err, kv.ErrNotFound)
}

// gone waits until a key has expired.
func (f *fixture) gone(key string) {
	f.Helper()
	f.await(key+" expires", func() bool {
		_, err := f.Get(f.ctx, key)
		return errors.Is(err, kv.ErrNotFound)
	})
}

func (f *fixture) await(what string, cond func() bool) {
	f.Helper()
	for deadline := time.Now().Add(Patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("%s: not in time", what)
		}
	}
}

// keys returns a list's keys in one string.
func (f *fixture) keys(q kv.Query) string {
	f.Helper()
	var keys []string
	for e, err := range kv.All(f.ctx, f.Bucket, q) {
		f.ok(err)
		keys = append(keys, e.Key)
	}
	return strings.Join(keys, " ")
}

var writes = []test{
	{name: "get returns what was put", run: func(f *fixture) {
		before := time.Now().Add(-time.Minute)
		revision := f.put("a.b", "1")
		e := f.get("a.b")
		if e.Key != "a.b" || string(e.Value) != "1" || e.Revision != revision || e.Op != kv.OpPut || !e.Expires.IsZero() || e.Created.Before(before) {
			f.Errorf("got %+v, put at %d", e, revision)
		}
		e.Value[0] = 'x'
		f.holds("a.b", "1")
	}},
	{name: "an empty value is a value", run: func(f *fixture) {
		f.put("a", "")
		f.holds("a", "")
	}},
	{name: "revisions grow over all keys", run: func(f *fixture) {
		last := uint64(0)
		for i := range 20 {
			revision := f.put(fmt.Sprint("k", i%3), "v")
			if revision <= last {
				f.Fatalf("revision %d after %d", revision, last)
			}
			last = revision
		}
	}},
	{name: "what is not there is not found", run: func(f *fixture) {
		f.absent("a")
		_, err := f.History(f.ctx, "a")
		f.is(err, kv.ErrNotFound)
		_, err = f.Touch(f.ctx, "a", time.Minute)
		f.is(err, kv.ErrNotFound)
		f.delete("a")
	}},
	{name: "create only what is not there", run: func(f *fixture) {
		first := f.put("a", "1", kv.IfAbsent())
		_, err := f.Put(f.ctx, "a", []byte("2"), kv.IfAbsent())
		f.conflicts(err, "a", 0, first)
		f.delete("a")
		second := f.put("a", "3", kv.IfAbsent())
		if second <= first {
			f.Errorf("revision %d after %d", second, first)
		}
		f.holds("a", "3")
	}},
	{name: "update only what is as expected", run: func(f *fixture) {
		first := f.put("a", "1")
		second := f.put("a", "2", kv.IfRevision(first))
		_, err := f.Put(f.ctx, "a", []byte("3"), kv.IfRevision(first))
		f.conflicts(err, "a", first, second)
		f.holds("a", "2")
		_, err = f.Put(f.ctx, "b", []byte("3"), kv.IfRevision(first))
		f.conflicts(err, "b", first, 0)
		f.delete("a")
		_, err = f.Put(f.ctx, "a", []byte("3"), kv.IfRevision(second))
		f.conflicts(err, "a", second, 0)
	}},
	{name: "delete only what is as expected", run: func(f *fixture) {
		first := f.put("a", "1")
		second := f.put("a", "2")
		f.conflicts(f.Delete(f.ctx, "a", kv.IfRevision(first)), "a", first, second)
		f.holds("a", "2")
		f.delete("a", kv.IfRevision(second))
		f.absent("a")
		f.conflicts(f.Delete(f.ctx, "a", kv.IfRevision(second)), "a", second, 0)
		f.delete("a")
	}},
	{name: "history is the latest values, with deletes", history: 3, run: func(f *fixture) {
		for i := range 4 {
			f.put("a", fmt.Sprint(i))
		}
		f.put("ab", "other")
		f.delete("a")
		list, err := f.History(f.ctx, "a")
		f.ok(err)
		var got []string
		for _, e := range list {
			got = append(got, e.Op.String()+string(e.Value))
		}
		if want := []string{"put2", "put3", "delete"}; !slices.Equal(got, want) {
			f.Errorf("got %v, want %v", got, want)
		}
		if !slices.IsSortedFunc(list, func(a, b kv.Entry) int { return int(a.Revision) - int(b.Revision) }) {
			f.Errorf("not in order: %+v", list)
		}
	}},
	{name: "purge forgets history", history: 3, run: func(f *fixture) {
		f.put("a", "1")
		f.put("a", "2")
		f.delete("a", kv.Purge())
		f.absent("a")
		if list, err := f.History(f.ctx, "a"); err == nil {
			if len(list) != 1 || list[0].Op != kv.OpDelete {
				f.Errorf("history is %+v", list)
			}
		}
		f.put("a", "3", kv.IfAbsent())
	}},
	{name: "bad keys are refused everywhere", run: func(f *fixture) {
		for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", "a.>", "ä", "a\n", "a$", strings.Repeat("k", kv.MaxKey+1)} {
			_, err := f.Get(f.ctx, key)
			f.is(err, kv.ErrInvalidKey)
			_, err = f.Put(f.ctx, key, nil)
			f.is(err, kv.ErrInvalidKey)
			f.is(f.Delete(f.ctx, key), kv.ErrInvalidKey)
			_, err = f.Touch(f.ctx, key, 0)
			f.is(err, kv.ErrInvalidKey)
			_, err = f.Add(f.ctx, key, 1)
			f.is(err, kv.ErrInvalidKey)
			_, err = f.History(f.ctx, key)
			f.is(err, kv.ErrInvalidKey)
			_, err = f.Commit(f.ctx, kv.Put("good", nil), kv.Put(key, nil))
			f.is(err, kv.ErrInvalidKey)
		}
		f.absent("good")
	}},
	{name: "all that may be in a key", run: func(f *fixture) {
		for _, key := range []string{"a", "-/_=.azAZ09", strings.Repeat("k", kv.MaxKey)} {
			f.put(key, key)
			f.holds(key, key)
		}
	}},
	{name: "large values, and too large ones", run: func(f *fixture) {
		large := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
		_, err := f.Put(f.ctx, "a", large)
		f.ok(err)
		if e := f.get("a"); !bytes.Equal(e.Value, large) {
			f.Errorf("got %d bytes, want %d", len(e.Value), len(large))
		}
		s, err := f.Stats(f.ctx)
		f.ok(err)
		_, err = f.Put(f.ctx, "a", make([]byte, s.MaxValue))
		f.ok(err)
		_, err = f.Put(f.ctx, "b", make([]byte, s.MaxValue+1))
		f.is(err, kv.ErrTooLarge)
		_, err = f.Commit(f.ctx, kv.Put("c", nil), kv.Put("b", make([]byte, s.MaxValue+1)))
		f.is(err, kv.ErrTooLarge)
		f.absent("b")
		f.absent("c")
	}},
	{name: "stats tell what is there", run: func(f *fixture) {
		for i := range 5 {
			f.put(fmt.Sprint("k", i), strings.Repeat("v", 1000))
		}
		s, err := f.Stats(f.ctx)
		f.ok(err)
		if s.Keys != 5 || s.Bytes < 5000 || s.History != 1 || s.TTL != 0 || s.MaxValue < 512<<10 {
			f.Errorf("got %+v", s)
		}
	}},
	{name: "typed values", run: func(f *fixture) {
		type user struct{ Name string }
		users := kv.Of[user](f.Bucket)
		revision, err := users.Put(f.ctx, "u", user{"Ada"})
		f.ok(err)
		got, at, err := users.Get(f.ctx, "u")
		f.ok(err)
		if got.Name != "Ada" || at != revision {
			f.Errorf("got %+v at %d, want Ada at %d", got, at, revision)
		}
		_, err = users.Modify(f.ctx, "v", func(u *user) error { u.Name += "x"; return nil })
		f.ok(err)
		got, err = users.Modify(f.ctx, "v", func(u *user) error { u.Name += "y"; return nil })
		f.ok(err)
		if got.Name != "xy" {
			f.Errorf("got %+v", got)
		}
		f.put("bad", "{")
		if _, _, err := users.Get(f.ctx, "bad"); err == nil {
			f.Error("a value that is no JSON was taken")
		}
	}},
	{name: "an ended context is an error", run: func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err := f.Get(ctx, "a")
		f.is(err, context.Canceled)
		_, err = f.Put(ctx, "a", nil)
		f.is(err, context.Canceled)
		_, err = f.Watch(ctx, kv.WatchOptions{})
		f.is(err, context.Canceled)
	}},
}
