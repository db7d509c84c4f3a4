package functions

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Description is what a host learns of an endpoint when it asks.
type Description struct {
	Name string `json:"name"` // "" for the root
	Kind string `json:"kind"` // "json", "raw" or "http"
	// Request and Response are JSON schemas (draft 2020-12) of the body; nil
	// where there is none or it is not JSON.
	Request  *Schema `json:"request,omitempty"`
	Response *Schema `json:"response,omitempty"`
}

// Describe returns the descriptions of endpoints, in their order.
func Describe(endpoints []*Endpoint) []Description {
	list := make([]Description, len(endpoints))
	for i, e := range endpoints {
		list[i] = Description{Name: e.Name, Kind: e.Kind, Request: SchemaOf(e.In), Response: SchemaOf(e.Out)}
	}
	return list
}

// Schema is the part of JSON Schema (https://json-schema.org/draft/2020-12) that
// describes what encoding/json makes of Go types.
type Schema struct {
	Type        any                `json:"type,omitempty"` // a string, or a list of them
	Format      string             `json:"format,omitempty"`
	Encoding    string             `json:"contentEncoding,omitempty"`
	Description string             `json:"description,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Order       []string           `json:"x-order,omitempty"` // of the properties, as declared
	Required    []string           `json:"required,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	Values      *Schema            `json:"additionalProperties,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
}

// SchemaOf returns the schema of t, or nil for nil. A type that holds itself is
// described once; where it comes again the schema allows anything, and so it does
// below a depth of 8 and once a thousand schemas lie in it.
func SchemaOf(t reflect.Type) *Schema {
	if t == nil {
		return nil
	}
	d := &describer{left: 1000}
	return d.schema(t)
}

var (
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshalerType   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// describer makes one schema.
type describer struct {
	inside []reflect.Type // the structs that lie around what is described
	left   int            // how many schemas may still be made
}

const maxDepth = 8

func (d *describer) schema(t reflect.Type) *Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if d.left--; d.left < 0 || len(d.inside) >= maxDepth || slices.Contains(d.inside, t) {
		return &Schema{}
	}
	implements := func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) }
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &Schema{Type: "string", Format: "date-time"}
	case t == reflect.TypeFor[json.Number]():
		return &Schema{Type: "number"}
	case implements(jsonMarshalerType):
		return &Schema{}
	case implements(textMarshalerType):
		return &Schema{Type: "string"}
	}
	zero := 0
	switch t.Kind() {
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &Schema{Type: "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return &Schema{Type: "integer", Minimum: &zero}
	case reflect.Float32, reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.String:
		return &Schema{Type: "string"}
	}
	d.inside = append(d.inside, t)
	defer func() { d.inside = d.inside[:len(d.inside)-1] }()
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return &Schema{Type: "string", Encoding: "base64"}
		}
		return &Schema{Type: "array", Items: d.schema(t.Elem())}
	case reflect.Map:
		return &Schema{Type: "object", Values: d.schema(t.Elem())}
	case reflect.Struct:
		s := &Schema{Type: "object", Properties: make(map[string]*Schema)}
		d.addFields(s, t, make(map[string]int), 0)
		return s
	}
	return &Schema{}
}

// addFields adds to s the properties that encoding/json sees in the struct t.
// at is how deep each one was embedded, depth how deep t is: as in Go, a field
// gives way to one of its name that is embedded less deep.
func (d *describer) addFields(s *Schema, t reflect.Type, at map[string]int, depth int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		ft := f.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if f.Anonymous && name == "" && ft.Kind() == reflect.Struct {
			if depth < maxDepth && ft != t {
				d.addFields(s, ft, at, depth+1)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		other, taken := at[name]
		if taken && other <= depth {
			continue
		}
		at[name] = depth
		if !taken {
			s.Order = append(s.Order, name)
		}
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if s.Properties[name] = d.schema(f.Type); strings.Contains(","+options+",", ",string,") {
			s.Properties[name] = &Schema{Type: "string"}
		}
	}
}
