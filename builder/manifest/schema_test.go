package manifest

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// part is what the tests read of a JSON Schema.
type part struct {
	Type                 any
	Properties           map[string]part
	Items                *part
	Required             []string
	AdditionalProperties any
	Description          string
	Default              any
}

func readSchema(t *testing.T) part {
	t.Helper()
	var s part
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Both ways at once: the struct is what Parse fills, the schema what editors know.
func TestSchemaHasTheKeysOfTheStruct(t *testing.T) {
	compareKeys(t, "", reflect.TypeFor[Manifest](), readSchema(t))
}

func compareKeys(t *testing.T, path string, typ reflect.Type, s part) {
	t.Helper()
	switch {
	case typ.Kind() == reflect.Pointer:
		compareKeys(t, path, typ.Elem(), s)
		return
	case typ.Kind() == reflect.Slice:
		if s.Items == nil {
			t.Fatalf("%s: a list without items in the schema", path)
		}
		compareKeys(t, path+"[]", typ.Elem(), *s.Items)
		return
	case typ.Kind() != reflect.Struct:
		return
	}
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		compareKeys(t, path+"."+name, f.Type, s.Properties[name])
	}
	slices.Sort(names)
	if known := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(known, names) {
		t.Errorf("%s: the schema has the keys %q, the struct %q", path, known, names)
	}
	if s.AdditionalProperties != false {
		t.Errorf("%s: the schema takes unknown keys", path)
	}
}

func TestParseKnowsTheKeysOfTheSchema(t *testing.T) {
	tryKeys(t, "", "%", readSchema(t))
}

// tryKeys parses each key of the schema in its place, which is the % of outline.
func tryKeys(t *testing.T, path, outline string, s part) {
	t.Helper()
	for name, property := range s.Properties {
		inner := strings.Replace(outline, "%", "{"+name+": %}", 1)
		known := path + name
		if property.Items != nil {
			inner = strings.Replace(inner, "%", "[%]", 1)
			tryKeys(t, known+"[0].", inner, *property.Items)
		}
		if property.Description == "" {
			t.Errorf("%s has no description", known)
		}
		_, err := Parse(FileName, []byte(strings.Replace(inner, "%", "{unheard: 1}", 1)))
		for _, e := range unknownKeys(err) {
			if !strings.HasSuffix(e.Key, ".unheard") {
				t.Errorf("Parse does not know %s: %v", known, e)
			}
		}
		tryKeys(t, known+".", inner, property)
	}
	if len(s.Properties) > 0 {
		_, err := Parse(FileName, []byte(strings.Replace(outline, "%", "{unheard: 1}", 1)))
		if got := unknownKeys(err); len(got) != 1 || got[0].Key != path+"unheard" {
			t.Errorf("%sunheard: errors %v, want one unknown key", path, err)
		}
	}
}

func unknownKeys(err error) (unknown []*Error) {
	var all Errors
	errors.As(err, &all)
	for _, e := range all {
		if strings.HasPrefix(e.Message, "unknown key") {
			unknown = append(unknown, e)
		}
	}
	return unknown
}

// What the schema calls a default must parse, to the default.
func TestSchemaDefaultsAreTheDefaults(t *testing.T) {
	s := readSchema(t)
	written := make(map[string]any)
	for name, property := range s.Properties {
		if property.Default != nil {
			written[name] = property.Default
		}
	}
	scale := make(map[string]any)
	for name, property := range s.Properties["scale"].Properties {
		scale[name] = property.Default
	}
	written["scale"] = scale
	if len(written) < 6 || len(scale) != 3 {
		t.Errorf("defaults in the schema: %v", written)
	}
	got, err := Parse(FileName, toJSON(t, written))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, Default()) {
		t.Errorf("the schema's defaults %v make %s", written, toJSON(t, got))
	}
}

func TestSchemaRequiresWhatParseRequires(t *testing.T) {
	s := readSchema(t)
	if got := s.Properties["cors"].Required; !slices.Equal(got, []string{"origins"}) {
		t.Errorf("cors requires %q", got)
	}
	if got := s.Properties["triggers"].Properties["http"].Items.Required; !slices.Equal(got, []string{"path"}) {
		t.Errorf("a route requires %q", got)
	}
}
