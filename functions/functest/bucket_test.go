package functest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
	"github.com/fnhost/fnhost/kv"
)

func TestHandlersHaveBuckets(t *testing.T) {
	var host functest.Host
	visit := func(ctx context.Context, page string) (int64, error) {
		return functions.KV(ctx, "visits").Add(ctx, page, 1)
	}
	if _, err := host.Bucket("visits").Put(t.Context(), "home", []byte("41")); err != nil {
		t.Fatal(err)
	}
	var n int64
	if err := host.Invoke(t.Context(), visit, "home", &n); err != nil || n != 42 {
		t.Errorf("%d %v", n, err)
	}
	if e, err := host.Bucket("visits").Get(t.Context(), "home"); err != nil || string(e.Value) != "42" {
		t.Errorf("%+v %v", e, err)
	}
	var failed error
	host.Invoke(t.Context(), func(ctx context.Context) { _, failed = functions.KV(ctx, "no.name").Get(ctx, "a") }, nil, nil)
	if !errors.Is(failed, kv.ErrInvalidBucket) {
		t.Errorf("a bucket that is none: %v", failed)
	}
}

func TestStateChangesAtomically(t *testing.T) {
	for _, test := range []struct {
		name string
		fn   func(ctx context.Context, b kv.Bucket) error
		want error
		n    string // what the key n holds in the end
	}{
		{"all", func(ctx context.Context, b kv.Bucket) error {
			if _, err := b.Add(ctx, "n", 2); err != nil {
				return err
			}
			_, err := b.Put(ctx, "other", nil, kv.IfAbsent())
			return err
		}, nil, "3"},
		{"a touch", func(ctx context.Context, b kv.Bucket) error { _, err := b.Touch(ctx, "n", time.Minute); return err }, nil, "1"},
		{"a delete", func(ctx context.Context, b kv.Bucket) error { return b.Delete(ctx, "n") }, nil, ""},
		{"a commit", func(ctx context.Context, b kv.Bucket) error {
			_, err := b.Commit(ctx, kv.Put("n", []byte("9")), kv.Delete("other"))
			return err
		}, nil, "9"},
		{"an error in the end", func(ctx context.Context, b kv.Bucket) error {
			b.Put(ctx, "n", []byte("7"))
			return errFailed
		}, errFailed, "1"},
		{"a condition that does not hold", func(ctx context.Context, b kv.Bucket) error {
			b.Put(ctx, "other", []byte("7"))
			_, err := b.Put(ctx, "n", nil, kv.IfAbsent())
			return err
		}, kv.ErrExists, "1"},
		{"a number that is none", func(ctx context.Context, b kv.Bucket) error { _, err := b.Add(ctx, "text", 1); return err }, kv.ErrNotNumber, "1"},
		{"a key that is none", func(ctx context.Context, b kv.Bucket) error { _, err := b.Put(ctx, "a..b", nil); return err }, kv.ErrInvalidKey, "1"},
		{"a key twice", func(ctx context.Context, b kv.Bucket) error {
			b.Add(ctx, "n", 1)
			_, err := b.Add(ctx, "n", 1)
			return err
		}, kv.ErrInvalidKey, "1"},
		{"two buckets", func(ctx context.Context, b kv.Bucket) error {
			b.Add(ctx, "n", 1)
			_, err := functions.KV(ctx, "another").Add(ctx, "n", 1)
			return err
		}, functions.ErrBadRequest, "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var host functest.Host
			b := host.Bucket("state")
			b.Put(t.Context(), "n", []byte("1"))
			b.Put(t.Context(), "text", []byte("x"))
			var got error
			host.Invoke(t.Context(), func(ctx context.Context) {
				got = functions.Atomically(ctx, func(ctx context.Context) error {
					if err := functions.Publish(ctx, "changed", nil); err != nil {
						return err
					}
					return test.fn(ctx, functions.KV(ctx, "state"))
				})
			}, nil, nil)
			if !errors.Is(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			e, err := b.Get(t.Context(), "n")
			if errors.Is(err, kv.ErrNotFound) != (test.n == "") || string(e.Value) != test.n {
				t.Errorf("n is %q %v, want %q", e.Value, err, test.n)
			}
			if published := len(host.Published()); (published == 1) != (test.want == nil) {
				t.Errorf("%d published", published)
			}
		})
	}
}

func TestWhatAConditionRefusesIsRunAgain(t *testing.T) {
	var host functest.Host
	b := host.Bucket("state")
	b.Put(t.Context(), "n", []byte("1"))
	runs := 0
	err := host.Invoke(t.Context(), func(ctx context.Context) error {
		return functions.Atomically(ctx, func(ctx context.Context) error {
			state := functions.KV(ctx, "state")
			e, err := state.Get(ctx, "n")
			if err != nil {
				return err
			}
			if runs++; runs < 3 {
				b.Put(ctx, "n", append(e.Value, 'x')) // somebody else
			}
			_, err = state.Put(ctx, "n", append(e.Value, '!'), kv.IfRevision(e.Revision))
			return err
		})
	}, nil, nil)
	if e, _ := b.Get(t.Context(), "n"); err != nil || runs != 3 || string(e.Value) != "1xx!" {
		t.Errorf("%v, %d runs, n is %q", err, runs, e.Value)
	}
}

var errFailed = errors.New("failed")
