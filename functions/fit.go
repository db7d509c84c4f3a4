package functions

import (
	"fmt"
	"reflect"
	"strings"
)

// misfit is a part of a type that JSON has nothing for.
type misfit struct {
	path string // where it lies, "Lines[].Done", "" for the type itself
	what string // "a channel (chan bool)"
	do   string // what to do instead
}

// misfitOf returns the first part of t that encoding/json can never decode into
// (decode), or never encode; nil if there is none. What an interface holds is
// known when it is there, and a type that encodes itself is believed.
func misfitOf(t reflect.Type, decode bool) *misfit {
	c := &fitCheck{decode: decode, seen: make(map[visit]bool)}
	return c.find(t, "", decode)
}

// text says what is wrong with the type root.
func (m *misfit) text(root reflect.Type) string {
	for root.Kind() == reflect.Pointer && root.Name() == "" {
		root = root.Elem()
	}
	where := root.String()
	if m.path != "" {
		where = m.path + " of " + where
	}
	return fmt.Sprintf("%s is %s: %s", where, m.what, m.do)
}

type fitCheck struct {
	decode bool
	seen   map[visit]bool
}

// visit is a type that was looked at. Methods of its pointer count only where a
// value has an address, as encoding/json has it: what fits without one fits.
type visit struct {
	t         reflect.Type
	addressed bool
}

// maxPointers bounds pointers to pointers: some types are nothing else.
const maxPointers = 64

func (c *fitCheck) find(t reflect.Type, path string, addressed bool) *misfit {
	for n := 0; t.Kind() == reflect.Pointer && !c.encodesItself(t, addressed); n++ {
		if n == maxPointers {
			return &misfit{path, fmt.Sprintf("a pointer to pointers without end (%v)", t), anotherType(path)}
		}
		t, addressed = t.Elem(), true
	}
	v := visit{t, addressed}
	if c.seen[v] || c.seen[visit{t, false}] || c.encodesItself(t, addressed) {
		return nil
	}
	c.seen[v] = true
	switch t.Kind() {
	case reflect.Slice:
		return c.find(t.Elem(), path+"[]", true)
	case reflect.Array:
		return c.find(t.Elem(), path+"[]", addressed)
	case reflect.Map:
		if !c.isKey(t.Key()) {
			return &misfit{path, fmt.Sprintf("a map with keys that are no text (%v)", t),
				"use strings or whole numbers as keys, or a key type with MarshalText and UnmarshalText" + orSkip(path)}
		}
		return c.find(t.Elem(), path+"[]", c.decode)
	case reflect.Struct:
		for _, f := range jsonFields(t) {
			if m := c.find(f.Type, strings.TrimPrefix(path+"."+f.Name, "."), addressed); m != nil {
				return m
			}
		}
		return nil
	}
	if what := c.never(t); what != "" {
		return &misfit{path, fmt.Sprintf("%s (%v)", what, t), anotherType(path)}
	}
	return nil
}

// never says what t is, if JSON has nothing for types of its kind.
func (c *fitCheck) never(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Chan:
		return "a channel"
	case reflect.Func:
		return "a function"
	case reflect.Complex64, reflect.Complex128:
		return "a complex number"
	case reflect.UnsafePointer:
		return "an unsafe pointer"
	case reflect.Interface:
		if c.decode && t.NumMethod() > 0 {
			return "an interface with methods"
		}
	}
	return ""
}

// encodesItself reports whether t has methods that take encoding/json's place.
func (c *fitCheck) encodesItself(t reflect.Type, addressed bool) bool {
	own := []reflect.Type{jsonMarshalerType, textMarshalerType}
	if c.decode {
		own = []reflect.Type{jsonUnmarshalerType, textUnmarshalerType}
		if t.Kind() == reflect.Interface {
			return false // there is nothing in it yet that had methods
		}
	}
	for _, i := range own {
		if t.Implements(i) || addressed && reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// isKey reports whether a map with keys of type t is an object in JSON.
func (c *fitCheck) isKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	if c.decode {
		return reflect.PointerTo(t).Implements(textUnmarshalerType)
	}
	return t.Implements(textMarshalerType)
}

// anotherType says what to do about a part that has no JSON at all.
func anotherType(path string) string { return "use a type that has JSON" + orSkip(path) }

// orSkip adds the other way out, for a field.
func orSkip(path string) string {
	if path == "" || strings.HasPrefix(path, "[") && !strings.Contains(path, ".") {
		return ""
	}
	return `, or leave the field out with the tag json:"-"`
}
