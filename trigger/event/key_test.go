package event

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
)

const structured = `{"specversion":"1.0","partitionkey":"pk","data":{"id":7,"a":{"b":"deep"}}}`

func cloudEvent(data string) *nats.Msg {
	return &nats.Msg{Subject: "a.b", Header: nats.Header{"content-type": {"application/cloudevents+json; charset=utf-8"}}, Data: []byte(data)}
}

func TestKeyOfAnEvent(t *testing.T) {
	plain := &nats.Msg{Subject: "orders.eu.17", Header: nats.Header{"X-Customer": {"ada", "bob"}, "ce-PartitionKey": {"p"}},
		Data: []byte(`{"skip":{"id":1,"deep":[{"id":2}]},"id":3,"name":"ada","ok":true,"no":null,"list":[1],"order":{"customer":{"id":"c 7"}},"big":12345678901234567890,"esc":"\u0061"}`)}
	tests := []struct {
		key  string
		m    *nats.Msg
		want string
	}{
		{"subject", plain, "orders.eu.17"},
		{"", plain, "orders.eu.17"}, // of a manifest that was stored before there were keys
		{"subject.1", plain, "orders"},
		{"subject.3", plain, "17"},
		{"subject.4", plain, ""},
		{"header.x-customer", plain, "ada"},
		{"header.X-Customer", plain, "ada"},
		{"header.other", plain, ""},
		{"header.ce-partitionkey", plain, "p"},
		{"header.ce-partitionkey", cloudEvent(structured), "pk"},
		{"header.ce-other", cloudEvent(structured), ""},
		{"data.id", plain, "3"},
		{"data.name", plain, "ada"},
		{"data.esc", plain, "a"},
		{"data.ok", plain, "true"},
		{"data.big", plain, "12345678901234567890"},
		{"data.order.customer.id", plain, "c 7"},
		{"data.no", plain, ""},
		{"data.list", plain, ""},
		{"data.order", plain, ""},
		{"data.name.first", plain, ""},
		{"data.list.id", plain, ""},
		{"data.missing", plain, ""},
		{"data.id", cloudEvent(structured), "7"},
		{"data.a.b", cloudEvent(structured), "deep"},
		{"data.partitionkey", cloudEvent(structured), ""},
		{"data.id", &nats.Msg{Data: []byte("no JSON")}, ""},
		{"data.id", &nats.Msg{Data: []byte(`{"x":{"id":`)}, ""},
		{"data.id", &nats.Msg{}, ""},
		{"data.id", &nats.Msg{Data: []byte(`{"id":"` + strings.Repeat("a", 257) + `"}`)}, fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Repeat("a", 257))))},
	}
	for _, test := range tests {
		k := newKeyer(test.key)
		if got := k.of(test.m); got != test.want {
			t.Errorf("%s of %s is %q, want %q", test.key, test.m.Data, got, test.want)
		}
	}
}

func TestFilterMatches(t *testing.T) {
	m := &nats.Msg{Header: nats.Header{"Region": {"us", "eu"}}, Data: []byte(`{"order":{"status":"paid","paid":true},"n":3,"s":"3","null":null}`)}
	header := func(name string, values ...string) *manifest.Filter {
		return &manifest.Filter{Header: map[string][]string{name: values}}
	}
	data := func(path string, values ...any) *manifest.Filter {
		return &manifest.Filter{Data: map[string][]any{path: values}}
	}
	tests := []struct {
		name string
		spec *manifest.Filter
		m    *nats.Msg
		want bool
	}{
		{"a header", header("region", "eu"), m, true},
		{"any of a list", header("Region", "asia", "us"), m, true},
		{"another value", header("Region", "asia"), m, false},
		{"no such header", header("Kind", "eu"), m, false},
		{"no headers", header("Region", "eu"), &nats.Msg{}, false},
		{"a field", data("order.status", "paid"), m, true},
		{"any of a list of fields", data("order.status", "sent", "paid"), m, true},
		{"a truth", data("order.paid", true), m, true},
		{"an untruth", data("order.paid", false), m, false},
		{"a number", data("n", 3.0), m, true},
		{"another number", data("n", 4.0), m, false},
		{"a number as text", data("n", "3"), m, false},
		{"text as a number", data("s", 3.0), m, false},
		{"no such field", data("order.total", 3.0), m, false},
		{"null", data("null", "null"), m, false},
		{"no JSON", data("n", 3.0), &nats.Msg{Data: []byte("n=3")}, false},
		{"no JSON behind the field", data("n", 3.0), &nats.Msg{Data: []byte(`{"n":3} and more`)}, false},
		{"inside a CloudEvent", data("id", 7.0), cloudEvent(structured), true},
		{"beside the data of a CloudEvent", data("partitionkey", "pk"), cloudEvent(structured), false},
		{"all hold", &manifest.Filter{Header: map[string][]string{"Region": {"eu"}}, Data: map[string][]any{"n": {3.0}, "s": {"3"}}}, m, true},
		{"one does not", &manifest.Filter{Header: map[string][]string{"Region": {"eu"}}, Data: map[string][]any{"n": {3.0}, "s": {"4"}}}, m, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := newFilter(test.spec).matches(test.m); got != test.want {
				t.Errorf("matches %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzField(f *testing.F) {
	f.Add([]byte(structured), "a")
	f.Add([]byte(`{"a":[{"b":1},{}],"b":{"a":2}}`), "b")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		keyText(field(data, []string{name, "a"}))
	})
}
