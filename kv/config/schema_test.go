package config

import (
	"errors"
	"strings"
	"testing"
)

const limits = `{
	"type": "object", "required": ["limits", "region"],
	"properties": {
		"limits": {"type": "object", "additionalProperties": false, "properties": {
			"rate": {"type": "integer", "minimum": 1, "maximum": 1000}, "burst": {"type": ["integer", "string"]}}},
		"region": {"enum": ["eu", "us"]},
		"mail": {"type": "string", "format": "email"},
		"id": {"type": "string", "pattern": "^[a-z]+$"},
		"either": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
		"list": {"type": "array", "items": {"$ref": "#/$defs/item"}}
	},
	"$defs": {"item": {"type": "object", "required": ["name"]}}
}`

func TestMisfitsSayWhatIsWantedAndWhatIsGiven(t *testing.T) {
	s, err := Compile([]byte(limits))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ doc, want string }{
		{`{"limits":{"rate":5},"region":"eu","mail":"a@b.de","id":"x","either":true,"list":[{"name":1}]}`, ""},
		{`{"limits":{"rate":"fast"},"region":"eu"}`, `limits.rate must be integer, not "fast"`},
		{`{"limits":{"rate":0},"region":"eu"}`, `limits.rate must be at least 1, not 0`},
		{`{"limits":{"rate":12345678901234567890},"region":"eu"}`, `limits.rate must be at most 1000, not 12345678901234567890`},
		{`{"limits":{"burst":1.5},"region":"eu"}`, `limits.burst must be integer or string, not 1.5`},
		{`{"limits":{"rat":1},"region":"eu"}`, `limits.rat is not in the schema, which allows no others`},
		{`{}`, `limits is missing; region is missing`},
		{`{"limits":{},"region":"asia"}`, `region must be one of "eu", "us", not "asia"`},
		{`{"limits":{},"region":"eu","id":"X"}`, `id must match ^[a-z]+$, not "X"`},
		{`{"limits":{},"region":"eu","list":[{"name":1},{}]}`, `list.1.name is missing`},
		{`{"limits":{},"region":"eu","either":"x"}`, `either fits none of what is allowed: must be integer, not "x", or must be boolean, not "x"`},
		{`{"limits":[],"region":"eu"}`, `limits must be object, not []`},
	} {
		err := s.Check(value(t, test.doc))
		var misfit *MisfitError
		if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &misfit) || err.Error() != test.want) {
			t.Errorf("%s: %v, want %s", test.doc, err, test.want)
		}
	}
	if err := s.Check(value(t, `{"limits":{},"region":"eu","mail":"nobody"}`)); err == nil || !strings.Contains(err.Error(), "mail does not fit") {
		t.Errorf("a format: %v", err)
	}
	if err := s.CheckPresent(value(t, `{}`)); err != nil {
		t.Errorf("what is missing: %v", err)
	}
	if err := s.CheckPresent(value(t, `{"region":1}`)); err == nil || strings.Contains(err.Error(), "missing") {
		t.Errorf("what is there: %v", err)
	}
}

func TestSchemasThatAreNone(t *testing.T) {
	for _, test := range []struct{ schema, path, want string }{
		{`{"properties":{"a":{"type":"integr"}}}`, "properties.a.type", `want one of array, boolean, integer, null, number, object, string, not "integr"`},
		{`{"properties":{"a":{"type":["string","integr"]}}}`, "properties.a.type", "want a list of some of array"},
		{`{"properties":{"type":{"minimum":"x"},"b":{"maxLength":-1}}}`, "properties.b.maxLength properties.type.minimum", `must be number, not "x"`},
		{`{"properties":{"type":5}}`, "properties.type", `5`},
		{`{"properties":{"a":{"minimum":"x"}}}`, "properties.a.minimum", `must be number, not "x"`},
		{`{"properties":{"a":{"pattern":"["}}}`, "properties.a.pattern", "["},
		{`{"$ref":"https://example.com/x.json"}`, "", "nothing is loaded"},
		{`{"$ref":"file:///etc/passwd"}`, "", "nothing is loaded"},
		{`{"$ref":"#/$defs/none"}`, "", "$defs/none"},
		{`{"$schema":"https://example.com/draft"}`, "", "nothing is loaded"},
		{`5`, "", "5"},
	} {
		_, err := Compile([]byte(test.schema))
		var e *SchemaError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", test.schema, err)
			continue
		}
		var paths []string
		for _, f := range e.Faults {
			paths = append(paths, f.Path)
		}
		if strings.Join(paths, " ") != test.path || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s %s", test.schema, err, test.path, test.want)
		}
	}
	if _, err := Compile([]byte(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`)); err != nil {
		t.Errorf("another draft: %v", err)
	}
}
