package functest_test

import (
	"context"
	"errors"
	"testing"

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
