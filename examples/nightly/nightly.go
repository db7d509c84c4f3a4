// Package nightly runs when it is time, as its function.yaml says; here that is
// each second, so that one sees it.
package nightly

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/functions"
)

// Handle would tidy up.
func Handle(ctx context.Context) error {
	functions.Log(ctx).Info("tidied up")
	return functions.Publish(ctx, "nightly.done", time.Now().UTC().Format(time.RFC3339))
}
