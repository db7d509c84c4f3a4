package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
)

const visitsSource = `package visits

import (
	"context"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/functions"
)

// Handle counts the visits of a page.
func Handle(ctx context.Context, page string) (string, error) {
	bucket, page, ok := strings.Cut(page, "/")
	if !ok {
		bucket, page = "visits", bucket
	}
	n, err := functions.KV(ctx, bucket).Add(ctx, page, 1)
	return strconv.FormatInt(n, 10), err
}
`

const manySource = `package many

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
)

// Handle changes keys at once, each to a value of a million bytes.
func Handle(ctx context.Context, n int) (string, error) {
	b, value := functions.KV(ctx, "many"), make([]byte, 1_000_000)
	var changes []kv.Change
	for i := range n {
		changes = append(changes, kv.Put(fmt.Sprint("k", i), value))
	}
	if _, err := b.Commit(ctx, changes...); !errors.Is(err, kv.ErrTooLarge) {
		return "", fmt.Errorf("a commit of %d: %w", n, err)
	}
	count, err := b.Count(ctx, kv.Filter{})
	return fmt.Sprint(count), err
}
`

// What the host does not read to its end is refused, and not taken for a smaller one.
func TestACommitThatIsTooLargeChangesNothing(t *testing.T) {
	f := start(t, map[string]string{"many/m.go": manySource}, nil)
	f.awaitState("many", "ready")
	if out, err := f.Invoke(t.Context(), "many", []byte("12")); err != nil || string(out) != "0" {
		t.Errorf("there are %q keys, %v", out, err)
	}
}

func TestFunctionsKeepState(t *testing.T) {
	f := start(t, map[string]string{"visits/v.go": visitsSource, "visits/function.yaml": "concurrency: 1\nscale: {min: 2, max: 2}\n"}, nil)
	f.awaitState("visits", "ready")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if _, err := f.Invoke(t.Context(), "visits", []byte("home")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b, err := f.Bucket(t.Context(), "visits")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := b.Get(t.Context(), "home"); err != nil || string(e.Value) != "100" {
		t.Errorf("100 visits of two workers: %q %v", e.Value, err)
	}
}

func TestAFunctionUsesTheBucketsOfItsAccessList(t *testing.T) {
	f := start(t, map[string]string{"visits/v.go": visitsSource, "visits/function.yaml": "access: {buckets: [visits, count-*, secrets]}\n"}, nil)
	f.awaitState("visits", "ready")
	for page, want := range map[string]string{
		"visits/a":  "",
		"count-7/a": "",
		"other/a":   `function "visits" may not use the bucket "other": add it to access.buckets in its function.yaml`,
		"secrets/a": "is the host's own",
	} {
		_, err := f.Invoke(t.Context(), "visits", []byte(page))
		if want == "" && err != nil || want != "" && (!errors.Is(err, &functions.Error{Code: functions.Internal}) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", page, err)
		}
	}
	if _, err := f.Invoke(t.Context(), "visits", []byte("count-7/a..b")); err == nil || !strings.Contains(err.Error(), "two beside each other") {
		t.Errorf("an invalid key: %v", err)
	}
}

func TestABucketThatWasRemovedIsMadeAnew(t *testing.T) {
	f := start(t, nil, nil)
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	err = f.Handle("count", func(ctx context.Context, key string) (int64, error) { return functions.KV(ctx, "c").Add(ctx, key, 1) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for want := 1; want < 3; want++ {
			if out, err := f.Invoke(t.Context(), "count", []byte("a")); err != nil || string(out) != fmt.Sprint(want) {
				t.Fatalf("%s %v, want %d", out, err, want)
			}
		}
		if err := jetkv.Drop(t.Context(), js, "c"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFunctionsMakeNoBucketsWithoutEnd(t *testing.T) {
	f := start(t, map[string]string{"visits/v.go": visitsSource}, nil)
	f.awaitState("visits", "ready")
	if _, err := f.Invoke(t.Context(), "visits", []byte("one/a")); err != nil {
		t.Fatal(err)
	}
	f.SetMaxStreams(1)
	if _, err := f.Invoke(t.Context(), "visits", []byte("two/a")); !errors.Is(err, &functions.Error{Code: functions.Internal}) || !strings.Contains(err.Error(), "fnhost bucket create two") {
		t.Errorf("another bucket: %v", err)
	}
	if _, err := f.Invoke(t.Context(), "visits", []byte("one/a")); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}

func TestInProcessFunctionsWatchBuckets(t *testing.T) {
	f := start(t, nil, nil)
	err := f.Handle("follow", func(ctx context.Context) ([]string, error) {
		b := functions.KV(ctx, "followed")
		w, err := b.Watch(ctx, kv.WatchOptions{})
		if err != nil {
			return nil, err
		}
		defer w.Close()
		var seen []string
		for _, value := range []string{"1", "2"} { // a value that is not read before the next one is may be left out
			if _, err := b.Put(ctx, "a", []byte(value)); err != nil {
				return nil, err
			}
			e, err := w.Next(ctx)
			if err != nil {
				return seen, err
			}
			seen = append(seen, e.Op.String()+" "+string(e.Value))
		}
		return seen, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Invoke(t.Context(), "follow", nil)
	var seen []string
	if json.Unmarshal(out, &seen); err != nil || strings.Join(seen, ",") != "put 1,put 2" {
		t.Errorf("%s %v", out, err)
	}
}

func TestKVOutsideOfAnInvocation(t *testing.T) {
	if _, err := functions.KV(t.Context(), "b").Get(t.Context(), "a"); !errors.Is(err, functions.ErrNoHost) {
		t.Error(err)
	}
}

const uploadSource = `package upload

import (
	"context"
	"io"

	"github.com/fnhost/fnhost/functions"
)

// Handle stores what is sent.
func Handle(ctx context.Context, body io.Reader) (int64, error) {
	b, err := functions.Blobs(ctx, "uploads").Put(ctx, "latest", body)
	return b.Size, err
}

// HandleGet returns it.
func HandleGet(ctx context.Context) (io.Reader, error) {
	_, r, err := functions.Blobs(ctx, "uploads").Get(ctx, "latest")
	return r, err
}
`

func TestFunctionsKeepBlobs(t *testing.T) {
	f := start(t, map[string]string{"upload/u.go": uploadSource, "upload/function.yaml": "body: 64MiB\n"}, nil)
	f.awaitState("upload", "ready")
	sent := strings.Repeat("0123456789abcdef", 1<<20)
	if status, body, _ := f.do("POST", "/upload", sent); status != 200 || body != fmt.Sprint(len(sent)) {
		t.Fatalf("%d %s", status, body)
	}
	if status, body, _ := f.do("GET", "/upload/get", ""); status != 200 || body != sent {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	s, err := f.Blobs(t.Context(), "uploads")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Stat(t.Context(), "latest"); err != nil || b.Size != int64(len(sent)) {
		t.Errorf("%+v %v", b, err)
	}
}

// A function that changes the bucket it watches ends, as one that publishes what it handles does.
func TestFunctionsThatFeedThemselvesByABucketEnd(t *testing.T) {
	f := start(t, map[string]string{"echo/e.go": feedingSource, "echo/function.yaml": "triggers:\n  kv:\n    - {bucket: fed, on: [put], retries: 0}\n"}, nil)
	f.awaitState("echo", "ready")
	b, err := f.Bucket(t.Context(), "fed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "n", []byte("0")); err != nil {
		t.Fatal(err)
	}
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	if n, err := b.Add(t.Context(), "n", 0); n < 20 || n > 40 || err != nil {
		t.Errorf("%d rounds, %v", n, err)
	}
}

// Many events that count in one place do not fail for that.
func TestEventsThatCountInOnePlaceAreNoConflict(t *testing.T) {
	f := start(t, map[string]string{"tally/t.go": tallySource, "tally/function.yaml": "triggers:\n  event:\n    - {subject: tally.in, start: all, retries: 0}\n"}, nil)
	f.awaitState("tally", "ready")
	const events = 200
	for i := range events {
		f.send("tally.in", fmt.Sprint(i))
	}
	b, err := f.Bucket(t.Context(), "tally")
	if err != nil {
		t.Fatal(err)
	}
	f.await("all are counted", func() bool {
		e, _ := b.Get(t.Context(), "n")
		return string(e.Value) == fmt.Sprint(events)
	})
	f.idle()
	if n, err := b.Add(t.Context(), "n", 0); n != events || err != nil || len(f.letters()) > 0 {
		t.Errorf("counted %d of %d, %d dead letters, %v", n, events, len(f.letters()), err)
	}
}

const tallySource = `package tally

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	return functions.Atomically(ctx, func(ctx context.Context) error {
		_, err := functions.KV(ctx, "tally").Add(ctx, "n", 1)
		return err
	})
}
`

const feedingSource = `package echo

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	_, err := functions.KV(ctx, e.Bucket).Add(ctx, e.Entry.Key, 1)
	return err
}
`
