package functions_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/functest"
)

func TestSecret(t *testing.T) {
	host := functest.Host{Secrets: map[string]string{"db/password": "hunter2-hunter2"}}
	handle := func(ctx context.Context, name string) (string, error) { return functions.Secret(ctx, name) }
	var got string
	if err := host.Invoke(t.Context(), handle, "db/password", &got); err != nil || got != "hunter2-hunter2" {
		t.Errorf("the secret is %q, %v", got, err)
	}
	missing := func(ctx context.Context) bool {
		_, err := functions.Secret(ctx, "mail")
		return errors.Is(err, functions.ErrNotFound)
	}
	var is bool
	if err := host.Invoke(t.Context(), missing, nil, &is); err != nil || !is {
		t.Errorf("a secret that there is not is %v, %v", is, err)
	}
	if _, err := functions.Secret(t.Context(), "db/password"); !errors.Is(err, functions.ErrNoHost) {
		t.Errorf("without a host: %v", err)
	}
}
