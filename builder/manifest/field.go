package manifest

import (
	"strings"

	"github.com/fnhost/fnhost/builder/nearest"
)

// value reads one kind of value and describes it to editors. Both are in one
// place, so that what Parse takes and what Schema promises cannot part.
type value[V any] struct {
	// read sets *into, or reports why it cannot.
	read func(r *reader, n node, into *V)
	// schema describes the value when def is what it is without the key.
	schema func(def V) schema
}

// field is one key of a mapping that is read into a T.
type field[T any] struct {
	name     string
	doc      string
	required bool
	read     func(r *reader, n node, into *T)
	schema   func(def *T) schema
}

// key returns the field that keeps a value of the given kind in *at(t).
func key[T, V any](name string, kind value[V], at func(t *T) *V, doc string) field[T] {
	return field[T]{
		name:   name,
		doc:    doc,
		read:   func(r *reader, n node, into *T) { kind.read(r, n, at(into)) },
		schema: func(def *T) schema { return kind.schema(*at(def)) },
	}
}

func required[T any](f field[T]) field[T] {
	f.required = true
	return f
}

// keys is a mapping with known keys: its table.
type keys[T any] struct {
	fields []field[T]
	// init sets the defaults of an item of a list. May be nil: those are zero, or
	// set by Default.
	init func(t *T)
	// check reports what is wrong between several keys. It runs when each for
	// itself is right. May be nil.
	check func(r *reader, n node, t *T)
}

func (k keys[T]) read(r *reader, n node, into *T) {
	before, seen := len(r.errs), make(map[string]bool)
	if k.init != nil {
		k.init(into)
	}
	r.mapping(n, func(name string, v node) {
		seen[name] = true
		f, ok := k.field(name)
		switch {
		case !ok:
			r.fail(v.key, v.path, k.hint(name), "unknown key %.80q", name)
		case !r.empty(v, "remove the key for the default"):
			f.read(r, v, into)
		}
	})
	if pairs(n.Node) == nil && len(r.errs) > before {
		return // It is no mapping, so that keys are missing is no news.
	}
	for _, f := range k.fields {
		if f.required && !seen[f.name] {
			r.bad(n, "", "needs the key %q", f.name)
		}
	}
	if k.check != nil && len(r.errs) == before {
		k.check(r, n, into)
	}
}

func (k keys[T]) field(name string) (field[T], bool) {
	for _, f := range k.fields {
		if f.name == name {
			return f, true
		}
	}
	return field[T]{}, false
}

// hint returns the key that an unknown one was meant to be, or all there are.
func (k keys[T]) hint(unknown string) string {
	names := make([]string, len(k.fields))
	for i, f := range k.fields {
		names[i] = f.name
	}
	if near, ok := nearest.Name(unknown, names); ok {
		return `did you mean "` + near + `"?`
	}
	return "the keys here are " + strings.Join(names, ", ")
}

// mapping is the value that a table reads.
func mapping[T any](k keys[T]) value[T] {
	return value[T]{read: k.read, schema: func(def T) schema {
		if k.init != nil {
			k.init(&def)
		}
		return k.schema(&def)
	}}
}

// optional is a value whose absence means something else than its zero: it stays nil.
func optional[V any](kind value[V]) value[*V] {
	return value[*V]{
		read: func(r *reader, n node, into **V) {
			*into = new(V)
			kind.read(r, n, *into)
		},
		schema: func(*V) schema {
			var zero V
			return kind.schema(zero)
		},
	}
}

// item is one entry of a list that was read without errors.
type item[V any] struct {
	node  node
	value V
}
