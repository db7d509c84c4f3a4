package examples_test

import (
	"encoding/json"
	"strings"
	"testing"
)

const threeApples = `{"id":"3-apple","item":"apple","quantity":3,"cents":120}`

func testPrices(t *testing.T, r *running) {
	r.http(t, "GET", "/prices?item=bread", nil).want(t, 200, `{"item":"bread","cents":320}`)
	r.http(t, "GET", "/prices?item=anvil", nil).want(t, 404, `\"anvil\" is not for sale`)
	if m := r.nats(t, "fn.prices", []byte(`{"item":"apple"}`)); string(m.Data) != `{"item":"apple","cents":40}` {
		t.Errorf("NATS: %s", m.Data)
	}
}

func testOrders(t *testing.T, r *running) {
	t.Run("HTTP", func(t *testing.T) { testOrdersOverHTTP(t, r) })
	t.Run("NATS", func(t *testing.T) { testOrdersOverNATS(t, r) })
	t.Run("refused", func(t *testing.T) { testOrdersRefused(t, r) })
}

func testOrdersOverHTTP(t *testing.T, r *running) {
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"create", "POST", "/orders/create", `{"item":"apple","quantity":3}`, 201, threeApples},
		{"create by parameters", "POST", "/orders/create?item=apple&quantity=3", ``, 201, threeApples},
		{"create by a route", "POST", "/api/orders", `{"item":"apple","quantity":3}`, 201, threeApples},
		{"get", "GET", "/orders/get?id=3-apple", ``, 200, threeApples},
		{"get by a route", "GET", "/api/orders/3-apple", ``, 200, threeApples},
		{"list", "GET", "/orders/list?id=3-apple", ``, 200, "[" + threeApples + "]"},
		{"list by a route", "GET", "/api/orders?id=3-apple", ``, 200, "[" + threeApples + "]"},
		{"list filtered", "GET", "/api/orders?id=1-bread&id=3-apple&item=apple", ``, 200, "[" + threeApples + "]"},
		{"list limited", "GET", "/api/orders?id=3-apple&id=1-bread&id=2-bread&limit=1", ``, 200, "[" + threeApples + "]"},
		{"list of nothing", "GET", "/api/orders", ``, 200, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := r.http(t, test.method, test.path, []byte(test.body))
			if a.status != test.status || string(a.body) != test.want || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s %s, want %d %s", a.status, a.header.Get("Content-Type"), a.body, test.status, test.want)
			}
		})
	}
}

func testOrdersOverNATS(t *testing.T, r *running) {
	m := r.nats(t, "fn.orders.create", []byte(`{"item":"apple","quantity":3}`))
	if string(m.Data) != threeApples || m.Header.Get("Fn-Status") != "201" {
		t.Errorf("create: %v %s", m.Header, m.Data)
	}
	var created struct{ ID string }
	if err := json.Unmarshal(m.Data, &created); err != nil {
		t.Fatal(err)
	}
	if m := r.nats(t, "fn.orders.get", []byte(`{"id":"`+created.ID+`"}`)); string(m.Data) != threeApples {
		t.Errorf("get: %s", m.Data)
	}
	if m := r.nats(t, "fn.orders.list", []byte(`{"id":["1-bread","3-apple"],"item":"apple"}`)); string(m.Data) != "["+threeApples+"]" {
		t.Errorf("list: %s", m.Data)
	}
}

// Errors are problem documents over HTTP, and headers over NATS.
func testOrdersRefused(t *testing.T, r *running) {
	tests := []struct {
		name, method, path, body string
		status                   int
		code, detail             string
	}{
		{"no such order", "GET", "/api/orders/nine", ``, 404, "not_found", `no order "nine"`},
		{"order of an unknown item", "GET", "/api/orders/1-anvil", ``, 404, "not_found", `"anvil" is not for sale`},
		{"unknown item", "POST", "/orders/create", `{"item":"anvil","quantity":1}`, 422, "unprocessable", `"anvil" is not for sale`},
		{"quantity out of range", "POST", "/orders/create", `{"item":"apple"}`, 422, "unprocessable", "want 1 to 1000"},
		{"not JSON", "POST", "/orders/create", `{"item":`, 400, "bad_request", "line 1, column"},
		{"JSON of another type", "POST", "/orders/create", `{"quantity":"three"}`, 400, "bad_request", `"quantity"`},
		{"parameter of another type", "GET", "/orders/list?limit=few", ``, 400, "bad_request", `query parameter "limit"`},
		{"limit out of range", "GET", "/api/orders?limit=-1", ``, 400, "bad_request", "limit -1"},
		{"wrong method", "DELETE", "/api/orders/3-apple", ``, 405, "no_method", "GET"},
		{"no root endpoint", "GET", "/orders", ``, 404, "no_function", "create, get, list"},
		{"misspelled endpoint", "POST", "/orders/creat", ``, 404, "no_function", `did you mean "create"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := r.http(t, test.method, test.path, []byte(test.body))
			var p struct {
				Status       int
				Code, Detail string
			}
			if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %s %s: want a problem document", a.status, a.header.Get("Content-Type"), a.body)
			}
			if a.status != test.status || p.Status != test.status || p.Code != test.code || !strings.Contains(p.Detail, test.detail) {
				t.Errorf("%d %+v, want %d %s with %s", a.status, p, test.status, test.code, test.detail)
			}
		})
	}
	m := r.natsAny(t, "fn.orders.get", []byte(`{"id":"nine"}`))
	if m.Header.Get("Nats-Service-Error-Code") != "404" || m.Header.Get("Fn-Error") != "not_found" ||
		m.Header.Get("Nats-Service-Error") != `no order "nine"` {
		t.Errorf("NATS: %v %s", m.Header, m.Data)
	}
}
