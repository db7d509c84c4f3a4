package functions

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

type colour struct{ name string }

func (c *colour) UnmarshalText(b []byte) error {
	if string(b) == "" {
		return Errorf(BadRequest, "no colour")
	}
	c.name = string(b)
	return nil
}

type base struct {
	ID   int
	Name string // gives way to that of the outer struct
}

type Public struct{ Page int }

type hidden string

type address struct {
	Street string
	Geo    *struct{ Lat, Lon float64 }
}

type everything struct {
	base
	*Public
	hidden
	Name    string
	Renamed string `json:"other,omitempty"`
	Skipped string `json:"-"`
	//lint:ignore SA5008 the comma makes "-" the name
	//lint:ignore SA5008 the name that looks like none
	Dash     string `json:"-,"`
	private  string
	Count    int
	Small    int8
	Unsigned uint16
	Ratio    float64
	On       bool
	Ptr      *int
	PtrPtr   **string
	Tags     []string
	Numbers  []int
	Raw      []byte
	Colour   colour
	Colours  []*colour
	Wait     time.Duration
	At       time.Time
	Home     address
	Far      *address
	Any      any
	Meta     map[string]string
	Tagged   inner `json:"tagged"`
	inner    `json:"in"`
}

type inner struct{ X int }

func TestParametersFillFields(t *testing.T) {
	one := 1
	text := "deep"
	ptr := &text
	tests := []struct {
		query string
		want  everything
	}{
		{"", everything{}},
		{"nobody=1&skipped=x&-=dash&private=x&hidden=x", everything{Dash: "dash"}},
		{"name=outer", everything{Name: "outer"}},
		{"NAME=outer&cOUNT=7", everything{Name: "outer", Count: 7}},
		{"id=4", everything{base: base{ID: 4}}},
		{"page=3", everything{Public: &Public{Page: 3}}},
		{"other=a&Renamed=b", everything{Renamed: "a"}},
		{"count=-7&small=127&unsigned=65535&ratio=1e3", everything{Count: -7, Small: 127, Unsigned: 65535, Ratio: 1000}},
		{"count=1&count=2", everything{Count: 2}},
		{"on=true", everything{On: true}},
		{"on=on", everything{On: true}},
		{"on", everything{On: true}},
		{"on=0", everything{}},
		{"ptr=1&ptrptr=deep", everything{Ptr: &one, PtrPtr: &ptr}},
		{"tags=a&tags=b&numbers=1&numbers=2", everything{Tags: []string{"a", "b"}, Numbers: []int{1, 2}}},
		{"tags=", everything{Tags: []string{""}}},
		{"raw=aGk%2B", everything{Raw: []byte("hi>")}},
		{"raw=aGk+", everything{Raw: []byte("hi>")}},
		{"raw=aGk-", everything{Raw: []byte("hi>")}},
		{"raw=aA%3D%3D", everything{Raw: []byte("h")}},
		{"raw=aA", everything{Raw: []byte("h")}},
		{"colour=red&colours=a&colours=b", everything{Colour: colour{"red"}, Colours: []*colour{{"a"}, {"b"}}}},
		{"wait=1m30s", everything{Wait: 90 * time.Second}},
		{"wait=5", everything{Wait: 5}},
		{"at=2024-05-06T07:08:09Z", everything{At: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}},
		{"home.street=x", everything{Home: address{Street: "x"}}},
		{"far.street=x&FAR.Geo.lat=2.5", everything{Far: &address{Street: "x", Geo: &struct{ Lat, Lon float64 }{Lat: 2.5}}}},
		{"any=5", everything{Any: "5"}},
		{"tagged.x=5", everything{Tagged: inner{5}}},
	}
	for _, test := range tests {
		t.Run(test.query, func(t *testing.T) {
			ran := false
			_, err := run(t, func(got everything) {
				if ran = true; !reflect.DeepEqual(got, test.want) {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			}, fields(wire.KeyQuery, test.query), "")
			if err != nil || !ran {
				t.Errorf("error %v, ran %v", err, ran)
			}
		})
	}
}

func TestParametersThatDoNotFitAreNamed(t *testing.T) {
	tests := []struct{ query, want string }{
		{"count=many", `query parameter "count": "many" is not a whole number that fits int`},
		{"count=", `query parameter "count": "" is not a whole number`},
		{"small=128", `query parameter "small": "128" is not a whole number that fits int8`},
		{"unsigned=-1", `query parameter "unsigned": "-1" is not a positive whole number that fits uint16`},
		{"ratio=x", `query parameter "ratio": "x" is not a number`},
		{"on=maybe", `query parameter "on": "maybe" is not true or false`},
		{"numbers=1&numbers=x", `query parameter "numbers": "x" is not a whole number`},
		{"raw=%21", `query parameter "raw": "!" is not base64`},
		{"colour=", `query parameter "colour": no colour`},
		{"at=today", `query parameter "at": parsing time`},
		{"wait=soon", `query parameter "wait": "soon" is not`},
		{"home=x", `query parameter "home": a functions.address cannot come from a parameter`},
		{"meta=x", `query parameter "meta": a map[string]string cannot`},
		{"Home.Geo.Lat=x", `query parameter "Home.Geo.Lat": "x" is not a number`},
		{"a=%zz", `query parameter: invalid URL escape "%zz"`},
		{"a;b", `query parameter: invalid semicolon`},
	}
	for _, test := range tests {
		t.Run(test.query, func(t *testing.T) {
			_, err := run(t, func(everything) { t.Error("the handler ran") }, fields(wire.KeyQuery, test.query), "")
			if codeOf(err) != BadRequest || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// What stands in an unexported embedded type is not for everybody to set.
func TestUnexportedFieldsStayUntouched(t *testing.T) {
	for _, query := range []string{"hidden=x", "in=x", "in.x=1", "inner.x=1", "private=1"} {
		_, err := run(t, func(got everything) {
			if got.hidden != "" || got.private != "" || got.inner.X != 0 {
				t.Errorf("%s: %+v", query, got)
			}
		}, fields(wire.KeyQuery, query), "")
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

type search struct {
	Q     string
	Limit int
	Tags  []string
}

func TestSourcesMerge(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body, query string
		values                         []string
		want                           search
	}{
		{"body alone", "", `{"Q":"b","Limit":1}`, "", nil, search{Q: "b", Limit: 1}},
		{"query wins over the body", "", `{"Q":"b","Limit":1}`, "q=q", nil, search{Q: "q", Limit: 1}},
		{"wildcard wins over both", "", `{"Q":"b","Limit":1}`, "q=q", []string{"q=w=x"}, search{Q: "w=x", Limit: 1}},
		{"form", form, "q=f&limit=2&tags=a&tags=b", "", nil, search{Q: "f", Limit: 2, Tags: []string{"a", "b"}}},
		{"query wins over the form", form + "; charset=utf-8", "q=f&limit=2", "limit=3", nil, search{Q: "f", Limit: 3}},
		{"JSON that curl calls a form", form, ` {"Q":"b"}`, "", nil, search{Q: "b"}},
		{"empty form", form, "", "q=q", nil, search{Q: "q"}},
		{"null", "", "null", "", nil, search{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := fields("Content-Type", test.contentType, wire.KeyQuery, test.query)
			for _, v := range test.values {
				h = h.Add(wire.KeyValue, v)
			}
			check := func(got search) {
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			}
			for _, fn := range []any{check, func(in *search) { check(*in) }, func(in **search) { check(**in) }} {
				if _, err := run(t, fn, h, test.body); err != nil {
					t.Errorf("%T: %v", fn, err)
				}
			}
		})
	}
	_, err := run(t, func(search) {}, fields("Content-Type", form), "limit=x")
	if err == nil || !strings.Contains(err.Error(), `form field "limit"`) {
		t.Errorf("error %v, want one that names the form field", err)
	}
	_, err = run(t, func(search) {}, fields(wire.KeyValue, "limit=x"), "")
	if err == nil || !strings.Contains(err.Error(), `path value "limit"`) {
		t.Errorf("error %v, want one that names the path value", err)
	}
}

func TestParametersFillMaps(t *testing.T) {
	type key string
	query := func(q string) wire.Header { return fields(wire.KeyQuery, q) }
	check := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", what, got, want)
		}
	}
	tests := []struct {
		name string
		fn   any
		h    wire.Header
		body string
	}{
		{"any", func(v any) { check("any", v, map[string]any{"a": "2"}) }, query("a=1&a=2"), ""},
		{"any with an object", func(v any) { check("any", v, map[string]any{"a": "1", "b": 2.0}) }, query("a=1"), `{"a":0,"b":2}`},
		{"any with a list", func(v any) { check("any", v, []any{1.0}) }, query("a=1"), `[1]`},
		{"any with nothing", func(v any) { check("any", v, nil) }, nil, ""},
		{"strings", func(v map[key]string) { check("strings", v, map[key]string{"a": "1", "b": "x"}) }, query("a=1"), `{"b":"x"}`},
		{"anything", func(v map[string]any) { check("anything", v, map[string]any{"a": "2"}) }, query("a=1&a=2"), ""},
		{"lists", func(v map[string][]int) { check("lists", v, map[string][]int{"a": {1, 2}}) }, query("a=1&a=2"), ""},
		{"values", func(v url.Values) { check("values", v, url.Values{"a": {"1", "2"}}) }, query("a=1&a=2"), ""},
		{"number", func(v int) { check("number", v, 5) }, query("a=1"), "5"},
		{"list", func(v []int) { check("list", v, []int{5}) }, query("a=1"), "[5]"},
	}
	for _, test := range tests {
		if _, err := run(t, test.fn, test.h, test.body); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	_, err := run(t, func(map[string]int) {}, query("a=x"), "")
	if err == nil || !strings.Contains(err.Error(), `query parameter "a"`) {
		t.Errorf("error %v, want one that names the parameter", err)
	}
}

// tree would have 7⁶ names if each field were followed.
type tree struct {
	A, B, C, D, E, F, G *tree
	Value               int
	Leaf                struct{ Value int }
}

func TestTypesThatHoldThemselves(t *testing.T) {
	start := time.Now()
	if n := len(newBinding(reflect.TypeFor[tree]()).fields); n > 100 {
		t.Errorf("%d names", n)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
	_, err := run(t, func(v tree) {
		if v.Leaf.Value != 3 || v.Value != 4 {
			t.Errorf("got %+v", v)
		}
	}, fields(wire.KeyQuery, "leaf.value=3&value=4"), "")
	if err != nil {
		t.Error(err)
	}
}

// FuzzInput holds that no body and no parameters make the decoding panic, and
// that what is wrong with them is the caller's fault.
func FuzzInput(f *testing.F) {
	f.Add(`{"Name":"a"}`, "application/json", "count=1&far.geo.lat=2", "id=1")
	f.Add("name=a&raw=%21&tags=a&tags=b", "application/x-www-form-urlencoded", "on", "wait=1s")
	f.Add("[", "", "in=x&hidden=x&tagged=5&any=&colours=&ptrptr=", "=")
	f.Add("null", "", "home=&meta=&at=", "public.page=1")
	handlers := []any{func(everything) {}, func(**everything) {}, func(map[string]any) {}, func(any) {}, func(tree) {}, func(map[string][]*colour) {}, func(url.Values) {}}
	f.Fuzz(func(t *testing.T, body, contentType, query, value string) {
		h := fields("Content-Type", contentType, wire.KeyQuery, query, wire.KeyValue, value)
		for _, fn := range handlers {
			if _, err := run(t, fn, h, body); err != nil && codeOf(err) != BadRequest {
				t.Errorf("%T: %s %v", fn, codeOf(err), err)
			}
		}
	})
}
