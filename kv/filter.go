package kv

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// Filter chooses keys: those for which all that it says holds. The zero value chooses
// all.
//
// In a Glob, * stands for any bytes but dots, ** for any bytes, ? for one that is not
// a dot. It has to fit the whole key: "order.*" has order.7, and neither order nor
// order.7.item; "order.**" has order.7.item too.
//
// What is cheap: a Prefix that ends at a dot, and a Glob's words before the first that
// has a sign in it, and words that are * and nothing else. Buckets find these by an
// index; for the rest they look at each key that is left.
type Filter struct {
	Prefix string
	Suffix string
	Glob   string
}

// Prefix returns the filter of keys that begin so.
func Prefix(p string) Filter { return Filter{Prefix: p} }

// Glob returns the filter of keys that fit a pattern, see [Filter].
func Glob(p string) Filter { return Filter{Glob: p} }

// Key returns the filter of one key.
func Key(key string) Filter { return Filter{Glob: key} }

// Match reports whether the filter chooses a key.
func (f Filter) Match(key string) bool {
	return strings.HasPrefix(key, f.Prefix) && strings.HasSuffix(key, f.Suffix) && (f.Glob == "" || glob(f.Glob, key))
}

// Validate returns ErrInvalidQuery for a filter that no key can fit.
func (f Filter) Validate() error {
	for _, part := range []struct{ name, text, signs string }{{"prefix", f.Prefix, ""}, {"suffix", f.Suffix, ""}, {"glob", f.Glob, "*?"}} {
		if len(part.text) > MaxKey {
			return fmt.Errorf("%w: the %s has %d bytes, a key at most %d", ErrInvalidQuery, part.name, len(part.text), MaxKey)
		}
		if dots(part.name, part.text) {
			return fmt.Errorf("%w: %s %q: no key has dots like that", ErrInvalidQuery, part.name, part.text)
		}
		bad := func(r rune) bool { return !isWord(r) && !strings.ContainsRune("/=."+part.signs, r) }
		if strings.IndexFunc(part.text, bad) >= 0 {
			return fmt.Errorf("%w: %s %q: no key has that in it", ErrInvalidQuery, part.name, part.text)
		}
	}
	return nil
}

// dots is true for dots that no key has: at an end that is the key's, or two beside each other.
func dots(part, text string) bool {
	return strings.Contains(text, "..") || part != "suffix" && strings.HasPrefix(text, ".") || part != "prefix" && strings.HasSuffix(text, ".")
}

// glob reports whether a pattern fits the whole of s. It goes back to the latest star
// only, and to the latest double star if that does not help: it is not exponential.
func glob(p, s string) bool {
	i, j := 0, 0
	star, starAt, deep, deepAt := -1, 0, -1, 0
	for j < len(s) || i < len(p) {
		switch {
		case i+1 < len(p) && p[i] == '*' && p[i+1] == '*':
			deep, deepAt, star = i, j, -1
			i += 2
		case i < len(p) && p[i] == '*':
			star, starAt = i, j
			i++
		case i < len(p) && j < len(s) && (p[i] == s[j] || p[i] == '?' && s[j] != '.'):
			i, j = i+1, j+1
		case star >= 0 && starAt < len(s) && s[starAt] != '.':
			starAt++
			i, j = star+1, starAt
		case deep >= 0 && deepAt < len(s):
			deepAt++
			i, j, star = deep+2, deepAt, -1
		default:
			return false
		}
	}
	return true
}

// Validate returns ErrInvalidQuery for a query that no bucket takes.
func (q Query) Validate() error {
	if q.Limit < 0 || q.Limit > MaxPage {
		return fmt.Errorf("%w: a page of %d, at most %d", ErrInvalidQuery, q.Limit, MaxPage)
	}
	return q.Filter.Validate()
}

// Validate returns ErrInvalidQuery for options that no bucket takes.
func (o WatchOptions) Validate() error {
	if o.Initial && o.From > 0 {
		return fmt.Errorf("%w: a watcher begins with what is there or at a revision, not both", ErrInvalidQuery)
	}
	return o.Filter.Validate()
}

// All goes through all entries of a query, page by page; Limit is the size of these.
// An error ends it.
func All(ctx context.Context, b Bucket, query Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			page, err := b.List(ctx, query)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.After = page.Next
		}
	}
}
