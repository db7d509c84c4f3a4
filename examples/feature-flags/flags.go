// Package flags shows people the new checkout or the old one, as its configuration
// says at the moment.
//
//	curl localhost:8080/feature-flags?user=ada
//	fnhost config set checkout.percent 50 --function feature-flags
package flags

import (
	"context"
	"hash/fnv"
	"log/slog"
	"slices"

	"github.com/fnhost/fnhost/functions"
)

// Visitor is who asks.
type Visitor struct {
	User string `json:"user"`
}

// Page is what a visitor sees.
type Page struct {
	Checkout string `json:"checkout"` // "old" or "new"
	Banner   string `json:"banner,omitempty"`
}

// checkout is who sees the new one.
type checkout struct {
	Enabled bool
	Percent uint32
	Users   []string
}

func init() {
	functions.OnConfig(func(_, now *functions.Settings) {
		slog.Info("the flags have changed", "revision", now.Revision(), "checkout", now.String("checkout.enabled", "false"))
	})
}

// Handle returns the page for a visitor.
func Handle(ctx context.Context, v Visitor) (Page, error) {
	config, err := functions.Config(ctx)
	if err != nil {
		return Page{}, err
	}
	var c checkout
	if err := config.Decode("checkout", &c); err != nil {
		return Page{}, err
	}
	page := Page{Checkout: "old", Banner: config.String("banner", "")}
	if c.Enabled && (slices.Contains(c.Users, v.User) || share(v.User) < c.Percent) {
		page.Checkout = "new"
	}
	return page, nil
}

// share is a number below 100, always the same for one user.
func share(user string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(user))
	return h.Sum32() % 100
}
