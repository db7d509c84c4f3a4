package functions

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

type Common struct {
	ID   int
	Name int // gives way
}

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
		{reflect.TypeFor[time.Duration](), `{"type":"integer"}`},
		{reflect.TypeFor[netip.Addr](), `{"type":"string"}`},
		{reflect.TypeFor[big.Int](), `{}`},
		{reflect.TypeFor[json.RawMessage](), `{}`},
		{reflect.TypeFor[any](), `{}`},
		{reflect.TypeFor[struct{}](), `{"type":"object"}`},
		{reflect.TypeFor[self](), `{"type":"object","properties":{"All":{"type":"array","items":{}},"N":{"type":"integer"},"Next":{}},"x-order":["Next","All","N"]}`},
		{reflect.TypeFor[[]self](), `{"type":"array","items":{"type":"object","properties":{"All":{},"N":{"type":"integer"},"Next":{}},"x-order":["Next","All","N"]}}`},
		{reflect.TypeFor[described](), `{"type":"object","properties":{"-":{"type":"string"},"Alpha":{"type":"boolean"},"ID":{"type":"integer"},` +
			`"Name":{"type":"integer"},"Page":{"type":"integer"},"Quoted":{"type":"string"},"Zulu":{"type":"string"},"name":{"type":"string"}},` +
			`"x-order":["Zulu","ID","Name","Page","name","-","Quoted","Alpha"]}`},
		{nil, `null`},
	}
	for _, test := range tests {
		got, err := json.Marshal(SchemaOf(test.of))
		if err != nil || string(got) != test.want {
			t.Errorf("%v:\ngot  %s, %v\nwant %s", test.of, got, err, test.want)
		}
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
		if err != nil || len(b) > 100_000 {
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
	var pointers []*Endpoint
	for i := range list {
		pointers = append(pointers, &list[i])
	}
	got, err := json.Marshal(Describe(pointers))
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
