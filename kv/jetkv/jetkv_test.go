package jetkv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(kvtest.Patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOtherClientsSeeTheSame(t *testing.T) {
	for _, history := range []int{1, 5} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			t.Parallel()
			js, ctx := server(t), t.Context()
			b := create(t, js, Config{History: history})
			theirs, err := js.KeyValue(ctx, b.Name())
			must(t, err)
			ours, err := b.Put(ctx, "a", []byte("1"), kv.TTL(time.Hour))
			must(t, err)
			e, err := theirs.Get(ctx, "a")
			must(t, err)
			if string(e.Value()) != "1" || e.Revision() != ours {
				t.Errorf("got %q at %d, put at %d", e.Value(), e.Revision(), ours)
			}
			at, err := theirs.Update(ctx, "a", []byte("2"), ours)
			must(t, err)
			if e, err := b.Get(ctx, "a"); err != nil || string(e.Value) != "2" || e.Revision != at || !e.Expires.IsZero() {
				t.Errorf("got %+v, %v", e, err)
			}
			must(t, b.Delete(ctx, "a"))
			if _, err := theirs.Get(ctx, "a"); !errors.Is(err, jetstream.ErrKeyNotFound) {
				t.Errorf("after our delete: %v", err)
			}
			_, err = theirs.Create(ctx, "a", []byte("3"))
			must(t, err)
			must(t, theirs.Delete(ctx, "a"))
			if _, err := b.Get(ctx, "a"); !errors.Is(err, kv.ErrNotFound) {
				t.Errorf("after their delete: %v", err)
			}
			_, err = b.Commit(ctx, kv.Put("a", []byte("4"), kv.IfAbsent()), kv.Put("b", []byte("4")), kv.Check("c", 0), kv.Check("d", 0), kv.Check("e", 0))
			must(t, err)
			if keys, err := theirs.Keys(ctx); err != nil || strings.Join(keys, " ") != "a b" {
				t.Errorf("they see %v, %v", keys, err)
			}
		})
	}
}

func TestBucketsOfOtherClientsCanBeUsed(t *testing.T) {
	js, ctx := server(t), t.Context()
	theirs, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "plain"})
	must(t, err)
	_, err = theirs.Put(ctx, "a", []byte("1"))
	must(t, err)
	b, err := Open(ctx, js, "plain")
	must(t, err)
	first, err := b.Get(ctx, "a")
	must(t, err)
	if _, err := b.Put(ctx, "a", []byte("2"), kv.TTL(time.Minute)); !errors.Is(err, kv.ErrTTL) {
		t.Errorf("a TTL: %v", err)
	}
	if _, err := b.Commit(ctx, kv.Put("a", nil), kv.Put("b", nil)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a commit of two: %v", err)
	}
	_, err = b.Commit(ctx, kv.Put("b", []byte("1")), kv.Check("a", first.Revision))
	if err != nil {
		t.Errorf("a commit that is one message: %v", err)
	}
	if _, err := b.Add(ctx, "n", 2); err != nil {
		t.Errorf("add: %v", err)
	}
	must(t, b.Delete(ctx, "a"))
	if n, err := b.Count(ctx, kv.Filter{}); n != 2 || err != nil {
		t.Errorf("there are %d, %v", n, err)
	}
	_, err = Create(ctx, js, Config{Bucket: "plain"}) // makes one of ours of it
	must(t, err)
	b, err = Open(ctx, js, "plain")
	must(t, err)
	_, err = b.Commit(ctx, kv.Put("a", nil, kv.TTL(time.Minute)), kv.Put("b", nil))
	must(t, err)
}

// A replica may lag, so a bucket that has some is read at its leader. Here it is one
// whose stream has no direct reads.
func TestReadsOfTheLeader(t *testing.T) {
	js, ctx := server(t), t.Context()
	sc, err := (&Config{Bucket: "b"}).stream()
	must(t, err)
	sc.AllowDirect = false
	_, err = js.CreateStream(ctx, sc)
	must(t, err)
	b, err := Open(ctx, js, "b")
	must(t, err)
	revision, err := b.Put(ctx, "a", []byte("1"), kv.TTL(time.Minute))
	must(t, err)
	if e, err := b.Get(ctx, "a"); err != nil || string(e.Value) != "1" || e.Revision != revision || e.Expires.Sub(e.Created) != time.Minute {
		t.Errorf("got %+v, %v", e, err)
	}
	if page, err := b.List(ctx, kv.Query{Values: true}); err != nil || len(page.Entries) != 1 || string(page.Entries[0].Value) != "1" {
		t.Errorf("got %+v, %v", page, err)
	}
	must(t, b.Delete(ctx, "a"))
	for _, key := range []string{"a", "never"} {
		if _, err := b.Get(ctx, key); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestConfigsThatAreNone(t *testing.T) {
	js := server(t)
	for _, test := range []struct {
		cfg  Config
		want error
	}{
		{Config{Bucket: ""}, kv.ErrInvalidBucket},
		{Config{Bucket: "a.b"}, kv.ErrInvalidBucket},
		{Config{Bucket: strings.Repeat("b", kv.MaxName+1)}, kv.ErrInvalidBucket},
		{Config{Bucket: "b", TTL: time.Millisecond}, kv.ErrTTL},
		{Config{Bucket: "b", TTL: 1500 * time.Millisecond}, kv.ErrTTL},
		{Config{Bucket: "b", TTL: -time.Second}, kv.ErrTTL},
		{Config{Bucket: "b", History: kv.MaxHistory + 1}, nil},
		{Config{Bucket: "b", History: -1}, nil},
		{Config{Bucket: "b", MaxValue: -1}, nil},
		{Config{Bucket: "b", MaxBytes: -1}, nil},
		{Config{Bucket: "b", MaxKeys: -1}, nil},
		{Config{Bucket: "b", MaxKeys: 10, History: 2}, nil},
		{Config{Bucket: "b", MaxKeys: 10, Replicas: 3}, nil},
	} {
		_, err := Create(t.Context(), js, test.cfg)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: got %v, want %v", test.cfg, err, test.want)
		}
	}
}

func TestBucketThatIsNotThere(t *testing.T) {
	js, ctx := server(t), t.Context()
	_, err := Open(ctx, js, "none")
	errs := []error{err, Drop(ctx, js, "none")}
	b := create(t, js, Config{})
	must(t, Drop(ctx, js, b.Name()))
	_, err = b.Get(ctx, "a")
	errs = append(errs, err)
	_, err = b.Put(ctx, "a", nil)
	errs = append(errs, err)
	_, err = b.List(ctx, kv.Query{})
	errs = append(errs, err)
	_, err = b.History(ctx, "a")
	errs = append(errs, err)
	_, err = b.Watch(ctx, kv.WatchOptions{})
	errs = append(errs, err)
	_, err = b.Stats(ctx)
	errs = append(errs, err)
	_, err = b.Commit(ctx, kv.Put("a", nil), kv.Put("b", nil))
	errs = append(errs, err)
	for i, err := range errs {
		if !errors.Is(err, kv.ErrNoBucket) {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_other", Subjects: []string{"other"}})
	must(t, err)
	if _, err := Open(ctx, js, "other"); !errors.Is(err, kv.ErrNoBucket) {
		t.Errorf("a stream that is no bucket: %v", err)
	}
}

func TestFullBucketSaysSoAndCanBeEmptied(t *testing.T) {
	for _, history := range []int{1, 3} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			t.Parallel()
			js, ctx := server(t), t.Context()
			b := create(t, js, Config{MaxBytes: 64 << 10, History: history})
			stored := map[string]uint64{}
			var err error
			for _, size := range []int{1000, 1} { // until not even a small one has a place
				for err = nil; err == nil; {
					key := fmt.Sprint("k", len(stored))
					if stored[key], err = b.Put(ctx, key, make([]byte, size)); err != nil {
						delete(stored, key)
					}
				}
				if !errors.Is(err, kv.ErrFull) {
					t.Fatal(err)
				}
			}
			if _, err := b.Commit(ctx, kv.Put("x", make([]byte, 1000)), kv.Put("y", nil)); !errors.Is(err, kv.ErrFull) {
				t.Errorf("a commit: %v", err)
			}
			var conflict *kv.ConflictError
			if err := b.Delete(ctx, "k0", kv.IfRevision(stored["k1"])); !errors.As(err, &conflict) {
				t.Errorf("delete of another revision: %v", err)
			}
			for key, revision := range stored {
				if e, err := b.Get(ctx, key); err != nil || e.Revision != revision {
					t.Fatalf("%s: %+v, %v, put at %d", key, e, err, revision)
				}
				must(t, b.Delete(ctx, key, kv.IfRevision(revision)))
			}
			if n, err := b.Count(ctx, kv.Filter{}); n != 0 || err != nil {
				t.Errorf("there are %d, %v", n, err)
			}
		})
	}
}

// The server leaves a marker of what has expired, which needs a place itself.
func TestKeysOfAFullBucketExpire(t *testing.T) {
	for _, cfg := range []Config{{MaxBytes: 16 << 10}, {MaxBytes: 16 << 10, TTL: 4 * time.Second}} {
		t.Run(fmt.Sprint("ttl ", cfg.TTL), func(t *testing.T) {
			t.Parallel()
			b, ctx := create(t, server(t), cfg), t.Context()
			var options []kv.Option
			if cfg.TTL == 0 {
				options = append(options, kv.TTL(4*time.Second))
			}
			for _, size := range []int{100, 1, 0} { // until not even the smallest has a place
				var err error
				for n := 0; err == nil; n++ {
					_, err = b.Put(ctx, fmt.Sprint("k", size, ".", n), make([]byte, size), options...)
				}
				if !errors.Is(err, kv.ErrFull) {
					t.Fatal(err)
				}
			}
			await(t, "all expire", func() bool {
				n, err := b.Count(ctx, kv.Filter{})
				must(t, err)
				return n == 0
			})
		})
	}
}

func TestBucketsTTL(t *testing.T) {
	t.Parallel()
	js, ctx := server(t), t.Context()
	b := create(t, js, Config{TTL: 5 * time.Second})
	w, err := b.Watch(ctx, kv.WatchOptions{})
	must(t, err)
	defer w.Close()
	_, err = b.Put(ctx, "a", nil)
	must(t, err)
	_, err = b.Put(ctx, "b", nil, kv.TTL(4*time.Second))
	must(t, err)
	_, err = b.Put(ctx, "c", nil, kv.TTL(time.Hour))
	must(t, err)
	for key, want := range map[string]time.Duration{"a": 5 * time.Second, "b": 4 * time.Second, "c": 5 * time.Second} {
		if e, err := b.Get(ctx, key); err != nil || e.Expires.Sub(e.Created) != want {
			t.Errorf("%s: %+v, %v, want it to expire after %v", key, e, err, want)
		}
	}
	expired := map[string]bool{}
	for len(expired) < 3 {
		e, err := w.Next(ctx)
		must(t, err)
		if e.Op == kv.OpExpire {
			expired[e.Key] = true
		}
	}
}

// What a delete leaves goes by itself: a million sessions that have ended cost nothing.
func TestMarkersHaveAnEnd(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := create(t, js, Config{})
	_, err := b.Put(ctx, "a", nil)
	must(t, err)
	must(t, b.Delete(ctx, "a"))
	s, err := js.Stream(ctx, b.stream)
	must(t, err)
	m, err := s.GetLastMsgForSubject(ctx, b.prefix+"a")
	must(t, err)
	if got := m.Header.Get(jetstream.MsgTTLHeader); got != markerTTL.String() {
		t.Errorf("the marker's TTL is %q", got)
	}
	_, err = b.Commit(ctx, kv.Check("a", 0), kv.Check("b", 0))
	must(t, err)
	await(t, "what a check has left goes", func() bool {
		_, err := s.GetLastMsgForSubject(ctx, checkSubject(b.name))
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
}

func TestWatchersLeaveNoConsumer(t *testing.T) {
	js, ctx := server(t), t.Context()
	b := create(t, js, Config{})
	bounded, cancel := context.WithCancel(ctx)
	for _, o := range []kv.WatchOptions{{}, {Initial: true}, {From: 1}} {
		w, err := b.Watch(ctx, o)
		must(t, err)
		must(t, w.Close())
		_, err = b.Watch(bounded, o)
		must(t, err)
	}
	cancel()
	_, err := b.Count(ctx, kv.Filter{})
	must(t, err)
	await(t, "no consumer is left", func() bool {
		s, err := js.Stream(ctx, b.stream)
		return err == nil && s.CachedInfo().State.Consumers == 0
	})
}

func TestNarrowestSubject(t *testing.T) {
	for _, test := range []struct {
		filter kv.Filter
		want   string
	}{
		{kv.Filter{}, ">"},
		{kv.Prefix("a"), ">"},
		{kv.Prefix("a.b."), "a.b.>"},
		{kv.Prefix("a.b.c"), "a.b.>"},
		{kv.Glob("a.*.c"), "a.*.c"},
		{kv.Glob("a.x*.c"), "a.*.c"},
		{kv.Glob("a.?.c.**"), "a.*.c.>"},
		{kv.Glob("a.b**.c"), "a.>"},
		{kv.Filter{Prefix: "a.", Glob: "**.c"}, "a.>"},
		{kv.Filter{Prefix: "a.b.", Glob: "a.*.c"}, "a.b.>"},
		{kv.Key("a.b"), "a.b"},
	} {
		if got := Subject("b", test.filter); got != "$KV.b."+test.want {
			t.Errorf("%+v: got %s, want %s", test.filter, got, test.want)
		}
	}
}

// Many who commit at once wait for a place; the server takes no more than fifty.
func TestManyCommitsAtOnce(t *testing.T) {
	js := server(t)
	b := create(t, js, Config{})
	other, err := Open(t.Context(), js, b.Name())
	must(t, err)
	errs := make(chan error)
	const n = 80
	for i := range n {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*kvtest.Patience)
			defer cancel()
			_, err := []*Bucket{b, other}[i%2].Commit(ctx, kv.Put(fmt.Sprint("a.", i), nil), kv.Put(fmt.Sprint("b.", i), nil))
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got, err := b.Count(t.Context(), kv.Filter{}); got != 2*n || err != nil {
		t.Errorf("there are %d of %d, %v", got, 2*n, err)
	}
}

func TestACommitOfANameHappensOnce(t *testing.T) {
	b := create(t, server(t), Config{})
	ctx := t.Context()
	add := func(name string) error {
		n, err := b.Add(ctx, "n", 0)
		must(t, err)
		e, err := b.Get(ctx, "n")
		must(t, err)
		return b.CommitOnce(ctx, name, kv.Put("n", fmt.Append(nil, n+1), kv.IfRevision(e.Revision)), kv.Put("other."+name, nil))
	}
	for range 3 {
		for _, name := range []string{"one", "two"} {
			must(t, add(name))
		}
	}
	if n, err := b.Add(ctx, "n", 0); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	err := b.CommitOnce(ctx, "three", kv.Put("n", nil, kv.IfRevision(1)))
	if !errors.Is(err, kv.ErrConflict) {
		t.Errorf("a conflict: %v", err)
	}
	must(t, b.CommitOnce(ctx, "three", kv.Put("n", []byte("7")))) // it has not happened
	if list, err := b.List(ctx, kv.Query{}); err != nil || len(list.Entries) != 3 {
		t.Errorf("names are no keys: %+v %v", list, err)
	}
	must(t, b.ForgetOnce(ctx, "three"))
	must(t, b.CommitOnce(ctx, "three", kv.Put("n", []byte("8"))))
	if e, err := b.Get(ctx, "n"); err != nil || string(e.Value) != "8" {
		t.Errorf("%s %v", e.Value, err)
	}
	for _, name := range []string{"one", "two", "three"} {
		must(t, b.ForgetOnce(ctx, name))
	}
	if s, err := b.Stats(ctx); err != nil || s.Keys != 3 {
		t.Errorf("what is forgotten takes no place: %+v %v", s, err)
	}
}

// Two who do the same under one name, as a host that recovers and one that goes on, both
// find that it has happened, and neither a conflict with the other.
func TestACommitOfANameIsNoConflictWithItself(t *testing.T) {
	t.Parallel()
	b := create(t, server(t), Config{})
	const rounds, same = 40, 4
	for i := range rounds {
		errs := make(chan error, same)
		for range same {
			go func() {
				errs <- b.CommitOnce(t.Context(), fmt.Sprint("name", i), kv.Put("n", nil, kv.IfRevision(0)), kv.Put(fmt.Sprint("other.", i), nil))
			}()
		}
		for range same {
			if err := <-errs; err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		}
		must(t, b.Delete(t.Context(), "n"))
	}
}

// What happened under a name is known for longer than what it wrote.
func TestACommitOfANameHappensOnceInABucketWithATTL(t *testing.T) {
	t.Parallel()
	b := create(t, server(t), Config{TTL: time.Second})
	ctx := t.Context()
	must(t, b.CommitOnce(ctx, "one", kv.Put("a", nil)))
	await(t, "it has expired", func() bool { _, err := b.Get(ctx, "a"); return errors.Is(err, kv.ErrNotFound) })
	_, err := b.Put(ctx, "b", nil) // the server has looked at what is too old since
	must(t, err)
	await(t, "another one has expired", func() bool { _, err := b.Get(ctx, "b"); return errors.Is(err, kv.ErrNotFound) })
	must(t, b.CommitOnce(ctx, "one", kv.Put("a", nil)))
	if _, err := b.Get(ctx, "a"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("it has happened again: %v", err)
	}
	must(t, b.ForgetOnce(ctx, "one"))
	if s, err := b.Stats(ctx); err != nil || s.Keys > 2 { // what has expired of a and b, at most
		t.Errorf("after it was forgotten: %+v, %v", s, err)
	}
}

func TestListOfBuckets(t *testing.T) {
	js, ctx := server(t), t.Context()
	if list, err := List(ctx, js); len(list) != 0 || err != nil {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_other", Subjects: []string{"$KV.other.x"}})
	must(t, err)
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "z"})
	must(t, err)
	a, err := Create(ctx, js, Config{Bucket: "a", Description: "the first", MaxKeys: 10, MaxBytes: 1 << 20, TTL: time.Hour})
	must(t, err)
	_, err = a.Put(ctx, "k", nil)
	must(t, err)
	list, err := List(ctx, js)
	must(t, err)
	if len(list) != 2 || list[0].Name != "a" || list[1].Name != "z" {
		t.Fatalf("got %+v", list)
	}
	one, err := Describe(ctx, js, "a")
	must(t, err)
	if one != list[0] || one.Keys != 1 || one.MaxKeys != 10 || one.MaxBytes != 1<<20 || one.TTL != time.Hour || one.Description != "the first" || one.Created.IsZero() || one.Replicas != 1 {
		t.Errorf("got %+v, in the list %+v", one, list[0])
	}
	for _, name := range []string{"other", "none"} {
		if _, err := Describe(ctx, js, name); !errors.Is(err, kv.ErrNoBucket) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchersOfABucketThatIsRemovedEnd(t *testing.T) {
	js := server(t)
	b := create(t, js, Config{})
	w, err := b.Watch(t.Context(), kv.WatchOptions{Initial: true})
	must(t, err)
	defer w.Close()
	if e, err := w.Next(t.Context()); e.Op != kv.OpReady || err != nil {
		t.Fatalf("%+v %v", e, err)
	}
	must(t, Drop(t.Context(), js, b.Name()))
	_, err = Create(t.Context(), js, Config{Bucket: b.Name()}) // another one
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), kvtest.Patience)
	defer cancel()
	for range 2 {
		if _, err := w.Next(ctx); !errors.Is(err, kv.ErrNoBucket) {
			t.Fatal(err)
		}
	}
}
