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
	Kind string `json:"kind"` // "json", "raw", "http", "event" or "batch"
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
	Title string `json:"title,omitempty"` // the name of the Go type, without its package
	Type  any    `json:"type,omitempty"`  // a string, or a list of them
	// Format is "date-time" for time.Time, and "duration" for time.Duration, an
	// integer of nanoseconds. Encoding is "base64" for []byte.
	Format   string `json:"format,omitempty"`
	Encoding string `json:"contentEncoding,omitempty"`
	// Description is the comment of the field, or else of the type. A program does
	// not know its comments: hosts fill them in from the source.
	Description string             `json:"description,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Order       []string           `json:"x-order,omitempty"` // of the properties, as declared
	Required    []string           `json:"required,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	Values      *Schema            `json:"additionalProperties,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	// GoType and GoField say where to look for the comments of the type, and of
	// the field that has it: "example.com/shop.Order", "example.com/shop.Order.ID";
	// of a struct without a name, "example.com/shop.Order.Address.Street". Hosts
	// remove them from what they publish.
	GoType  string `json:"x-go-type,omitempty"`
	GoField string `json:"x-go-field,omitempty"`
}

// SchemaOf returns the schema of t, or nil for nil. A type that holds itself is
// described once; where it comes again the schema allows anything, and so it does
// below a depth of 8 and once a thousand schemas lie in it.
func SchemaOf(t reflect.Type) *Schema {
	if t == nil {
		return nil
	}
	d := &describer{left: 1000}
	return d.schema(t, "")
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

// schema describes t. place is the Go name of the type or field that t stands
// in, for a t without a name.
func (d *describer) schema(t reflect.Type, place string) *Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return &Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[time.Duration]():
		return &Schema{Type: "integer", Format: "duration"}
	case reflect.TypeFor[json.Number]():
		return &Schema{Type: "number"}
	}
	name := goName(t)
	if name != "" {
		place = name
	}
	s := &Schema{}
	if d.left--; d.left >= 0 && len(d.inside) < maxDepth && !slices.Contains(d.inside, t) {
		s = d.shape(t, place)
	}
	if name != "" {
		s.Title, s.GoType = name[strings.LastIndexByte(name, '.')+1:], name
	}
	return s
}

// goName returns the import path and name of t, without type arguments; "" for a
// type without a name, and for those of the language.
func goName(t reflect.Type) string {
	if t.PkgPath() == "" {
		return ""
	}
	name, _, _ := strings.Cut(t.Name(), "[")
	return t.PkgPath() + "." + name
}

// shape describes t but for its name.
func (d *describer) shape(t reflect.Type, place string) *Schema {
	implements := func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) }
	switch {
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
		return &Schema{Type: "array", Items: d.schema(t.Elem(), place)}
	case reflect.Map:
		return &Schema{Type: "object", Values: d.schema(t.Elem(), place)}
	case reflect.Struct:
		return d.object(t, place)
	}
	return &Schema{}
}

// object describes the struct t.
func (d *describer) object(t reflect.Type, place string) *Schema {
	s := &Schema{Type: "object", Properties: make(map[string]*Schema)}
	for _, f := range jsonFields(t) {
		owner := goName(f.owner)
		if owner == "" {
			owner = place
		}
		field := ""
		if owner != "" {
			field = owner + "." + f.Name
		}
		p := d.schema(f.Type, field)
		if f.quoted {
			p = &Schema{Type: "string"}
		}
		p.GoField = field
		s.Properties[f.name] = p
		s.Order = append(s.Order, f.name)
	}
	return s
}
