package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// stored is what a memory was asked to store.
type stored struct {
	subject string
	header  map[string][]string
	data    string
}

// memory is a Publisher: a stream that stores messages of an ID once.
type memory struct {
	mu   sync.Mutex
	list []stored
	err  func(n int) error // of the n-th, from 0
}

func (m *memory) Store(_ context.Context, subject string, header map[string][]string, data []byte) (string, uint64, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		if err := m.err(len(m.list)); err != nil {
			return "", 0, false, err
		}
	}
	for i, s := range m.list {
		if id := header["Nats-Msg-Id"]; id != nil && reflect.DeepEqual(id, s.header["Nats-Msg-Id"]) {
			return "events", uint64(i + 1), true, nil
		}
	}
	m.list = append(m.list, stored{subject, header, string(data)})
	return "events", uint64(len(m.list)), false, nil
}

// storing serves a function with routes that store events in the memory. It has no
// worker, and nobody invokes it.
func storing(t *testing.T, change func(*manifest.Manifest), routes ...manifest.Route) (*fixture, *memory) {
	m := &memory{}
	fn := routed(function("shop"), routes...)
	if change != nil {
		change(fn.Manifest)
	}
	f := start(t, nil, fn)
	f.gateway.cfg.Publisher = m
	return f, m
}

func TestARouteStoresAnEvent(t *testing.T) {
	f, m := storing(t, nil, manifest.Route{Path: "/orders", Event: "orders.created"}, manifest.Route{Path: "/orders/{id}/{what}", Methods: []string{"PUT"}, Event: "orders.{id}.{what}"})
	resp, body := f.do(t, f.request(t, "POST", "/orders", strings.NewReader(`{"n":1}`), "Content-Type", "application/json", "Idempotency-Key", "k1",
		"Traceparent", "00-1-2-01", "Cookie", "secret", "Authorization", "secret", "Nats-Rollup", "all", "Fn-Depth", "-9", "Ce-Id", "7", "Ce-Source", "/s", "Ce-Type", "t", "Ce-Specversion", "1.0"))
	if resp.StatusCode != 202 || body != `{"stream":"events","sequence":1,"duplicate":false}` || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	want := stored{"orders.created", map[string][]string{"Content-Type": {"application/json"}, "Nats-Msg-Id": {"orders.created k1"}, "traceparent": {"00-1-2-01"},
		"ce-id": {"7"}, "ce-source": {"/s"}, "ce-type": {"t"}, "ce-specversion": {"1.0"}}, `{"n":1}`}
	if !reflect.DeepEqual(m.list[0], want) {
		t.Errorf("stored %+v", m.list[0])
	}
	if _, body := f.do(t, f.request(t, "POST", "/orders", strings.NewReader("again"), "X-Event-Id", "k1")); body != `{"stream":"events","sequence":1,"duplicate":true}` {
		t.Errorf("again: %s", body)
	}
	resp, _ = f.do(t, f.request(t, "PUT", "/orders/a%2Fb/paid", strings.NewReader("")))
	if resp.StatusCode != 202 || m.list[1].subject != "orders.a/b.paid" || m.list[1].data != "" {
		t.Errorf("%d, stored %+v", resp.StatusCode, m.list[1:])
	}
	if _, body := f.do(t, f.request(t, "PUT", "/orders/1/paid", strings.NewReader(""), "Idempotency-Key", "k1")); !strings.Contains(body, `"duplicate":false`) {
		t.Errorf("the same key on another subject: %s", body)
	}
	if f.invocation() != nil {
		t.Error("something was invoked")
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	f, m := storing(t, func(m *manifest.Manifest) { m.Body = 10 }, manifest.Route{Path: "/orders/{id}", Event: "orders.{id}"})
	endless := func() io.Reader { return io.MultiReader(strings.NewReader("12345678901"), strings.NewReader("2")) }
	tests := []struct {
		name, method, path string
		body               io.Reader
		headers            []string
		status             int
		code               wire.Code
	}{
		{"a dot", "POST", "/orders/a.b", nil, nil, 400, wire.BadRequest},
		{"a wildcard", "POST", "/orders/*", nil, nil, 400, wire.BadRequest},
		{"another wildcard", "POST", "/orders/%3E", nil, nil, 400, wire.BadRequest},
		{"a space", "POST", "/orders/a%20b", nil, nil, 400, wire.BadRequest},
		{"a line break", "POST", "/orders/a%0D%0Ab", nil, nil, 400, wire.BadRequest},
		{"a byte that is no text", "POST", "/orders/a%FFb", nil, nil, 400, wire.BadRequest},
		{"another method", "GET", "/orders/a", nil, nil, 405, wire.NoMethod},
		{"a long body", "POST", "/orders/a", strings.NewReader("12345678901"), nil, 413, wire.TooLarge},
		{"a long body of unknown length", "POST", "/orders/a", endless(), nil, 413, wire.TooLarge},
		{"a long ID", "POST", "/orders/a", nil, []string{"X-Event-Id", strings.Repeat("x", 300)}, 400, wire.BadRequest},
		{"no CloudEvent", "POST", "/orders/a", strings.NewReader(`{"id":"1"}`), []string{"Content-Type", "application/cloudevents+json"}, 400, wire.BadRequest},
		{"another version of CloudEvents", "POST", "/orders/a", strings.NewReader("1"), []string{"Ce-Specversion", "0.3", "Ce-Id", "1", "Ce-Source", "/s", "Ce-Type", "t"}, 400, wire.BadRequest},
		{"a CloudEvent without type", "POST", "/orders/a", strings.NewReader("1"), []string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/s"}, 400, wire.BadRequest},
		{"a CloudEvent without source", "POST", "/orders/a", strings.NewReader("1"), []string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t"}, 400, wire.BadRequest},
		{"no JSON", "POST", "/orders/a", strings.NewReader(`{`), []string{"Content-Type", "application/cloudevents+json"}, 400, wire.BadRequest},
		{"no batch", "POST", "/orders/a", strings.NewReader(`{}`), []string{"Content-Type", "application/cloudevents-batch+json"}, 400, wire.BadRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp, body := f.do(t, f.request(t, test.method, test.path, test.body, test.headers...))
			checkProblem(t, resp, body, test.status, test.code)
		})
	}
	m.err = func(int) error { return wire.Errorf(wire.Unavailable, "no stream takes it") }
	resp, body := f.do(t, f.request(t, "POST", "/orders/a", nil))
	if p := checkProblem(t, resp, body, 503, wire.Unavailable); p.Detail != "no stream takes it" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	if len(m.list) > 0 {
		t.Errorf("stored %+v", m.list)
	}
}

const oneOf3 = `{"specversion":"1.0","id":"%d","source":"/s","type":"t","data":%d}`

func batchOf3() string {
	var list []string
	for i := range 3 {
		list = append(list, fmt.Sprintf(oneOf3, i, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestCloudEventsOfARoute(t *testing.T) {
	f, m := storing(t, nil, manifest.Route{Path: "/e", Event: "e.all"})
	one := fmt.Sprintf(oneOf3, 0, 0)
	resp, _ := f.do(t, f.request(t, "POST", "/e", strings.NewReader(one), "Content-Type", "application/cloudevents+json; charset=utf-8"))
	want := stored{"e.all", map[string][]string{"Content-Type": {"application/cloudevents+json; charset=utf-8"}, "Nats-Msg-Id": {"e.all /s 0"}}, one}
	if resp.StatusCode != 202 || !reflect.DeepEqual(m.list, []stored{want}) {
		t.Errorf("%d, stored %+v", resp.StatusCode, m.list)
	}
	if _, body := f.do(t, f.request(t, "POST", "/e", strings.NewReader("0"), "Ce-Specversion", "1.0", "Ce-Id", "0", "Ce-Source", "/s", "Ce-Type", "t")); !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("the same in binary mode: %s", body)
	}
	const batch = "application/cloudevents-batch+json"
	resp, body := f.do(t, f.request(t, "POST", "/e", strings.NewReader(batchOf3()), "Content-Type", batch, "Traceparent", "00-1-2-01"))
	var answer struct{ Events []receipt }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 202 {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
	if want := []receipt{{"events", 1, true}, {"events", 2, false}, {"events", 3, false}}; !reflect.DeepEqual(answer.Events, want) {
		t.Errorf("answer %s", body)
	}
	if len(m.list) != 3 || m.list[2].data != fmt.Sprintf(oneOf3, 2, 2) || m.list[2].header["Content-Type"][0] != "application/cloudevents+json" || m.list[2].header["traceparent"] == nil {
		t.Errorf("stored %+v", m.list)
	}
	if resp, body := f.do(t, f.request(t, "POST", "/e", strings.NewReader("[]"), "Content-Type", batch)); resp.StatusCode != 202 || body != `{"events":[]}` {
		t.Errorf("none: %d %s", resp.StatusCode, body)
	}
}

// Of a batch that cannot be stored to its end the answer says what is; one with
// something wrong in it is not begun.
func TestBatchesThatAreNotStored(t *testing.T) {
	f, m := storing(t, nil, manifest.Route{Path: "/e", Event: "e.all"})
	post := func(body string) (*http.Response, string) {
		return f.do(t, f.request(t, "POST", "/e", strings.NewReader(body), "Content-Type", "application/cloudevents-batch+json"))
	}
	resp, body := post(strings.Replace(batchOf3(), `"id":"2",`, "", 1))
	if p := checkProblem(t, resp, body, 400, wire.BadRequest); !strings.HasPrefix(p.Detail, "event 3 of 3: ") || len(m.list) > 0 {
		t.Errorf("%+v; stored %+v", p, m.list)
	}
	m.err = func(n int) error {
		if n < 2 {
			return nil
		}
		return wire.Errorf(wire.Unavailable, "no room")
	}
	resp, body = post(batchOf3())
	if p := checkProblem(t, resp, body, 503, wire.Unavailable); !reflect.DeepEqual(p.Stored, []receipt{{"events", 1, false}, {"events", 2, false}}) || !strings.Contains(p.Detail, "event 3 of 3 could not be stored") {
		t.Errorf("%+v", p)
	}
	m.err = nil
	if resp, body := post(batchOf3()); resp.StatusCode != 202 || len(m.list) != 3 {
		t.Errorf("again: %d %s, %d stored", resp.StatusCode, body, len(m.list))
	}
}

func TestRoutesOfEventsHaveCORS(t *testing.T) {
	f, m := storing(t, func(m *manifest.Manifest) { m.CORS = &manifest.CORS{Origins: []string{"https://a.example"}} }, manifest.Route{Path: "/e", Event: "e.all"})
	resp, _ := f.do(t, f.request(t, "OPTIONS", "/e", nil, "Origin", "https://a.example", "Access-Control-Request-Method", "POST"))
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
	resp, _ = f.do(t, f.request(t, "POST", "/e", strings.NewReader("x"), "Origin", "https://a.example"))
	if resp.StatusCode != 202 || resp.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || len(m.list) != 1 {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// A route of events serves while its function is being built for the first time.
func TestEventsOfAFunctionThatIsBeingBuilt(t *testing.T) {
	m := &memory{}
	g := New(Config{Invoker: &fake{}, Publisher: m, Logger: slog.New(slog.DiscardHandler)})
	g.Update(&trigger.Table{Pending: map[string][]manifest.Route{"shop": {{Path: "/e", Event: "e.all"}}}})
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("POST", "/e", strings.NewReader("x")))
	if w.Code != 202 || len(m.list) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
