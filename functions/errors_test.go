package functions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// refusing is a host that answers every question with an error.
type refusing struct {
	functions.Runtime
	err  error
	feed functions.Feed
}

func (r *refusing) Do(context.Context, *wire.Request) (*wire.Response, error) { return nil, r.err }
func (r *refusing) Feed() *functions.Feed                                     { return &r.feed }

// Errors of what a function asks its host for are its own trouble when it returns them.
func TestErrorsOfTheHostAreTheFunctions(t *testing.T) {
	asks := map[string]func(ctx context.Context) error{
		"secret":  func(ctx context.Context) error { _, err := functions.Secret(ctx, "mail"); return err },
		"config":  func(ctx context.Context) error { _, err := functions.Config(ctx); return err },
		"publish": func(ctx context.Context) error { return functions.Publish(ctx, "a", 1) },
		"atomically": func(ctx context.Context) error {
			return functions.Atomically(ctx, func(ctx context.Context) error { return functions.Publish(ctx, "a", 1) })
		},
		"kv": func(ctx context.Context) error { _, err := functions.KV(ctx, "b").Get(ctx, "a"); return err },
		"watch": func(ctx context.Context) error {
			_, err := functions.KV(ctx, "b").Watch(ctx, kv.WatchOptions{})
			return err
		},
		"blobs": func(ctx context.Context) error { _, _, err := functions.Blobs(ctx, "b").Get(ctx, "a"); return err },
		"blobs put": func(ctx context.Context) error {
			_, err := functions.Blobs(ctx, "b").Put(ctx, "a", strings.NewReader(""))
			return err
		},
	}
	for code, want := range map[functions.Code]functions.Code{
		functions.NotFound: functions.Internal, functions.Forbidden: functions.Internal, functions.TooLarge: functions.Internal,
		functions.Unavailable: functions.Unavailable, wire.Overloaded: functions.Unavailable, wire.Timeout: wire.Timeout,
	} {
		for name, ask := range asks {
			host := &refusing{err: functions.Errorf(code, "the host says so")}
			err := ask(functions.NewContext(t.Context(), "f", nil, host))
			for _, err := range []error{err, fmt.Errorf("outer: %w", err)} {
				var e *functions.Error
				if got := wire.AsError(err); got == nil || got.Code != want || got.Message != err.Error() {
					t.Errorf("%s, %s: %+v, want %s", name, code, got, want)
				}
				if !errors.Is(err, host.err) || !errors.As(err, &e) || e.Code != code {
					t.Errorf("%s, %s: within the function it is %#v", name, code, err)
				}
			}
			host.feed.Close(t.Context())
		}
	}
	host := &refusing{err: functions.Errorf(functions.Forbidden, "no")}
	ctx := functions.NewContext(t.Context(), "f", nil, host)
	if e := wire.AsError(functions.Call(ctx, "g", nil, nil)); e.Code != functions.Forbidden {
		t.Errorf("of a call: %+v", e)
	}
	if e := wire.AsError(fmt.Errorf("%w: %w", functions.ErrNotFound, asks["secret"](ctx))); e.Code != functions.NotFound {
		t.Errorf("with a code of its own before: %+v", e)
	}
	if e := wire.AsError(functions.Permanent(asks["secret"](ctx))); e.Code != functions.Internal || e.Retry >= 0 {
		t.Errorf("permanent: %+v", e)
	}
}

// Errors of package kv that a handler does not look at mean what they say.
func TestErrorsOfBucketsHaveCodes(t *testing.T) {
	var host functest.Host
	if _, err := host.Bucket("b").Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		do   func(ctx context.Context, b kv.Bucket) error
		is   error
		code functions.Code
	}{
		"not found":   {func(ctx context.Context, b kv.Bucket) error { _, err := b.Get(ctx, "none"); return err }, kv.ErrNotFound, functions.NotFound},
		"invalid key": {func(ctx context.Context, b kv.Bucket) error { _, err := b.Get(ctx, "a b"); return err }, kv.ErrInvalidKey, functions.BadRequest},
		"conflict": {func(ctx context.Context, b kv.Bucket) error {
			_, err := b.Put(ctx, "a", nil, kv.IfRevision(99))
			return err
		}, kv.ErrConflict, functions.Conflict},
		"exists": {func(ctx context.Context, b kv.Bucket) error {
			_, err := b.Put(ctx, "a", nil, kv.IfAbsent())
			return err
		}, kv.ErrExists, functions.Conflict},
		"not number": {func(ctx context.Context, b kv.Bucket) error { _, err := b.Add(ctx, "a", 1); return err }, kv.ErrNotNumber, functions.Internal},
		"typed":      {func(ctx context.Context, b kv.Bucket) error { _, _, err := kv.Of[int](b).Get(ctx, "none"); return err }, kv.ErrNotFound, functions.NotFound},
		"atomically": {func(ctx context.Context, _ kv.Bucket) error {
			return functions.Atomically(ctx, func(ctx context.Context) error {
				_, err := functions.KV(ctx, "b").Put(ctx, "a", nil, kv.IfAbsent())
				return err
			})
		}, kv.ErrExists, functions.Conflict},
		"blob": {func(ctx context.Context, _ kv.Bucket) error {
			_, err := functions.Blobs(ctx, "s").Stat(ctx, "none")
			return err
		}, kv.ErrNotFound, functions.NotFound},
		"blob name": {func(ctx context.Context, _ kv.Bucket) error {
			_, err := functions.Blobs(ctx, "s").Put(ctx, "", nil)
			return err
		}, kv.ErrInvalidKey, functions.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			err := host.Invoke(t.Context(), func(ctx context.Context) error {
				err := test.do(ctx, functions.KV(ctx, "b"))
				var conflict *kv.ConflictError
				if !errors.Is(err, test.is) || test.code == functions.Conflict && (!errors.As(err, &conflict) || conflict.Key != "a") {
					t.Errorf("within the function it is %#v", err)
				}
				return fmt.Errorf("outer: %w", err)
			}, nil, nil)
			if e := wire.AsError(err); e == nil || e.Code != test.code {
				t.Errorf("%+v, want %s", e, test.code)
			}
		})
	}
}
