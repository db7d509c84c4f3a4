package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Errors for errors.Is.
var (
	ErrPath     = errors.New("config: not a path")
	ErrNoPath   = errors.New("config: nothing is set there")
	ErrValue    = errors.New("config: not a value") // that a layer takes
	ErrRevision = errors.New("config: no such revision")
)

const (
	maxPath  = 255 // bytes
	maxDepth = 32  // of objects and lists in each other
)

// split returns the parts of a path. It returns ErrPath.
func split(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	parts := strings.Split(path, ".")
	if slices.Contains(parts, "") || len(path) > maxPath || len(parts) > maxDepth {
		return nil, fmt.Errorf("%w: %.60q: want keys with dots between them, such as limits.rate, at most %d bytes and %d keys", ErrPath, path, maxPath, maxDepth)
	}
	return parts, nil
}

// index returns the item of a list that a part of a path names.
func index(part string, size int) (int, bool) {
	i, err := strconv.Atoi(part)
	return i, err == nil && i >= 0 && i < size && strconv.Itoa(i) == part
}

// Get returns what is at a path. It returns ErrPath, and ErrNoPath if nothing is.
func Get(doc any, path string) (any, error) {
	parts, err := split(path)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		ok := false
		switch v := doc.(type) {
		case map[string]any:
			doc, ok = v[part]
		case []any:
			var i int
			if i, ok = index(part, len(v)); ok {
				doc = v[i]
			}
		}
		if !ok {
			return nil, fmt.Errorf("%w: %q", ErrNoPath, path)
		}
	}
	return doc, nil
}

// Set returns doc with a value at a path. It makes the objects on the way, and takes
// the number behind the last item of a list for a new one. doc stays as it is. It
// returns ErrPath if something on the way is neither an object nor a list, or a list
// has no such item, and for the empty path ErrValue unless the value is an object.
func Set(doc map[string]any, path string, value any) (map[string]any, error) {
	parts, err := split(path)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		whole, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: a layer is an object, not %s", ErrValue, Short(value))
		}
		return whole, nil
	}
	next, err := setIn(doc, parts, 0, value)
	if err != nil {
		return nil, err
	}
	return next.(map[string]any), nil
}

func setIn(in any, parts []string, at int, value any) (any, error) {
	if at == len(parts) {
		return value, nil
	}
	part := parts[at]
	switch v := in.(type) {
	case nil:
		below, err := setIn(nil, parts, at+1, value)
		return map[string]any{part: below}, err
	case map[string]any:
		below, err := setIn(v[part], parts, at+1, value)
		if err != nil {
			return nil, err
		}
		next := maps.Clone(v)
		if next == nil {
			next = make(map[string]any)
		}
		next[part] = below
		return next, nil
	case []any:
		next := append(slices.Clone(v), nil)
		i, ok := index(part, len(next))
		if !ok {
			return nil, fmt.Errorf("%w: %q: %s is a list of %d items, of which %q is none, nor the next one", ErrPath, strings.Join(parts, "."), strings.Join(parts[:at], "."), len(v), part)
		}
		below, err := setIn(next[i], parts, at+1, value)
		if err != nil {
			return nil, err
		}
		next[i] = below
		if i < len(v) {
			next = next[:len(v)]
		}
		return next, nil
	}
	return nil, fmt.Errorf("%w: %q: %s is %s, which has nothing below it: set or remove that first", ErrPath, strings.Join(parts, "."), strings.Join(parts[:at], "."), Short(in))
}

// parent returns the object that has what is at a path, if one has.
func parent(doc map[string]any, parts []string) (map[string]any, bool) {
	if len(parts) == 0 {
		return nil, false
	}
	v, err := Get(doc, strings.Join(parts[:len(parts)-1], "."))
	object, ok := v.(map[string]any)
	return object, ok && err == nil
}

// Remove returns doc without what is at a path, and without objects above it that have become
// empty; the empty path leaves nothing. doc stays as it is. It returns ErrPath, and ErrNoPath if nothing is there.
func Remove(doc map[string]any, path string) (map[string]any, error) {
	parts, err := split(path)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return make(map[string]any), nil
	}
	last := parts[len(parts)-1]
	above := strings.Join(parts[:len(parts)-1], ".")
	in, err := Get(doc, above)
	if err == nil {
		_, err = Get(in, last)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrNoPath, path)
	}
	switch v := in.(type) {
	case map[string]any:
		next := maps.Clone(v)
		delete(next, last)
		if _, inObject := parent(doc, parts[:len(parts)-1]); len(next) == 0 && inObject {
			return Remove(doc, above) // an item of a list stays, since those behind it have their places
		}
		return Set(doc, above, next)
	case []any:
		i, _ := index(last, len(v))
		return Set(doc, above, slices.Delete(slices.Clone(v), i, i+1))
	}
	return nil, fmt.Errorf("%w: %q", ErrNoPath, path)
}

// Merge returns what layers make together, the later ones winning. None of them is
// changed; nil is an empty one.
func Merge(layers ...map[string]any) map[string]any {
	sum := make(map[string]any)
	for _, layer := range layers {
		mergeInto(sum, layer)
	}
	return sum
}

func mergeInto(sum, layer map[string]any) {
	for key, value := range layer {
		object, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(sum, key)
		case isObject:
			below := make(map[string]any)
			if was, ok := sum[key].(map[string]any); ok {
				maps.Copy(below, was)
			}
			mergeInto(below, object)
			sum[key] = below
		default:
			sum[key] = value
		}
	}
}

// Leaf is a value that is no object, or an empty one, at its path.
type Leaf struct {
	Path  string
	Value any
}

// Leaves returns the leaves of a document, sorted by their paths.
func Leaves(doc map[string]any) []Leaf { return leaves(nil, "", doc) }

func leaves(list []Leaf, prefix string, doc map[string]any) []Leaf {
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		path := join(prefix, key)
		if below, ok := doc[key].(map[string]any); ok && len(below) > 0 {
			list = leaves(list, path, below)
			continue
		}
		list = append(list, Leaf{path, doc[key]})
	}
	return list
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// Only returns what of a document patterns allow, in which * is any run of
// characters: a path that one of them matches, and all below it. left is whether
// something was left out.
func Only(doc map[string]any, patterns []string) (allowed map[string]any, left bool) {
	return only(doc, patterns, "")
}

func only(doc map[string]any, patterns []string, prefix string) (map[string]any, bool) {
	allowed, left := make(map[string]any), false
	for key, value := range doc {
		path := join(prefix, key)
		if slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) }) {
			allowed[key] = value
			continue
		}
		object, _ := value.(map[string]any)
		below, _ := only(object, patterns, path)
		if len(below) > 0 {
			allowed[key] = below
		}
		left = left || len(below) < len(object) || len(object) == 0 || !same(below, object)
	}
	return allowed, left
}

// matches reports whether a pattern, in which * is any run of characters, matches
// all of a path.
func matches(pattern, path string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == path
	}
	path, ok := strings.CutPrefix(path, first)
	if !ok {
		return false
	}
	for {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(path, rest)
		}
		i := strings.Index(path, part)
		if i < 0 {
			return false
		}
		path, rest = path[i+len(part):], more
	}
}
