package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/fnhost/fnhost/kv/config"
)

// Config says what configuration the function reads.
type Config struct {
	// Schema is a JSON Schema (draft 2020-12) that what the function reads must fit.
	// Default empty: anything does.
	Schema Document `json:"schema,omitzero"`
	// Defaults are an object, which is read where nothing else is set. It fits the
	// schema but for what is missing. Default empty: none.
	Defaults Document `json:"defaults,omitzero"`
}

// Document is the text of a JSON value, and JSON itself where it is stored.
type Document string

// MarshalJSON implements [json.Marshaler].
func (d Document) MarshalJSON() ([]byte, error) {
	if d == "" {
		return []byte("null"), nil
	}
	return []byte(d), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Document) UnmarshalJSON(b []byte) error {
	if *d = Document(b); *d == "null" {
		*d = ""
	}
	return nil
}

// Values returns the defaults, nil for none.
func (c *Config) Values() map[string]any {
	if c == nil || c.Defaults == "" {
		return nil
	}
	doc, err := config.ParseObject([]byte(c.Defaults))
	if err != nil {
		return nil // Parse has let it pass
	}
	return doc
}

var configKeys = keys[Config]{
	fields: []field[Config]{
		key("schema", document(true), func(c *Config) *Document { return &c.Schema },
			"JSON Schema (draft 2020-12) that the function's configuration must fit. Default: anything does."),
		key("defaults", document(false), func(c *Config) *Document { return &c.Defaults },
			"What is read where nothing else is set."),
	},
	check: checkConfig,
}

// document is any mapping, kept as JSON. null is part of schemas only.
func document(nulls bool) value[Document] {
	return value[Document]{
		read: func(r *reader, n node, into *Document) {
			before := len(r.errs)
			v := r.plain(n, nulls)
			if _, ok := v.(map[string]any); !ok && len(r.errs) == before {
				r.bad(n, "write key: value", "must be a mapping of keys, not %s", n.describe())
			}
			if len(r.errs) == before {
				*into = Document(config.Marshal(v))
			}
		},
		schema: func(Document) schema { return schema{"type": "object"} },
	}
}

// plain returns a value as JSON has it, or reports what has no place there.
func (r *reader) plain(n node, nulls bool) any {
	switch v := n.Node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		object := make(map[string]any)
		r.mapping(n, func(key string, below node) {
			if key == "" {
				r.fail(below.key, below.path, "", "%s has an empty key", n.path)
				return
			}
			object[key] = r.plain(below, nulls)
		})
		return object
	case *ast.SequenceNode:
		list := make([]any, len(v.Values))
		for i := range v.Values {
			list[i] = r.plain(n.item(i), nulls)
		}
		return list
	case *ast.NullNode:
		if n.missing() || !nulls {
			r.bad(n, "remove the key", "has no value")
		}
		return nil
	case *ast.BoolNode:
		return v.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return r.number(n)
	}
	text, ok := n.text()
	if !ok {
		r.bad(n, "", "must be text, a number, true or false, a list or a mapping, not %s", n.describe())
	}
	// The parser takes a number of more than 64 bits for text.
	if n.GetToken().Type == token.StringType && isDigits(text) {
		return r.number(n)
	}
	return text
}

// number returns a number as it is written, which must be as JSON writes it.
func (r *reader) number(n node) any {
	written := n.GetToken().Value
	v, err := config.Parse([]byte(written))
	if number, ok := v.(json.Number); ok && err == nil {
		return number
	}
	r.bad(n, fmt.Sprintf("write %q for the text", written), "must be a number as JSON has it, such as 10 or 0.5, not %.80s", written)
	return nil
}

// checkConfig compiles the schema, and checks the defaults with it.
func checkConfig(r *reader, n node, c *Config) {
	if c.Schema == "" {
		return
	}
	checkKeywords(r, n.child("schema"))
	s, err := config.Compile([]byte(c.Schema))
	var invalid *config.SchemaError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Faults {
			r.bad(n.child("schema").follow(f.Keys()), "", "is no JSON Schema: %s", f.Message)
		}
		return
	}
	if err != nil {
		r.bad(n.child("schema"), "", "is no JSON Schema: %v", err)
		return
	}
	defaults := c.Values()
	if defaults == nil {
		return
	}
	var misfit *config.MisfitError
	if errors.As(s.CheckPresent(defaults), &misfit) {
		for _, f := range misfit.Faults {
			r.bad(n.child("defaults").follow(f.Keys()), "", "%s", f.Message)
		}
	}
}

// follow returns the value that keys and items lead to, as far as they do.
func (n node) follow(path []string) node {
	for _, part := range path {
		next := n
		if seq, ok := n.Node.(*ast.SequenceNode); ok {
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(seq.Values) {
				next = n.item(i)
			}
		} else {
			next = n.child(part)
		}
		if next.Node == n.Node {
			return n
		}
		n = next
	}
	return n
}

// item returns an item of a list.
func (n node) item(i int) node {
	return node{Node: n.Node.(*ast.SequenceNode).Values[i], path: fmt.Sprintf("%s[%d]", n.path, i), key: n.key}
}

// checkConfigAccess reports configuration of which the function could read nothing.
func checkConfigAccess(r *reader, n node, m *Manifest) {
	if m.Config != nil && m.Access != nil && len(m.Access.Config) == 0 {
		r.bad(n.child("access"), `add to it config: ["*"], or the keys that it may read`, "does not let the function read the configuration that it describes")
	}
}
