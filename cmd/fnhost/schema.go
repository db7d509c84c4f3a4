package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/fnhost/fnhost/functions"
)

// schema is what a host says of the JSON that an endpoint takes or returns.
type schema struct{ *functions.Schema }

func parseSchema(raw json.RawMessage) *schema {
	var s functions.Schema
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return &schema{&s}
}

// open reports whether any field may be set.
func (s *schema) open() bool {
	return s.Values != nil || s.Type == nil && len(s.Properties) == 0
}

func orAny(s *functions.Schema) *functions.Schema {
	if s == nil {
		return &functions.Schema{}
	}
	return s
}

// typeName is what a value has to be, in a few words.
func typeName(v any) string {
	s, ok := v.(*functions.Schema)
	if !ok {
		s = v.(*schema).Schema
	}
	switch {
	case s.Items != nil:
		return "list of " + typeName(s.Items)
	case s.Values != nil:
		return "map to " + typeName(s.Values)
	case s.Format == "duration":
		return "duration such as 3s"
	case s.Format == "date-time":
		return "time such as 2026-01-02T15:04:05Z"
	case s.Encoding == "base64":
		return "bytes in base64" + orFile
	case s.Minimum != nil && *s.Minimum == 0:
		return "integer from 0"
	}
	switch s.Type {
	case "object":
		return "JSON object"
	case "array":
		return "JSON list"
	case "string":
		return "text"
	case "boolean":
		return "true or false"
	}
	if t, ok := s.Type.(string); ok {
		return t
	}
	return "any JSON"
}

// printSchema writes the fields of an object, a line each, or what else it is.
func printSchema(w io.Writer, s *functions.Schema, isRequest bool, indent string) {
	name := func(s *functions.Schema) string {
		text := strings.ReplaceAll(typeName(s), "JSON object", "object")
		if isRequest {
			return strings.Replace(text, "duration such as 3s", "duration such as 3s, in JSON nanoseconds", 1)
		}
		return strings.Replace(strings.TrimSuffix(text, orFile), "duration such as 3s", "duration in nanoseconds", 1)
	}
	inside := func(s *functions.Schema) {
		for nested := s; nested != nil; nested = cmp.Or(nested.Items, nested.Values) {
			if len(nested.Properties) > 0 {
				printSchema(w, nested, isRequest, indent+"  ")
			}
		}
	}
	if len(s.Properties) == 0 {
		fmt.Fprintf(w, "%s%s\n", indent, name(s))
		inside(cmp.Or(s.Items, s.Values))
		return
	}
	width := 0
	for _, field := range s.Order {
		width = max(width, len(field))
	}
	for _, field := range s.Order {
		p := s.Properties[field]
		fmt.Fprintf(w, "%s%-*s  %s%s\n", indent, width, field, name(p), remark(p))
		inside(p)
	}
}

// orFile ends the name of a type whose value may come from a file.
const orFile = ", or @FILE"

// remark is the first paragraph of what a schema's comment says, on one line and
// behind a colon; "" if it says nothing.
func remark(s *functions.Schema) string {
	paragraph, _, _ := strings.Cut(s.Description, "\n\n")
	if words := strings.Fields(paragraph); len(words) > 0 {
		return ": " + strings.Join(words, " ")
	}
	return ""
}

// field is what one flag of invoke sets.
type field struct {
	flag   string // "address.street"
	path   []string
	schema *functions.Schema
	whole  bool // of an object whose fields have flags of their own
}

// fieldPrefix is for fields whose flags are fnhost's own otherwise.
const fieldPrefix = "field."

// maxNesting bounds the flags of objects in objects.
const maxNesting = 5

// fieldsOf lists the fields of a request, those of nested objects dotted.
func fieldsOf(s *schema) []field { return nestedFields(s.Schema, nil) }

func nestedFields(s *functions.Schema, path []string) []field {
	var list []field
	for _, name := range s.Order {
		p := s.Properties[name]
		here := append(path[:len(path):len(path)], name)
		f := field{flag: kebab(strings.Join(here, ".")), path: here, schema: p}
		f.whole = len(p.Properties) > 0 && len(here) < maxNesting
		list = append(list, f)
		if f.whole {
			list = append(list, nestedFields(p, here)...)
		}
	}
	return list
}

func flagNames(fields []field) []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.flag)
	}
	return names
}

// kebab turns "OrderID" into "order-id", and "Address.Street" into "address.street".
func kebab(s string) string {
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		afterWord := i > 0 && !strings.ContainsRune("_-.", runes[i-1])
		startsWord := unicode.IsUpper(r) && afterWord && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if startsWord {
			b.WriteByte('-')
		}
		if r == '_' {
			r = '-'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
