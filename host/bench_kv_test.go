package host_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host"
)

// stateSource does one thing to a bucket many times, by several goroutines, and says
// how long each took.
const stateSource = `package state

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions"
)

type In struct {
	Op      string
	N, Callers int
}

type Out struct {
	Times []int64 // nanoseconds
	Total int64
}

func Handle(ctx context.Context, in In) (Out, error) {
	b := functions.KV(ctx, "bench")
	value := make([]byte, 100)
	do := map[string]func(key string) error{
		"get": func(key string) error { _, err := b.Get(ctx, key); return err },
		"put": func(key string) error { _, err := b.Put(ctx, key, value); return err },
	}[in.Op]
	out := Out{Times: make([]int64, in.N)}
	var failed error
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range in.Callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := c; i < in.N; i += in.Callers {
				start := time.Now()
				if err := do(fmt.Sprint("k", i%1000)); err != nil {
					failed = err
				}
				out.Times[i] = time.Since(start).Nanoseconds()
			}
		}()
	}
	wg.Wait()
	out.Total = time.Since(begin).Nanoseconds()
	return out, failed
}
`

// BenchmarkKV compares the bucket of a function with nats.go's own KV at the same server:
// one caller, p50, and 64 callers, operations a second.
func BenchmarkKV(b *testing.B) {
	f := start(b, map[string]string{"state/s.go": stateSource, "state/function.yaml": "timeout: 5m\n"}, func(c *host.Config) { c.NATS = "127.0.0.1:0" })
	f.awaitState("state", host.Ready)
	nc, err := nats.Connect(f.Info().NATS)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	ours := func(op string, n, callers int) (time.Duration, float64) {
		in, _ := json.Marshal(map[string]any{"Op": op, "N": n, "Callers": callers})
		reply, err := f.Invoke(b.Context(), "state", in)
		if err != nil {
			b.Fatal(err)
		}
		var out struct {
			Times []int64
			Total int64
		}
		if err := json.Unmarshal(reply, &out); err != nil {
			b.Fatal(err)
		}
		slices.Sort(out.Times)
		return time.Duration(out.Times[len(out.Times)/2]), float64(n) / time.Duration(out.Total).Seconds()
	}
	if _, rate := ours("put", 2000, 1); rate == 0 {
		b.Fatal("no keys")
	}
	theirs := plainKV(b, nc)
	for _, op := range []string{"get", "put"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", op, callers), func(b *testing.B) {
				n := max(b.N, 2000)
				for range 2 { // the second one counts: both are warm
					p50, rate := ours(op, n, callers)
					plain50, plainRate := theirs(op, n, callers)
					b.ReportMetric(float64(p50.Nanoseconds())/1e3, "µs-p50")
					b.ReportMetric(float64(plain50.Nanoseconds())/1e3, "plain-µs-p50")
					b.ReportMetric(rate, "ops/s")
					b.ReportMetric(rate/plainRate, "of-plain")
				}
			})
		}
	}
}

// plainKV does with nats.go, over TCP, what the function does.
func plainKV(b *testing.B, nc *nats.Conn) func(op string, n, callers int) (time.Duration, float64) {
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	bucket, err := js.KeyValue(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 100)
	return func(op string, n, callers int) (time.Duration, float64) {
		times := make([]time.Duration, n)
		var wg sync.WaitGroup
		begin := time.Now()
		for c := range callers {
			wg.Go(func() {
				for i := c; i < n; i += callers {
					start := time.Now()
					var err error
					if op == "get" {
						_, err = bucket.Get(b.Context(), fmt.Sprint("k", i%1000))
					} else {
						_, err = bucket.Put(b.Context(), fmt.Sprint("k", i%1000), value)
					}
					if err != nil {
						b.Error(err)
					}
					times[i] = time.Since(start)
				}
			})
		}
		wg.Wait()
		total := time.Since(begin)
		slices.Sort(times)
		return times[n/2], float64(n) / total.Seconds()
	}
}
