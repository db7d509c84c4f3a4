// Package counter counts the visits of pages, however many workers and hosts there are:
//
//	curl localhost:8080/counter -d /start
//	curl localhost:8080/counter/top
//	fnhost kv ls visits --values
//
// The counts lie in the bucket visits, and a page that nobody has visited for a month goes.
package counter

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/kv"
)

const month = 30 * 24 * time.Hour

// Page is a page with the number of its visits.
type Page struct {
	Page   string `json:"page"`
	Visits int64  `json:"visits"`
}

// Handle counts a visit of a page.
func Handle(ctx context.Context, page string) (Page, error) {
	if page == "" || len(page) > 150 {
		return Page{}, functions.Errorf(functions.BadRequest, "name a page, in at most 150 bytes")
	}
	visits, err := functions.KV(ctx, "visits").Add(ctx, key(page), 1, kv.TTL(month))
	return Page{page, visits}, err
}

// HandleTop returns the pages that are visited most.
func HandleTop(ctx context.Context) ([]Page, error) {
	pages := []Page{}
	for e, err := range kv.All(ctx, functions.KV(ctx, "visits"), kv.Query{Values: true}) {
		if err != nil {
			return nil, err
		}
		name, _ := base64.RawURLEncoding.DecodeString(e.Key)
		visits, _ := strconv.ParseInt(string(e.Value), 10, 64)
		pages = append(pages, Page{string(name), visits})
	}
	slices.SortFunc(pages, func(a, b Page) int { return int(b.Visits - a.Visits) })
	return pages[:min(len(pages), 10)], nil
}

// key makes a key of a page's name, in which there may be anything.
func key(page string) string { return base64.RawURLEncoding.EncodeToString([]byte(page)) }
