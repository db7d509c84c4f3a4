package functions_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
)

func TestAtomicallyPublishesAllOrNothing(t *testing.T) {
	var host functest.Host
	broken := errors.New("broken")
	handle := func(ctx context.Context, e functions.Event) error {
		return functions.Atomically(ctx, func(ctx context.Context) error {
			for _, subject := range []string{"a", "b"} {
				if err := functions.Publish(ctx, subject, e.Data, functions.ID("of "+subject)); err != nil {
					return err
				}
				if len(host.Published()) > 0 {
					t.Error("published before the end")
				}
			}
			if string(e.Data) == "bad" {
				return broken
			}
			return nil
		})
	}
	err := host.Send(t.Context(), handle, functions.Event{Subject: "in", Data: []byte("bad")})
	if err == nil || !strings.Contains(err.Error(), "broken") || len(host.Published()) != 0 {
		t.Errorf("%v, and %d messages", err, len(host.Published()))
	}
	if err := host.Send(t.Context(), handle, functions.Event{Subject: "in", Data: []byte("good"), Attempt: 2}); err != nil {
		t.Fatal(err)
	}
	list := host.Published()
	if len(list) != 2 || list[0].Subject != "a" || list[1].Subject != "b" || string(list[1].Data) != "good" || list[1].ID != "of b" {
		t.Errorf("%+v", list)
	}
}

func TestAtomicallyRefuses(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	if err := functions.Atomically(t.Context(), nothing); !errors.Is(err, functions.ErrNoHost) {
		t.Errorf("without a host: %v", err)
	}
	var host functest.Host
	err := host.Send(t.Context(), func(ctx context.Context, e functions.Event) error {
		err := functions.Atomically(ctx, func(ctx context.Context) error { return functions.Atomically(ctx, nothing) })
		if !errors.Is(err, functions.ErrBadRequest) {
			t.Errorf("within another one: %v", err)
		}
		return nil
	}, functions.Event{})
	if err != nil {
		t.Error(err)
	}
	var late context.Context
	err = host.Send(t.Context(), func(ctx context.Context, e functions.Event) error {
		functions.Atomically(ctx, func(ctx context.Context) error { late = ctx; return nil })
		if err := functions.Publish(late, "a", "too late"); !errors.Is(err, functions.ErrBadRequest) {
			t.Errorf("after its end: %v", err)
		}
		return nil
	}, functions.Event{})
	if err != nil || len(host.Published()) != 0 {
		t.Errorf("after its end: %v, %d messages", err, len(host.Published()))
	}
}
