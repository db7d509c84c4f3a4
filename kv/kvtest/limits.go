package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// RunMaxKeys runs the tests of buckets that have a limit of keys; open makes an empty one.
func RunMaxKeys(t *testing.T, open func(t *testing.T, keys int64) kv.Bucket) {
	for _, test := range maxKeys {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
			defer cancel()
			test.run(&fixture{T: t, Bucket: open(t, 5), ctx: ctx})
		})
	}
}

var maxKeys = []test{
	{name: "a full bucket takes no new key and all others", run: func(f *fixture) {
		f.puts("a b c d e")
		s, err := f.Stats(f.ctx)
		f.ok(err)
		if s.MaxKeys != 5 || s.Keys != 5 {
			f.Errorf("got %+v", s)
		}
		_, err = f.Put(f.ctx, "f", nil)
		f.is(err, kv.ErrFull)
		_, err = f.Add(f.ctx, "f", 1)
		f.is(err, kv.ErrFull)
		_, err = f.Commit(f.ctx, kv.Put("a", []byte("x")), kv.Put("f", nil))
		f.is(err, kv.ErrFull)
		f.delete("f")
		f.absent("f")
		a := f.put("a", strings.Repeat("larger", 100))
		f.put("a", "1", kv.IfRevision(a), kv.TTL(time.Hour))
		_, err = f.Add(f.ctx, "a", 1)
		f.ok(err)
		_, err = f.Touch(f.ctx, "b", time.Hour)
		f.ok(err)
		if got := f.keys(kv.Query{}); got != "a b c d e" {
			f.Errorf("there are %q", got)
		}
	}},
	{name: "what was deleted or has expired makes room", run: func(f *fixture) {
		f.puts("a b c d")
		f.put("e", "1", kv.TTL(time.Second))
		w := f.watch(kv.WatchOptions{})
		f.delete("a")
		f.next(w, "a", kv.OpDelete)
		f.next(w, "e", kv.OpExpire)
		for _, key := range []string{"f", "g"} {
			f.await("there is room for "+key, func() bool {
				_, err := f.Put(f.ctx, key, nil)
				if err != nil {
					f.is(err, kv.ErrFull)
				}
				return err == nil
			})
		}
		_, err := f.Put(f.ctx, "h", nil)
		f.is(err, kv.ErrFull)
	}},
	{name: "many who write do not exceed it", run: func(f *fixture) {
		var stored atomic.Int64
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				_, err := f.Put(f.ctx, fmt.Sprint("k", i), nil, kv.IfAbsent())
				if err == nil {
					stored.Add(1)
				} else if !errors.Is(err, kv.ErrFull) {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		if n, err := f.Count(f.ctx, kv.Filter{}); n != 5 || stored.Load() != 5 || err != nil {
			f.Errorf("there are %d, stored %d, %v", n, stored.Load(), err)
		}
	}},
}
