package host_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

const commented = `package PACKAGE

import "net/url"

// Base is what all have.
type Base struct {
	// ID is given by the shop.
	ID int ` + "`json:\"id\"`" + `
}

// Money is an amount.
type Money struct{ Cents int }

// Order is what somebody wants.
type Order struct {
	Base
	url.URL // of the shop
	Price Money // without tax
	Deposit Money
	Lines []struct {
		Count int // of pieces
	}
	Secret string ` + "`json:\"-\"`" + ` // nobody sees it
}

func Handle(in Order) []Order { return nil }
`

// comments collects the descriptions in s by where they lie.
func comments(s *functions.Schema, place string, to map[string]string) {
	if s == nil {
		return
	}
	if s.Description != "" {
		to[place] = s.Description
	}
	for name, p := range s.Properties {
		comments(p, place+"."+name, to)
	}
	comments(s.Items, place+"[]", to)
}

func checkComments(t *testing.T, raw []byte, root string) {
	t.Helper()
	var s functions.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	got := make(map[string]string)
	comments(&s, "", got)
	want := make(map[string]string)
	for place, text := range map[string]string{"": "Order is what somebody wants.", ".id": "ID is given by the shop.", ".Price": "without tax",
		".Deposit": "Money is an amount.", ".Lines[].Count": "of pieces"} {
		want[root+place] = text
	}
	if !maps.Equal(got, want) {
		t.Errorf("descriptions %q, want %q", got, want)
	}
	if strings.Contains(string(raw), "x-go-") {
		t.Errorf("the schema says where its comments were: %s", raw)
	}
}

func TestCommentsOfTheSourceAreInTheSchemas(t *testing.T) {
	source := func(pkg string) string { return strings.Replace(commented, "PACKAGE", pkg, 1) }
	f := start(t, map[string]string{
		"bare/f.go": source("bare"), "program/f.go": source("main"),
		"module/go.mod": "module example.com/shop/v2\n\ngo 1.26\n", "module/function.yaml": "name: module\n", "module/f.go": source("f"),
	}, nil)
	for round := range 2 { // as built, and as kept by a host before
		for _, name := range []string{"bare", "program", "module"} {
			f.await(name+" has schemas", func() bool {
				s, err := f.Function(name)
				return err == nil && len(s.Endpoints) > 0 && s.Endpoints[0].Request != nil
			})
			s, err := f.Function(name)
			if err != nil {
				t.Fatal(err)
			}
			checkComments(t, s.Endpoints[0].Request, "")
			checkComments(t, s.Endpoints[0].Response, "[]")
		}
		if round == 0 {
			m, err := f.Conn().Request("$SRV.INFO", nil, 5*time.Second)
			var info micro.Info
			if err != nil || json.Unmarshal(m.Data, &info) != nil || len(info.Endpoints) != 3 {
				t.Fatalf("INFO: %v %+v", err, info)
			}
			checkComments(t, []byte(info.Endpoints[0].Metadata["request"]), "")
			if err := f.stop(); err != nil {
				t.Fatal(err)
			}
			f.open(nil)
		}
	}
}

func TestSchemasOfInProcessFunctionsDoNotSayWhereTheirTypesAre(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch = nil })
	if err := f.Handle("inside", func(in struct{ Wait time.Duration }) {}); err != nil {
		t.Fatal(err)
	}
	s, err := f.Function("inside")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"object","properties":{"Wait":{"type":"integer","format":"duration"}},"x-order":["Wait"]}`
	if got := string(s.Endpoints[0].Request); got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}
