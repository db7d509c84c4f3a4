package builder

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestDetectCollectsTheCommentsOfTypes(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"f.go": `package f

import "net/url"

// Request asks.
//
// At length.
//
//go:generate no comment
type Request struct {
	// Name is above.
	Name string // and this behind
	A, B int // for two
	Plain int
	secret int // not to be seen

	// Address is where.
	Address *struct {
		Street []struct {
			No int // of the house
		}
	}
	ByName map[string]struct {
		X int /* marks it */
	}
	Base       // Base is embedded.
	*url.URL   // from elsewhere
	Page[int]  // generic
}

func Handle(r Request) {}
`,
		"g.go": `package f

type (
	// Base is a base.
	Base struct{ ID int } // unused

	Page[T any] struct {
		// Items are what there is.
		Items []T
	}
	Colour string // red or green
	Lines []struct{ Count int } // of an order
	Alias = Base

	none struct {
		// Field of an unexported type.
		Field int
	}
)

// V is no type.
var V struct {
	// X is no field of a type.
	X int
}
`,
		"f_test.go": "package f\n\n// Request is a test's.\ntype Other struct{}\n",
	})
	p, err := Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Request": "Request asks.\n\nAt length.", "Request.Name": "Name is above.", "Request.A": "for two", "Request.B": "for two",
		"Request.Address": "Address is where.", "Request.Address.Street.No": "of the house", "Request.ByName.X": "marks it",
		"Request.Base": "Base is embedded.", "Request.URL": "from elsewhere", "Request.Page": "generic",
		"Base": "Base is a base.", "Page.Items": "Items are what there is.", "Colour": "red or green", "Lines": "of an order",
		"none.Field": "Field of an unexported type.",
	}
	if !maps.Equal(p.Docs, want) {
		t.Errorf("got  %q\nwant %q", p.Docs, want)
	}
	if p, err := Detect(writeTree(t, map[string]string{"f.go": "package f\n\ntype T struct{ A int }\n\nfunc Handle() {}\n"})); err != nil || p.Docs != nil {
		t.Errorf("comments of a source without any: %q, %v", p.Docs, err)
	}
}

// What stands between a save and its build: parsing one file of many types, each
// with comments.
func BenchmarkDetect(b *testing.B) {
	var text strings.Builder
	text.WriteString("package f\n\nfunc Handle(in T0) T0 { return in }\n")
	for i := range 20 {
		fmt.Fprintf(&text, "\n// T%d is one of the types.\ntype T%d struct {\n", i, i)
		for j := range 10 {
			fmt.Fprintf(&text, "\t// F%d is a field of some type.\n\tF%d map[string][]int // and of no other\n", j, j)
		}
		text.WriteString("}\n")
	}
	dir := writeTree(b, map[string]string{"f.go": text.String()})
	for b.Loop() {
		if _, err := Detect(dir); err != nil {
			b.Fatal(err)
		}
	}
}
