package manifest

import (
	"encoding/json"
	"maps"
)

// schema is a part of a JSON Schema.
type schema map[string]any

// with returns a copy of s with one more keyword.
func (s schema) with(keyword string, value any) schema {
	s = maps.Clone(s)
	if s == nil {
		s = schema{}
	}
	s[keyword] = value
	return s
}

// schema describes the mapping to editors, with the values of def as defaults.
func (k keys[T]) schema(def *T) schema {
	properties, required := schema{}, []string{}
	for _, f := range k.fields {
		properties[f.name] = f.schema(def).with("description", f.doc)
		if f.required {
			required = append(required, f.name)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// Schema returns the JSON Schema (draft 2020-12) of function.yaml, for editors.
// It knows every key, its type, its default and, where JSON Schema can say it, its
// limits. Parse checks more: the ranges of durations and of sizes with a unit, the
// syntax of routes, and what is wrong between keys.
func Schema() []byte {
	s := manifestKeys.schema(Default())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "fnhost " + FileName
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // The tables hold nothing but plain values.
	}
	return append(data, '\n')
}
