package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a JSON Schema (draft 2020-12), ready to check with. It is safe for
// concurrent use.
type Schema struct{ compiled *jsonschema.Schema }

// SchemaError says what is wrong with a schema, in the order of the paths.
type SchemaError struct{ Faults []Fault }

func (e *SchemaError) Error() string {
	list := make([]string, len(e.Faults))
	for i := range e.Faults {
		list[i] = fmt.Sprintf("config: schema: %s: %s", cmp.Or(e.Faults[i].Path, "it"), e.Faults[i].Message)
	}
	return strings.Join(list, "; ")
}

const schemaURL = "schema:config"

// nothing loads no schemas: one that names another by a URL does not compile, but for
// the drafts themselves.
type nothing struct{}

func (nothing) Load(url string) (any, error) {
	return nil, fmt.Errorf("%q is elsewhere, and nothing is loaded: put it into $defs, and write #/$defs/NAME", strings.TrimPrefix(url, schemaURL))
}

// Compile reads a schema. Formats, such as email, are checked. It returns ErrValue for
// what is no JSON, and a *SchemaError.
func Compile(data []byte) (*Schema, error) {
	doc, err := Parse(data)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nothing{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, schemaError(doc, err)
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, schemaError(doc, err)
	}
	return &Schema{compiled: compiled}, nil
}

func schemaError(doc any, err error) error {
	var invalid *jsonschema.SchemaValidationError
	var fault *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &fault) {
		if faults := sorted(faultsOf(nil, doc, fault)); len(faults) > 0 {
			for i := range faults {
				explainType(doc, &faults[i])
			}
			return &SchemaError{faults}
		}
	}
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return &SchemaError{[]Fault{{Message: load.Err.Error()}}}
	}
	return &SchemaError{[]Fault{{Message: strings.ReplaceAll(err.Error(), schemaURL+"#", "")}}}
}

// types are the names that "type" may have.
const types = "array, boolean, integer, null, number, object, string"

// explainType says what a "type" may be, where the schema of schemas has two ways.
func explainType(doc any, f *Fault) {
	if n := len(f.at); n == 0 || f.at[n-1] != "type" || !strings.HasPrefix(f.Message, fitsNone) {
		return
	}
	given := valueAt(doc, f.at)
	if _, list := given.([]any); list {
		f.Message = fmt.Sprintf("want a list of some of %s, each once, not %s", types, Short(given))
		return
	}
	f.Message = fmt.Sprintf("want one of %s, not %s", types, Short(given))
}

// Fault is one value that does not fit, or one mistake in a schema.
type Fault struct {
	Path    string
	Message string // "must be integer, not \"fast\"", "is missing"

	at []string
}

// Keys returns the path as the keys and items that lead there.
func (f *Fault) Keys() []string { return f.at }

func (f *Fault) String() string { return cmp.Or(f.Path, "it") + " " + f.Message }

// MisfitError says what does not fit a schema, in the order of the paths.
type MisfitError struct{ Faults []Fault }

func (e *MisfitError) Error() string {
	list := make([]string, len(e.Faults))
	for i := range e.Faults {
		list[i] = e.Faults[i].String()
	}
	return strings.Join(list, "; ")
}

// Check returns a *MisfitError unless a value fits.
func (s *Schema) Check(v any) error { return s.check(v, false) }

// CheckPresent is Check that does not mind what is missing.
func (s *Schema) CheckPresent(v any) error { return s.check(v, true) }

func (s *Schema) check(v any, present bool) error {
	err := s.compiled.Validate(v)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	faults := faultsOf(nil, v, invalid)
	if present {
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return f.Message == isMissing })
	}
	if len(faults) == 0 {
		return nil
	}
	return &MisfitError{sorted(faults)}
}

// sorted returns faults in the order of their paths, each once.
func sorted(faults []Fault) []Fault {
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(faults, func(a, b Fault) bool { return a.Path == b.Path && a.Message == b.Message })
}

const (
	isMissing = "is missing"
	fitsNone  = "fits none of what is allowed: "
)

// faultsOf adds the values at fault to a list.
func faultsOf(list []Fault, v any, e *jsonschema.ValidationError) []Fault {
	at := slices.Clone(e.InstanceLocation)
	add := func(message string, below ...string) {
		path := append(slices.Clone(at), below...)
		list = append(list, Fault{Path: strings.Join(path, "."), Message: message, at: path})
	}
	given := func() string { return Short(valueAt(v, at)) }
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add(isMissing, name)
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add("is not in the schema, which allows no others", name)
		}
	case *kind.FalseSchema:
		add("must not be there")
	case *kind.Type:
		add(fmt.Sprintf("must be %s, not %s", strings.Join(k.Want, " or "), given()))
	case *kind.Minimum:
		add(fmt.Sprintf("must be at least %s, not %s", number(k.Want), given()))
	case *kind.Maximum:
		add(fmt.Sprintf("must be at most %s, not %s", number(k.Want), given()))
	case *kind.ExclusiveMinimum:
		add(fmt.Sprintf("must be more than %s, not %s", number(k.Want), given()))
	case *kind.ExclusiveMaximum:
		add(fmt.Sprintf("must be less than %s, not %s", number(k.Want), given()))
	case *kind.Enum:
		want := make([]string, len(k.Want))
		for i, one := range k.Want {
			want[i] = Short(one)
		}
		add(fmt.Sprintf("must be one of %s, not %s", strings.Join(want, ", "), given()))
	case *kind.Const:
		add(fmt.Sprintf("must be %s, not %s", Short(k.Want), given()))
	case *kind.Pattern:
		add(fmt.Sprintf("must match %s, not %s", k.Want, given()))
	case *kind.AnyOf, *kind.OneOf:
		var each []string
		for _, cause := range e.Causes {
			for _, f := range faultsOf(nil, v, cause) {
				if text := f.String(); !slices.Equal(f.at, at) {
					each = append(each, text)
				} else {
					each = append(each, f.Message)
				}
			}
		}
		add(fitsNone + strings.Join(each, ", or "))
		if len(each) == 0 {
			list[len(list)-1].Message = "fits more than one of what is allowed: " + given()
		}
	default:
		if len(e.Causes) == 0 {
			add(fmt.Sprintf("does not fit: %s: %s", e.ErrorKind.LocalizedString(english), given()))
		}
		for _, cause := range e.Causes {
			list = faultsOf(list, v, cause)
		}
	}
	return list
}

var english = message.NewPrinter(language.English)

// valueAt returns what is at a place, nil for nothing.
func valueAt(v any, at []string) any {
	for _, part := range at {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i, ok := index(part, len(in))
			if !ok {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

func number(n *big.Rat) json.Number {
	if n.IsInt() {
		return json.Number(n.Num().String())
	}
	f, _ := n.Float64()
	return json.Number(fmt.Sprint(f))
}
