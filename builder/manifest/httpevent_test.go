package manifest

import (
	"reflect"
	"strings"
	"testing"
)

func TestRoutesThatStoreEvents(t *testing.T) {
	m, err := Parse(FileName, []byte("triggers:\n  http:\n  - {path: /orders, event: orders.created}\n  - {path: '/orders/{id}/{rest...}', methods: [PUT], event: 'orders.{id}.{rest}'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Route{{Path: "/orders", Event: "orders.created"}, {Path: "/orders/{id}/{rest...}", Methods: []string{"PUT"}, Event: "orders.{id}.{rest}"}}
	if !reflect.DeepEqual(m.Triggers.HTTP, want) {
		t.Errorf("got %+v", m.Triggers.HTTP)
	}
	if got := m.Triggers.HTTP[0].Patterns(); !reflect.DeepEqual(got, []string{"POST /orders"}) {
		t.Errorf("patterns %q", got)
	}
}

func TestMistakesInRoutesThatStoreEvents(t *testing.T) {
	tests := []struct{ name, route, want string }{
		{"no such wildcard", "{path: '/o/{id}', event: 'orders.{idd}'}", "3:30: triggers.http[0].event has the wildcard {idd}, and path has none of that name (write {id})"},
		{"a wildcard and a path without", "{path: /o, event: 'orders.{id}'}", "has the wildcard {id}, and path has none of that name"},
		{"a wildcard first", "{path: '/o/{id}', event: '{id}.a'}", "must not begin with a wildcard of the path"},
		{"a part of a part", "{path: '/o/{id}', event: 'orders.x{id}'}", "must have a wildcard of the path as a whole part"},
		{"a wildcard of NATS", "{path: /o, event: 'orders.*'}", "must be one subject, without * and >"},
		{"an empty part", "{path: /o, event: 'orders..a'}", "must not have an empty part"},
		{"a subject of the host", "{path: /o, event: fn.orders}", "must not begin with fn."},
		{"another one of the host", "{path: /o, event: later.due}", "must not begin with later."},
		{"a subject of the server", "{path: /o, event: $JS.API}", "must not begin with $"},
		{"spaces", "{path: /o, event: 'a b'}", "must not have spaces"},
		{"an endpoint, too", "{path: /o, endpoint: create, event: orders.a}", "cannot be with endpoint"},
		{"no text", "{path: /o, event: 7}", "must be text, not 7"},
		{"nothing", "{path: /o, event: }", "has no value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse(FileName, []byte("triggers:\n  http:\n  - "+test.route+"\n"))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), ":3:") {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
