package functions

import (
	"encoding"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// binding merges parameters (form, query, wildcards) into values of one type.
type binding struct {
	fields map[string][]int // lower-case dotted name → index path; nil for a map
}

// newBinding returns nil for types that take no parameters.
func newBinding(t reflect.Type) *binding {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		b := &binding{fields: make(map[string][]int)}
		b.collect(t, "", nil, nil)
		return b
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return &binding{}
	case t.Kind() == reflect.Interface && t.NumMethod() == 0:
		return &binding{}
	}
	return nil
}

// maxNesting bounds how deep dotted names reach, and maxFields how many names
// there are.
const (
	maxNesting = 6
	maxFields  = 10_000
)

// collect adds the fields of t, whose index paths begin with path. Types that
// hold themselves end at the second time, or their names would multiply. inside
// is the types that lie around t.
func (b *binding) collect(t reflect.Type, prefix string, path []int, inside []reflect.Type) {
	if len(path) >= maxNesting || slices.Contains(inside, t) {
		return
	}
	inside = append(inside[:len(inside):len(inside)], t)
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := jsonName(f)
		if !ok || len(b.fields) >= maxFields {
			continue
		}
		here := append(path[:len(path):len(path)], i)
		ft := f.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		nested := ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(textUnmarshalerType)
		if f.Anonymous && name == "" && nested {
			if f.IsExported() || f.Type.Kind() != reflect.Pointer {
				b.collect(ft, prefix, here, inside)
			}
			continue
		}
		if !f.IsExported() {
			continue // embedded, but no struct to look into
		}
		if name == "" {
			name = f.Name
		}
		key := strings.ToLower(prefix + name)
		if other, ok := b.fields[key]; !ok || len(here) < len(other) { // embedded ones give way, as in Go
			b.fields[key] = here
		}
		if nested {
			b.collect(ft, prefix+name+".", here, inside)
		}
	}
}

// jsonName returns the name that the tag of f gives it for encoding/json, "" for
// none; ok is false for a field that encoding/json does not see.
func jsonName(f reflect.StructField) (name string, ok bool) {
	tag := f.Tag.Get("json")
	name, _, _ = strings.Cut(tag, ",")
	return name, tag != "-" && (f.IsExported() || f.Anonymous)
}

var textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()

// merge sets what the form, the query and the wildcards of h name, the later
// ones winning.
func (b *binding) merge(v reflect.Value, h wire.Header, form []byte) error {
	query, hasQuery := h.Lookup(wire.KeyQuery)
	if err := b.mergeEncoded(v, "form field", string(form)); err != nil {
		return err
	}
	if hasQuery {
		if err := b.mergeEncoded(v, "query parameter", query); err != nil {
			return err
		}
	}
	for key, value := range h.All() {
		if key != wire.KeyValue {
			continue
		}
		name, value, _ := strings.Cut(value, "=")
		if err := b.set(v, "path value", name, []string{value}); err != nil {
			return err
		}
	}
	return nil
}

func (b *binding) mergeEncoded(v reflect.Value, source, encoded string) error {
	if encoded == "" {
		return nil
	}
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return Errorf(BadRequest, "%s: %v", source, err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := b.set(v, source, name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

// set sets one parameter. Names that the type does not have are not an error,
// just as unknown fields of a JSON body are none.
func (b *binding) set(v reflect.Value, source, name string, values []string) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	var err error
	if b.fields == nil {
		err = setMapEntry(v, name, values)
	} else if path, ok := b.fields[strings.ToLower(name)]; ok {
		err = setValue(fieldAt(v, path), values)
	}
	if err != nil {
		return Errorf(BadRequest, "%s %q: %v", source, name, err)
	}
	return nil
}

// fieldAt returns the field at path and makes the pointers on the way.
func fieldAt(v reflect.Value, path []int) reflect.Value {
	for _, i := range path {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func setMapEntry(v reflect.Value, name string, values []string) error {
	if v.Kind() == reflect.Interface {
		m, ok := v.Interface().(map[string]any)
		if !ok {
			if !v.IsNil() {
				return nil // the body was something else than an object
			}
			m = make(map[string]any)
			v.Set(reflect.ValueOf(m))
		}
		m[name] = values[len(values)-1]
		return nil
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	elem := reflect.New(v.Type().Elem()).Elem()
	if err := setValue(elem, values); err != nil {
		return err
	}
	v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), elem)
	return nil
}

// setValue converts text to the type of v.
func setValue(v reflect.Value, values []string) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if v.CanAddr() {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			return u.UnmarshalText([]byte(values[len(values)-1]))
		}
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8 {
		s := reflect.MakeSlice(v.Type(), len(values), len(values))
		for i, value := range values {
			if err := setValue(s.Index(i), []string{value}); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	return setScalar(v, values[len(values)-1])
}

func setScalar(v reflect.Value, text string) error {
	bad := func(want string) error { return fmt.Errorf("%q is not %s", text, want) }
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil && text != "" && text != "on" {
			return bad("true or false")
		}
		v.SetBool(on || err != nil) // "?verbose" and a ticked checkbox are true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			if d, err := time.ParseDuration(text); err == nil {
				v.SetInt(int64(d))
				return nil
			}
		}
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return bad("a whole number that fits " + v.Type().String())
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return bad("a positive whole number that fits " + v.Type().String())
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return bad("a number")
		}
		v.SetFloat(n)
	case reflect.Slice: // of bytes, in base64 as encoding/json has them
		b, err := base64Decode(text)
		if err != nil {
			return bad("base64")
		}
		v.SetBytes(b)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(text))
		}
	default:
		return fmt.Errorf("a %s cannot come from a parameter", v.Type())
	}
	return nil
}
