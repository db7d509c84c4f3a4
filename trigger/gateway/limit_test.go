package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// limitedFixture is a gateway that takes requests from anywhere, whose callers name
// themselves.
type limitedFixture struct {
	*Gateway
	t *testing.T
}

// nameDoor lets everybody in, as whoever they say.
type nameDoor struct{}

func (nameDoor) Enter(r *http.Request, _, _ string, _ manifest.Leave) (Identity, error) {
	return Identity{Account: r.Header.Get("Account")}, nil
}

func (nameDoor) Who(r *http.Request) (Identity, error) {
	return Identity{Account: r.Header.Get("Account")}, nil
}

func (nameDoor) Cookie() string { return "token" }

func startLimited(t *testing.T, functions ...*trigger.Function) *limitedFixture {
	t.Helper()
	f := &limitedFixture{t: t, Gateway: New(Config{
		Invoker: &fake{}, Door: nameDoor{},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})}
	f.update(functions...)
	return f
}

func (f *limitedFixture) update(functions ...*trigger.Function) {
	table := &trigger.Table{Functions: make(map[string]*trigger.Function)}
	for _, fn := range functions {
		table.Functions[fn.Name] = fn
	}
	f.Update(table)
}

func (f *limitedFixture) get(remote, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Method" {
			r.Method = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func limitedTo(fn *trigger.Function, l manifest.Limit) *trigger.Function {
	fn.Manifest.Limit = &l
	return fn
}

// The rates are so slow that nothing comes back during a test.
func TestRequestsOverALimitAreRefused(t *testing.T) {
	const a, b = "198.51.100.1:1", "198.51.100.2:1"
	type req struct {
		remote  string
		headers []string
		want    int
	}
	tests := []struct {
		name string
		l    manifest.Limit
		reqs []req
	}{
		{"of a caller without an account: its address", manifest.Limit{Rate: "2/h", Per: manifest.PerCaller},
			[]req{{a, nil, 200}, {a, nil, 200}, {a, nil, 429}, {b, nil, 200}}},
		{"of a caller with an account: wherever it is", manifest.Limit{Rate: "1/h", Per: manifest.PerCaller},
			[]req{{a, []string{"Account", "ada"}, 200}, {b, []string{"Account", "ada"}, 429}, {a, []string{"Account", "bo"}, 200}, {a, nil, 200}}},
		{"of an address: whoever it is", manifest.Limit{Rate: "1/h", Per: manifest.PerAddress},
			[]req{{a, []string{"Account", "ada"}, 200}, {a, []string{"Account", "bo"}, 429}, {b, []string{"Account", "ada"}, 200}}},
		{"of all", manifest.Limit{Rate: "1/h", Per: manifest.PerAll}, []req{{a, nil, 200}, {b, nil, 429}}},
		{"with a burst", manifest.Limit{Rate: "1/h", Burst: 2, Per: manifest.PerCaller}, []req{{a, nil, 200}, {a, nil, 200}, {a, nil, 429}}},
		{"behind a proxy", manifest.Limit{Rate: "1/h", Per: manifest.PerAddress},
			[]req{{"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.9"}, 200}, {"10.0.0.2:1", []string{"X-Forwarded-For", "1.1.1.1, 198.51.100.9"}, 429},
				{"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.10"}, 200}, {a, []string{"X-Forwarded-For", "198.51.100.11"}, 200}, {a, []string{"X-Forwarded-For", "198.51.100.12"}, 429}}},
		{"of a network of IPv6", manifest.Limit{Rate: "1/h", Per: manifest.PerAddress}, []req{{"[2001:db8::1]:1", nil, 200}, {"[2001:db8::2]:1", nil, 429}, {"[2001:db8:0:1::2]:1", nil, 200}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := startLimited(t, limitedTo(function("orders", ""), test.l))
			for i, r := range test.reqs {
				if resp := f.get(r.remote, "/orders", r.headers...); resp.StatusCode != r.want {
					t.Errorf("request %d is answered with %s, want %d", i, resp.Status, r.want)
				}
			}
		})
	}
}

func TestARefusalSaysWhenToTryAgain(t *testing.T) {
	f := startLimited(t, limitedTo(function("orders", ""), manifest.Limit{Rate: "2/h", Per: manifest.PerCaller}))
	first := f.get("198.51.100.1:1", "/orders")
	if got := first.Header.Get("RateLimit"); got != `"function";r=1;t=1800` {
		t.Errorf("RateLimit: %s", got)
	}
	if got := first.Header.Get("RateLimit-Policy"); got != `"function";q=2;w=3600` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	f.get("198.51.100.1:1", "/orders")
	refused := f.get("198.51.100.1:1", "/orders")
	body := new(strings.Builder)
	refused.Write(body)
	_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
	p := checkProblem(t, refused, text, 429, wire.TooMany)
	if wait := refused.Header.Get("Retry-After"); wait != "1800" || !strings.Contains(p.Detail, "2/h for each caller") {
		t.Errorf("Retry-After: %s, %s", wait, p.Detail)
	}
}

func TestARouteHasALimitBesideThatOfItsFunction(t *testing.T) {
	slow := &manifest.Limit{Rate: "1/h", Per: manifest.PerCaller}
	fn := routed(limitedTo(function("orders", ""), manifest.Limit{Rate: "3/h", Per: manifest.PerCaller}),
		manifest.Route{Path: "/slow", Limit: slow}, manifest.Route{Path: "/free"})
	f := startLimited(t, fn, function("other", ""))
	const a = "198.51.100.1:1"
	for i, step := range []struct {
		path string
		want int
	}{{"/slow", 200}, {"/slow", 429}, {"/free", 200}, {"/orders", 200}, {"/free", 429}, {"/other", 200}, {"/other", 200}} {
		if resp := f.get(a, step.path); resp.StatusCode != step.want {
			t.Errorf("%d: %s is answered with %s, want %d", i, step.path, resp.Status, step.want)
		}
	}
	if h := f.get(a, "/other").Header; h.Get("RateLimit") != "" {
		t.Errorf("a function without a limit tells of one: %v", h)
	}
}

func TestWhatWasCountedStaysWhileTheLimitDoes(t *testing.T) {
	const a = "198.51.100.1:1"
	with := func(rate string) *trigger.Function {
		return routed(limitedTo(function("orders", ""), manifest.Limit{Rate: rate, Per: manifest.PerCaller}))
	}
	f := startLimited(t, with("1/h"))
	f.get(a, "/orders")
	f.update(with("1/h"), function("other", ""))
	if resp := f.get(a, "/orders"); resp.StatusCode != 429 {
		t.Errorf("after an update of something else: %s", resp.Status)
	}
	f.update(with("2/h"))
	if resp := f.get(a, "/orders"); resp.StatusCode != 200 {
		t.Errorf("after another limit: %s", resp.Status)
	}
	f.update(function("orders", ""))
	for range 5 {
		if resp := f.get(a, "/orders"); resp.StatusCode != 200 {
			t.Errorf("without a limit: %s", resp.Status)
		}
	}
}

func TestPreflightsDoNotCountAndRefusalsCanBeRead(t *testing.T) {
	fn := limitedTo(function("orders", ""), manifest.Limit{Rate: "1/h", Per: manifest.PerCaller})
	fn.Manifest.CORS = &manifest.CORS{Origins: []string{"https://example.com"}}
	f := startLimited(t, fn)
	const a = "198.51.100.1:1"
	for range 3 {
		f.get(a, "/orders", "Method", "OPTIONS", "Origin", "https://example.com", "Access-Control-Request-Method", "GET")
	}
	for _, want := range []int{200, 429} {
		resp := f.get(a, "/orders", "Origin", "https://example.com")
		if resp.StatusCode != want || resp.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s %v, want %d", resp.Status, resp.Header, want)
		}
	}
}

func TestEventsOfARouteCountToo(t *testing.T) {
	fn := routed(limitedTo(function("orders", ""), manifest.Limit{Rate: "2/h", Per: manifest.PerCaller}),
		manifest.Route{Path: "/paid", Event: "orders.paid", Limit: &manifest.Limit{Rate: "1/h", Per: manifest.PerCaller}})
	f := startLimited(t, fn)
	for i, step := range []struct {
		path string
		want int
	}{{"/paid", 503}, {"/paid", 429}, {"/orders", 200}, {"/orders", 429}} { // nothing stores events here
		if resp := f.get("198.51.100.1:1", step.path, "Method", "POST"); resp.StatusCode != step.want {
			t.Errorf("%d: %s is answered with %s, want %d", i, step.path, resp.Status, step.want)
		}
	}
}
