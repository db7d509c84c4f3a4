package kvtest

import (
	"fmt"
	"strings"
	"sync"

	"github.com/fnhost/fnhost/kv"
)

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
