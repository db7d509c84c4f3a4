package jetkv

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// What a bucket costs by its size takes minutes, and so runs only with -keys, as
// go test ./kv/jetkv -run - -bench Size -benchtime 2000x -keys 1000000
var sizeKeys = flag.Int("keys", 0, "keys of the benchmarks of size, which are left out without")

// resident returns the memory of the process, and of that what its heap holds.
func resident(b *testing.B) (rss, heap int64) {
	b.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(status))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize()), int64(m.HeapAlloc)
}

// onDisk returns the bytes of the files below dir.
func onDisk(b *testing.B, dir string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // the server removes files meanwhile
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// fill writes n keys, each a group of 100 under a prefix of its own.
func fill(b *testing.B, js jetstream.JetStream, bucket *Bucket, n int) {
	b.Helper()
	value := make([]byte, 100)
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprintf("%sgroup.%d.key.%d", bucket.prefix, i/100, i), value); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	<-js.PublishAsyncComplete()
}

// BenchmarkSize compares a bucket of 1,000 keys with one of many.
func BenchmarkSize(b *testing.B) {
	if *sizeKeys == 0 {
		b.Skip("without -keys")
	}
	for _, n := range []int{1000, *sizeKeys} {
		js, dir := serverIn(b)
		rss, heap := resident(b)
		bucket := create(b, js, Config{})
		fill(b, js, bucket, n)
		rss2, heap2 := resident(b)
		disk := onDisk(b, dir)
		run := func(name string, do func(ctx context.Context, i int) error) {
			b.Run(fmt.Sprintf("%s/%d keys", name, n), func(b *testing.B) {
				calls(b, 1, do)
				b.ReportMetric(float64(heap2-heap)/float64(n), "heap-B/key")
				b.ReportMetric(float64(rss2-rss)/(1<<20), "rss-MiB")
				b.ReportMetric(float64(disk)/float64(n), "disk-B/key")
			})
		}
		groups := n / 100
		run("Get", func(ctx context.Context, i int) error {
			at := i * 7919 % n
			_, err := bucket.Get(ctx, fmt.Sprintf("group.%d.key.%d", at/100, at))
			return err
		})
		run("Put", func(ctx context.Context, i int) error {
			at := i * 7919 % n
			_, err := bucket.Put(ctx, fmt.Sprintf("group.%d.key.%d", at/100, at), []byte("new"))
			return err
		})
		run("List 100 under a prefix", func(ctx context.Context, i int) error {
			page, err := bucket.List(ctx, kv.Query{Filter: kv.Prefix(fmt.Sprintf("group.%d.", i*31%groups))})
			if err == nil && len(page.Entries) != 100 {
				err = fmt.Errorf("%d of 100", len(page.Entries))
			}
			return err
		})
	}
}

// BenchmarkExpiry writes 1,000 keys that expire, and tells how late a watcher sees it.
func BenchmarkExpiry(b *testing.B) {
	js := server(b)
	bucket := create(b, js, Config{})
	ctx := context.Background()
	const n = 1000
	for range b.N {
		w, err := bucket.Watch(ctx, kv.WatchOptions{KeysOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		ends := make(map[string]time.Time, n)
		var late []time.Duration
		go func() {
			for i := range n {
				if _, err := bucket.Put(ctx, fmt.Sprint("k", i), nil, kv.TTL(2*time.Second)); err != nil {
					b.Error(err)
				}
			}
		}()
		for len(late) < n {
			e, err := w.Next(ctx)
			if err != nil {
				b.Fatal(err)
			}
			if e.Op == kv.OpPut {
				ends[e.Key] = e.Expires
			} else if e.Op == kv.OpExpire {
				late = append(late, time.Since(ends[e.Key]))
			}
		}
		w.Close()
		slices.Sort(late)
		for name, at := range map[string]int{"p50-ms": n / 2, "p99-ms": n * 99 / 100, "max-ms": n - 1, "min-ms": 0} {
			b.ReportMetric(float64(late[at].Milliseconds()), name)
		}
	}
}

// BenchmarkSpaceAfterExpiry tells what is on the disk before and after keys have expired,
// and when their markers have gone, too.
func BenchmarkSpaceAfterExpiry(b *testing.B) {
	if *sizeKeys == 0 {
		b.Skip("without -keys")
	}
	js, dir := serverIn(b)
	ctx := context.Background()
	const n = 20_000
	for range b.N {
		bucket := create(b, js, Config{TTL: 10 * time.Second, MaxKeys: 10 * n}) // markers go after a second
		before := onDisk(b, dir)
		for i := range n {
			if _, err := js.PublishAsync(fmt.Sprintf("%sk.%d", bucket.prefix, i), make([]byte, 10<<10)); err != nil {
				b.Fatal(err)
			}
			if i%1000 == 999 {
				<-js.PublishAsyncComplete()
			}
		}
		full := onDisk(b, dir)
		begin := time.Now()
		wait := func(what string, cond func() bool) {
			for !cond() {
				if time.Since(begin) > 5*time.Minute {
					b.Fatal(what, " not in time")
				}
				time.Sleep(100 * time.Millisecond)
			}
			b.Logf("%s after %v: %d MiB on disk", what, time.Since(begin).Round(100*time.Millisecond), (onDisk(b, dir)-before)>>20)
		}
		wait("expired", func() bool { k, err := bucket.Count(ctx, kv.Filter{}); return err == nil && k == 0 })
		wait("without markers", func() bool { s, err := bucket.Stats(ctx); return err == nil && s.Keys == 0 })
		b.ReportMetric(float64(full-before)/(1<<20), "full-MiB")
		b.ReportMetric(float64(onDisk(b, dir)-before)/(1<<20), "left-MiB")
		time.Sleep(15 * time.Second)
		b.ReportMetric(float64(onDisk(b, dir)-before)/(1<<20), "later-MiB")
	}
}
