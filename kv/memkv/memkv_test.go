package memkv

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/kvtest"
)

func open(t *testing.T, cfg Config) *Bucket {
	t.Helper()
	cfg.Bucket = "b"
	b, err := New(cfg)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBucketsKeepTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T, history int) kv.Bucket {
		return open(t, Config{History: history})
	})
}

func TestBucketsKeepTheirNumberOfKeys(t *testing.T) {
	kvtest.RunMaxKeys(t, func(t *testing.T, keys int64) kv.Bucket {
		return open(t, Config{MaxKeys: keys})
	})
}

func TestBlobsKeepTheContract(t *testing.T) {
	kvtest.RunBlobs(t, func(t *testing.T) kv.Blobs {
		s, err := NewBlobs("b")
		must(t, err)
		return s
	})
}

func TestConfigsThatAreNone(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want error
	}{
		{Config{}, kv.ErrInvalidBucket},
		{Config{Bucket: "a.b"}, kv.ErrInvalidBucket},
		{Config{Bucket: "b", TTL: time.Millisecond}, kv.ErrTTL},
		{Config{Bucket: "b", TTL: -time.Second}, kv.ErrTTL},
		{Config{Bucket: "b", History: -1}, nil},
		{Config{Bucket: "b", History: kv.MaxHistory + 1}, nil},
		{Config{Bucket: "b", MaxValue: -1}, nil},
		{Config{Bucket: "b", MaxBytes: -1}, nil},
		{Config{Bucket: "b", MaxKeys: -1}, nil},
		{Config{Bucket: "b", MaxKeys: 10, History: 2}, nil},
	} {
		_, err := New(test.cfg)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: got %v, want %v", test.cfg, err, test.want)
		}
	}
}

// Who sleeps or waits is all that lets time pass: nothing runs beside the callers.
func TestTimesToLiveInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ctx := open(t, Config{TTL: time.Hour, History: 3}), t.Context()
		w, err := b.Watch(ctx, kv.WatchOptions{})
		must(t, err)
		defer w.Close()
		begin := time.Now()
		for _, c := range []kv.Change{
			kv.Put("long", nil, kv.TTL(2*time.Hour)), kv.Put("short", nil, kv.TTL(time.Minute)), kv.Put("buckets", nil), kv.Put("old", nil),
		} {
			_, err := b.Commit(ctx, c)
			must(t, err)
		}
		time.Sleep(time.Minute / 2)
		_, err = b.Put(ctx, "old", []byte("new"))
		must(t, err)
		var got []string
		for len(got) < 4 {
			e, err := w.Next(ctx)
			must(t, err)
			if e.Op == kv.OpExpire {
				got = append(got, fmt.Sprint(e.Key, " ", time.Since(begin), " ", e.Created.Sub(begin)))
			}
		}
		want := "short 1m0s 1m0s, long 1h0m0s 1h0m0s, buckets 1h0m0s 1h0m0s, old 1h0m30s 1h0m30s"
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("expired:\n%s, want\n%s", got, want)
		}
		time.Sleep(b.markers() + time.Second)
		if s, err := b.Stats(ctx); err != nil || s.Keys != 0 || s.Bytes != 0 || len(b.order) != 0 || len(b.due) != 0 {
			t.Errorf("what is left: %+v, %v, %v, %v", s, b.order, b.due, err)
		}
	})
}

func TestFullBucketSaysSoAndCanBeEmptied(t *testing.T) {
	b, ctx := open(t, Config{MaxBytes: 1000}), t.Context()
	for _, key := range []string{"a", "b", "c"} {
		_, err := b.Put(ctx, key, make([]byte, 200))
		must(t, err)
	}
	for _, changes := range [][]kv.Change{{kv.Put("d", make([]byte, 200))}, {kv.Put("a", make([]byte, 500))}, {kv.Delete("e"), kv.Put("d", make([]byte, 140))}} {
		if _, err := b.Commit(ctx, changes...); !errors.Is(err, kv.ErrFull) {
			t.Errorf("got %v, want that it is full", err)
		}
	}
	_, err := b.Commit(ctx, kv.Delete("a"), kv.Put("d", make([]byte, 200)), kv.Put("b", make([]byte, 100)))
	must(t, err)
	must(t, b.Delete(ctx, "b"))
	if n, err := b.Count(ctx, kv.Filter{}); n != 2 || err != nil {
		t.Errorf("there are %d, %v", n, err)
	}
}

// A bucket that is written for long keeps no more than it holds.
func TestLogIsBounded(t *testing.T) {
	b, ctx := open(t, Config{History: 2}), t.Context()
	w, err := b.Watch(ctx, kv.WatchOptions{})
	must(t, err)
	defer w.Close()
	for i := range 10_000 {
		_, err := b.Put(ctx, fmt.Sprint("k", i%10), nil, kv.TTL(time.Hour))
		must(t, err)
	}
	if len(b.log) > 200 || len(b.due) > 20 {
		t.Errorf("a log of %d, %d that will expire, of 10 keys", len(b.log), len(b.due))
	}
	for i := range 10 { // the slow one sees the latest of each
		if e, err := w.Next(ctx); err != nil || e.Revision != uint64(9991+i) {
			t.Errorf("got %+v, %v", e, err)
		}
	}
}
