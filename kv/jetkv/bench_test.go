package jetkv

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// calls runs do b.N times from callers goroutines, and reports the median.
func calls(b *testing.B, callers int, do func(ctx context.Context, i int) error) {
	b.Helper()
	ctx := context.Background()
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				begin := time.Now()
				if err := do(ctx, i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkAgainstNATS compares Get and Put with those of nats.go, on buckets of a
// hundred keys of 100 bytes on one server.
func BenchmarkAgainstNATS(b *testing.B) {
	js := server(b)
	ours := create(b, js, Config{})
	theirs, err := js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "theirs"})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 100)
	key := func(i int) string { return fmt.Sprint("key.", i%100) }
	for _, callers := range []int{1, 64} {
		for _, test := range []struct {
			name string
			do   func(ctx context.Context, i int) error
		}{
			{"Put/jetkv", func(ctx context.Context, i int) error { _, err := ours.Put(ctx, key(i), value); return err }},
			{"Put/nats", func(ctx context.Context, i int) error { _, err := theirs.Put(ctx, key(i), value); return err }},
			{"Get/jetkv", func(ctx context.Context, i int) error { _, err := ours.Get(ctx, key(i)); return err }},
			{"Get/nats", func(ctx context.Context, i int) error { _, err := theirs.Get(ctx, key(i)); return err }},
		} {
			for i := range 100 { // so that no Get is of nothing
				ours.Put(context.Background(), key(i), value)
				theirs.Put(context.Background(), key(i), value)
			}
			b.Run(fmt.Sprintf("%s/%d callers", test.name, callers), func(b *testing.B) { calls(b, callers, test.do) })
		}
	}
}

func BenchmarkWrites(b *testing.B) {
	js := server(b)
	bucket := create(b, js, Config{})
	value := make([]byte, 100)
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("Commit of 2/%d callers", callers), func(b *testing.B) {
			calls(b, callers, func(ctx context.Context, i int) error {
				_, err := bucket.Commit(ctx, kv.Put(fmt.Sprint("a.", i), value), kv.Put(fmt.Sprint("b.", i), value))
				return err
			})
		})
		b.Run(fmt.Sprintf("Put with TTL/%d callers", callers), func(b *testing.B) {
			calls(b, callers, func(ctx context.Context, i int) error {
				_, err := bucket.Put(ctx, fmt.Sprint("t.", i%100), value, kv.TTL(time.Minute))
				return err
			})
		})
		b.Run(fmt.Sprintf("Add to one/%d callers", callers), func(b *testing.B) {
			calls(b, callers, func(ctx context.Context, _ int) error {
				_, err := bucket.Add(ctx, "n", 1)
				return err
			})
		})
	}
}

// BenchmarkManyKeys lists, counts and watches among 100,000 keys, of which 100 are under a prefix.
func BenchmarkManyKeys(b *testing.B) {
	js := server(b)
	bucket := create(b, js, Config{})
	ctx := context.Background()
	const n = 100_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprintf("%sgroup.%d.key.%d", bucket.prefix, i/100, i), make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	memory := float64(heap()-before) / n
	run := func(name string, do func(context.Context, int) error) {
		b.Run(name, func(b *testing.B) {
			calls(b, 1, do)
			b.ReportMetric(memory, "heap-B/key")
		})
	}
	list := func(q kv.Query, want int) func(context.Context, int) error {
		return func(context.Context, int) error {
			page, err := bucket.List(ctx, q)
			if err == nil && len(page.Entries) != want {
				return fmt.Errorf("%d of %d", len(page.Entries), want)
			}
			return err
		}
	}
	run("List 100 under a prefix", list(kv.Query{Filter: kv.Prefix("group.500.")}, 100))
	run("List 100 under a prefix with values", list(kv.Query{Filter: kv.Prefix("group.500."), Values: true}, 100))
	run("List the first 100 of all", list(kv.Query{Limit: 100}, 100))
	run("List all by pages of 1000", func(context.Context, int) error {
		got := 0
		for _, err := range kv.All(ctx, bucket, kv.Query{}) {
			if err != nil {
				return err
			}
			got++
		}
		if got != n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
	run("Count under a prefix", func(context.Context, int) error { _, err := bucket.Count(ctx, kv.Prefix("group.500.")); return err })
	run("Count all", func(context.Context, int) error { _, err := bucket.Count(ctx, kv.Filter{}); return err })
}
