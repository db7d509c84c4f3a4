package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/fnhost/fnhost/functions"
)

func parseSchema(raw json.RawMessage) *functions.Schema {
	var s functions.Schema
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return &s
}

// typeName is a schema in a word or two.
func typeName(s *functions.Schema) string {
	switch {
	case s.Items != nil:
		return "list of " + typeName(s.Items)
	case s.Format != "":
		return s.Format
	case s.Encoding != "":
		return s.Encoding
	}
	if t, ok := s.Type.(string); ok {
		return t
	}
	return "any"
}

func printSchema(w io.Writer, s *functions.Schema, indent string) {
	if len(s.Properties) == 0 {
		fmt.Fprintf(w, "%s%s\n", indent, typeName(s))
		return
	}
	for _, name := range s.Order {
		p := s.Properties[name]
		fmt.Fprintf(w, "%s%-16s %s\n", indent, name, typeName(p))
		for nested := p; nested != nil; nested = nested.Items {
			if len(nested.Properties) > 0 {
				printSchema(w, nested, indent+"  ")
			}
		}
	}
}

// field is what one flag of invoke sets.
type field struct {
	flag   string // "address.street"
	path   []string
	schema *functions.Schema
}

// fieldsOf lists the fields of a request, those of nested objects dotted.
func fieldsOf(s *functions.Schema, flagPrefix string, path []string) []field {
	var list []field
	for _, name := range s.Order {
		p := s.Properties[name]
		here := append(path[:len(path):len(path)], name)
		if len(p.Properties) > 0 && len(path) < 5 {
			list = append(list, fieldsOf(p, flagPrefix+kebab(name)+".", here)...)
			continue
		}
		list = append(list, field{flag: flagPrefix + kebab(name), path: here, schema: p})
	}
	return list
}

// kebab turns "OrderID" into "order-id".
func kebab(s string) string {
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) && runes[i-1] != '_' && runes[i-1] != '-' {
			b.WriteByte('-')
		}
		if r == '_' {
			r = '-'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
