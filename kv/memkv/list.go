package memkv

import (
	"context"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/kv"
)

const pageBytes = 4 << 20 // of values in a page

// List returns a page of keys.
func (b *Bucket) List(ctx context.Context, query kv.Query) (kv.Page, error) {
	if err := query.Validate(); err != nil {
		return kv.Page{}, err
	}
	if err := b.enter(ctx); err != nil {
		return kv.Page{}, err
	}
	defer b.mu.Unlock()
	limit := query.Limit
	if limit == 0 {
		limit = 1000
	}
	var page kv.Page
	bytes := 0
	for m := range b.live(query.Filter, query.After, query.Descending) {
		if len(page.Entries) == limit || bytes >= pageBytes {
			page.Next = page.Entries[len(page.Entries)-1].Key
			break
		}
		if !query.Values {
			page.Entries = append(page.Entries, kv.Entry{Key: m.Key})
			continue
		}
		bytes += len(m.Value)
		page.Entries = append(page.Entries, m.entry(true))
	}
	return page, nil
}

// Count returns how many keys there are.
func (b *Bucket) Count(ctx context.Context, filter kv.Filter) (n int, err error) {
	if err := filter.Validate(); err != nil {
		return 0, err
	}
	if err := b.enter(ctx); err != nil {
		return 0, err
	}
	defer b.mu.Unlock()
	for range b.live(filter, "", false) {
		n++
	}
	return n, nil
}

// live goes through the values that a filter chooses, in the order of their keys or against it.
func (b *Bucket) live(f kv.Filter, after string, descending bool) func(yield func(*message) bool) {
	return func(yield func(*message) bool) {
		keys := b.order
		if at, _ := slices.BinarySearch(keys, f.Prefix); f.Prefix != "" {
			keys = keys[at:]
			end, _ := slices.BinarySearchFunc(keys, f.Prefix, func(key, prefix string) int {
				if strings.HasPrefix(key, prefix) {
					return -1
				}
				return 1
			})
			keys = keys[:end]
		}
		if after != "" {
			at, found := slices.BinarySearch(keys, after)
			switch {
			case descending:
				keys = keys[:at]
			case found:
				keys = keys[at+1:]
			default:
				keys = keys[at:]
			}
		}
		for i := range keys {
			if descending {
				i = len(keys) - 1 - i
			}
			if m := b.latest(keys[i]); m.Op == kv.OpPut && f.Match(m.Key) && !yield(m) {
				return
			}
		}
	}
}

// History returns what the bucket has kept of a key.
func (b *Bucket) History(ctx context.Context, key string) ([]kv.Entry, error) {
	if err := kv.ValidateKey(key); err != nil {
		return nil, err
	}
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	var list []kv.Entry
	for _, m := range b.keys[key] {
		list = append(list, m.entry(true))
	}
	if len(list) == 0 {
		return nil, b.notFound(key)
	}
	return list, nil
}
