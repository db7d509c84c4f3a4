package functions

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type Common struct {
	ID   int // also in base: neither counts
	Name int
	Once int
}

type page[T any] struct{ Size int }

type described struct {
	Zulu string
	Common
	*Public
	base
	Name   string `json:"name"`
	Hidden string `json:"-"`
	//lint:ignore SA5008 the comma makes "-" the name
	//lint:ignore SA5008 the name that looks like none
	Dash   string `json:"-,"`
	Quoted int    `json:",string"`
	secret string
	Alpha  *bool
}

type self struct {
	Next *self
	All  []self
	N    int
}

// withoutGo removes from s what says where its comments are.
func withoutGo(s *Schema) *Schema {
	if s == nil {
		return nil
	}
	s.GoType, s.GoField = "", ""
	for _, p := range s.Properties {
		withoutGo(p)
	}
	withoutGo(s.Items)
	withoutGo(s.Values)
	return s
}

func TestSchemas(t *testing.T) {
	_ = described{}.secret
	tests := []struct {
		of   reflect.Type
		want string
	}{
		{reflect.TypeFor[bool](), `{"type":"boolean"}`},
		{reflect.TypeFor[**int8](), `{"type":"integer"}`},
		{reflect.TypeFor[uint](), `{"type":"integer","minimum":0}`},
		{reflect.TypeFor[float32](), `{"type":"number"}`},
		{reflect.TypeFor[json.Number](), `{"type":"number"}`},
		{reflect.TypeFor[string](), `{"type":"string"}`},
		{reflect.TypeFor[[]byte](), `{"type":"string","contentEncoding":"base64"}`},
		{reflect.TypeFor[[3]byte](), `{"type":"array","items":{"type":"integer","minimum":0}}`},
		{reflect.TypeFor[[]string](), `{"type":"array","items":{"type":"string"}}`},
		{reflect.TypeFor[map[string]int](), `{"type":"object","additionalProperties":{"type":"integer"}}`},
		{reflect.TypeFor[map[int][]bool](), `{"type":"object","additionalProperties":{"type":"array","items":{"type":"boolean"}}}`},
		{reflect.TypeFor[time.Time](), `{"type":"string","format":"date-time"}`},
		{reflect.TypeFor[*time.Time](), `{"type":"string","format":"date-time"}`},
		{reflect.TypeFor[time.Duration](), `{"type":"integer","format":"duration"}`},
		{reflect.TypeFor[netip.Addr](), `{"title":"Addr","type":"string"}`},
		{reflect.TypeFor[big.Int](), `{"title":"Int"}`},
		{reflect.TypeFor[json.RawMessage](), `{"title":"RawMessage"}`},
		{reflect.TypeFor[any](), `{}`},
		{reflect.TypeFor[struct{}](), `{"type":"object"}`},
		{reflect.TypeFor[self](), `{"title":"self","type":"object","properties":{"All":{"type":"array","items":{"title":"self"}},"N":{"type":"integer"},"Next":{"title":"self"}},"x-order":["Next","All","N"]}`},
		{reflect.TypeFor[[]self](), `{"type":"array","items":{"title":"self","type":"object","properties":{"All":{},"N":{"type":"integer"},"Next":{"title":"self"}},"x-order":["Next","All","N"]}}`},
		{reflect.TypeFor[described](), `{"title":"described","type":"object","properties":{"-":{"type":"string"},"Alpha":{"type":"boolean"},"Once":{"type":"integer"},` +
			`"Page":{"type":"integer"},"Quoted":{"type":"string"},"Zulu":{"type":"string"},"name":{"type":"string"}},` +
			`"x-order":["Zulu","Once","Page","name","-","Quoted","Alpha"]}`},
		{reflect.TypeFor[page[described]](), `{"title":"page","type":"object","properties":{"Size":{"type":"integer"}},"x-order":["Size"]}`},
		{nil, `null`},
	}
	for _, test := range tests {
		got, err := json.Marshal(withoutGo(SchemaOf(test.of)))
		if err != nil || string(got) != test.want {
			t.Errorf("%v:\ngot  %s, %v\nwant %s", test.of, got, err, test.want)
		}
	}
}

func TestSchemasHaveTheFieldsOfTheJSON(t *testing.T) {
	for _, v := range []any{described{Public: &Public{}}, everything{Public: &Public{}, Renamed: "x"}, struct {
		early
		base
		Title string `json:"ID"`
		Twice int
		Named int `json:"Twice"`
	}{}} {
		b, err := json.Marshal(v)
		var have map[string]any
		if err != nil || json.Unmarshal(b, &have) != nil {
			t.Fatal(string(b), err)
		}
		want := slices.Sorted(maps.Keys(have))
		if got := slices.Sorted(slices.Values(SchemaOf(reflect.TypeOf(v)).Order)); !slices.Equal(got, want) {
			t.Errorf("%T: fields %q, want %q", v, got, want)
		}
	}
}

type lines []struct{ Count int }

type order struct {
	base
	Lines   lines
	Address *struct{ Street []struct{ Name string } }
	Page    page[int]
	When    time.Time
}

func TestSchemasSayWhereCommentsAre(t *testing.T) {
	s := SchemaOf(reflect.TypeFor[order]())
	var got []string
	var visit func(*Schema)
	visit = func(s *Schema) {
		if s == nil {
			return
		}
		got = append(got, strings.ReplaceAll(s.GoType+" "+s.GoField, reflect.TypeFor[order]().PkgPath()+".", ""))
		for _, name := range s.Order {
			visit(s.Properties[name])
		}
		visit(s.Items)
	}
	visit(s)
	want := []string{"order ", " base.ID", " base.Name", "lines order.Lines", " ", " lines.Count", " order.Address", " order.Address.Street", " ",
		" order.Address.Street.Name", "page order.Page", " page.Size", " order.When"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if s := SchemaOf(reflect.TypeFor[struct{ A int }]()).Properties["A"]; s.GoField != "" {
		t.Errorf("a field of a type without a name lies at %q", s.GoField)
	}
}

type early struct{ Title int }

func TestOuterFieldsWinInSchemas(t *testing.T) {
	for _, of := range []reflect.Type{
		reflect.TypeFor[struct {
			early
			Title string
		}](),
		reflect.TypeFor[struct {
			Title string
			early
		}](),
	} {
		s := SchemaOf(of)
		if got := s.Properties["Title"].Type; got != "string" || !slices.Equal(s.Order, []string{"Title"}) {
			t.Errorf("%v: %v, order %q", of, got, s.Order)
		}
	}
}

// Nodes of a syntax tree: each holds all others.
type (
	n1 struct{ A, B, C, D, E, F *n2 }
	n2 struct{ A, B, C, D, E, F *n3 }
	n3 struct{ A, B, C, D, E, F *n4 }
	n4 struct{ A, B, C, D, E, F *n5 }
	n5 struct{ A, B, C, D, E, F *n6 }
	n6 struct{ A, B, C, D, E, F *n1 }
)

func TestSchemasStaySmall(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[n1](), reflect.TypeFor[tree]()} {
		b, err := json.Marshal(SchemaOf(of))
		if err != nil || len(b) > 150_000 {
			t.Errorf("%v: %d bytes, %v", of, len(b), err)
		}
	}
}

func TestDescribe(t *testing.T) {
	list := []Endpoint{
		Handle("", func(context.Context, in) (out, error) { panic("") }),
		Handle("raw", func([]byte) []byte { panic("") }),
		Handle("text", func(in) string { panic("") }),
		Handle("stream", func(io.Reader) iter.Seq2[out, error] { panic("") }),
		Handle("nothing", func() {}),
		NewEndpoint("own", "http", nil),
	}
	want := `[{"name":"","kind":"json","request":N,"response":N},{"name":"raw","kind":"raw"},{"name":"text","kind":"json","request":N},` +
		`{"name":"stream","kind":"json","response":N},{"name":"nothing","kind":"json"},{"name":"own","kind":"http"}]`
	want = replaceAll(want, "N", `{"type":"object","properties":{"N":{"type":"integer"}},"x-order":["N"]}`)
	want = strings.NewReplacer(`"request":{`, `"request":{"title":"in",`, `"response":{`, `"response":{"title":"out",`).Replace(want)
	var pointers []*Endpoint
	for i := range list {
		pointers = append(pointers, &list[i])
	}
	all := Describe(pointers)
	for i := range all {
		withoutGo(all[i].Request)
		withoutGo(all[i].Response)
	}
	got, err := json.Marshal(all)
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// replaceAll replaces whole words ":N".
func replaceAll(s, word, by string) string {
	out := ""
	for i := 0; i < len(s); i++ {
		if s[i] == word[0] && i > 0 && s[i-1] == ':' {
			out += by
		} else {
			out += s[i : i+1]
		}
	}
	return out
}
