package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestPathsNameFunctionAndEndpoint(t *testing.T) {
	f := start(t, nil, function("f", "", "create"), function("rootless", "only"))
	f.await = func(_ context.Context, name string) (*trigger.Function, error) {
		if name == "late" {
			return function("late", ""), nil
		}
		return nil, wire.Errorf(wire.NoFunction, "no function %q", name)
	}
	tests := []struct{ path, function, endpoint, uri, prefix string }{
		{"/f", "f", "", "/", "/f"},
		{"/f/", "f", "", "/", "/f"},
		{"/f/x/y", "f", "", "/x/y", "/f"},
		{"/f/x/", "f", "", "/x/", "/f"},
		{"/f/create", "f", "create", "/", "/f/create"},
		{"/f/create/", "f", "create", "/", "/f/create"},
		{"/f/create/rest/of", "f", "create", "/rest/of", "/f/create"},
		{"/f/created", "f", "", "/created", "/f"},
		{"/f/a%2Fb%20c", "f", "", "/a%2Fb%20c", "/f"},
		{"/f/create/%2e%2e", "f", "create", "/%2e%2e", "/f/create"},
		{"/f//x", "f", "", "//x", "/f"},
		{"/f/?a=1&b=%20", "f", "", "/?a=1&b=%20", "/f"},
		{"/f?a=1", "f", "", "/?a=1", "/f"},
		{"/rootless/only", "rootless", "only", "/", "/rootless/only"},
		{"/rootless/other/x", "rootless", "other", "/other/x", ""}, // for the invoker to refuse
		{"/late/x", "late", "", "/x", "/late"},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			if resp, body := f.get(t, test.path); resp.StatusCode != 200 {
				t.Fatalf("status %d: %s", resp.StatusCode, body)
			}
			inv := f.invocation()
			if inv.Function != test.function || inv.Endpoint != test.endpoint || inv.Trigger != trigger.HTTP {
				t.Errorf("invocation of %q, endpoint %q, by %q", inv.Function, inv.Endpoint, inv.Trigger)
			}
			if got := inv.Header.Get(wire.KeyURI); got != test.uri {
				t.Errorf("uri %q, want %q", got, test.uri)
			}
			if got := inv.Header.Get("X-Forwarded-Prefix"); got != test.prefix {
				t.Errorf("prefix %q, want %q", got, test.prefix)
			}
			if _, query, _ := strings.Cut(test.uri, "?"); inv.Header.Get(wire.KeyQuery) != query {
				t.Errorf("query %q, want %q", inv.Header.Get(wire.KeyQuery), query)
			}
		})
	}
	for _, path := range []string{"/", "//", "/nobody", "/%66", "/nobody/f"} {
		resp, body := f.get(t, path)
		checkProblem(t, resp, body, 404, wire.NoFunction)
	}
}

func TestRoutesOfManifests(t *testing.T) {
	f := start(t, nil,
		routed(function("shop", "", "create"),
			manifest.Route{Path: "/shops/{id}/items/{item}", Methods: []string{"GET"}},
			manifest.Route{Path: "/shops/{id}/items/{item}", Methods: []string{"PUT", "PATCH"}, Endpoint: "create"},
			manifest.Route{Path: "/files/{path...}"},
			manifest.Route{Path: "/tree/"},
			manifest.Route{Path: "/exact/{$}"},
			manifest.Route{Path: "/nobody", Endpoint: "missing"},
		),
		routed(function("hosted", ""), manifest.Route{Path: "/", Host: "api.test"}),
	)
	tests := []struct {
		method, path, host, function, endpoint, uri string
		values                                      []string
	}{
		{"GET", "/shops/7/items/a%2Fb?q=1", "", "shop", "", "/shops/7/items/a%2Fb?q=1", []string{"id=7", "item=a/b"}},
		{"HEAD", "/shops/7/items/x", "", "shop", "", "/shops/7/items/x", []string{"id=7", "item=x"}},
		{"PATCH", "/shops/7/items/x", "", "shop", "create", "/shops/7/items/x", []string{"id=7", "item=x"}},
		{"DELETE", "/files/a/b/c", "", "shop", "", "/files/a/b/c", []string{"path=a/b/c"}},
		{"GET", "/tree/x", "", "shop", "", "/tree/x", nil},
		{"GET", "/exact/", "", "shop", "", "/exact/", nil},
		{"GET", "/nobody", "", "shop", "missing", "/nobody", nil},
		{"GET", "/any/thing", "api.test", "hosted", "", "/any/thing", nil},
		{"GET", "/shops/7/items/x", "api.test", "hosted", "", "/shops/7/items/x", nil},
		{"GET", "/shop/create/x", "", "shop", "create", "/x", nil},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.host+test.path, func(t *testing.T) {
			var headers []string
			if test.host != "" {
				headers = []string{"Host", test.host}
			}
			if resp, body := f.do(t, f.request(t, test.method, test.path, nil, headers...)); resp.StatusCode != 200 {
				t.Fatalf("status %d: %s", resp.StatusCode, body)
			}
			inv := f.invocation()
			var values []string
			for key, value := range inv.Header.All() {
				if key == wire.KeyValue {
					values = append(values, value)
				}
			}
			if inv.Function != test.function || inv.Endpoint != test.endpoint || inv.Header.Get(wire.KeyURI) != test.uri || !slices.Equal(values, test.values) {
				t.Errorf("invocation of %s, endpoint %q, uri %q, values %q", inv.Function, inv.Endpoint, inv.Header.Get(wire.KeyURI), values)
			}
			if inv.Header.Get(wire.KeyMethod) != test.method {
				t.Errorf("method %q", inv.Header.Get(wire.KeyMethod))
			}
		})
	}
	resp, body := f.do(t, f.request(t, "DELETE", "/shops/7/items/x", nil))
	checkProblem(t, resp, body, 405, wire.NoMethod)
	if got := resp.Header.Get("Allow"); got != "GET, HEAD, PATCH, PUT" {
		t.Errorf("Allow %q", got)
	}
	if resp, _ := f.get(t, "/exact/more"); resp.StatusCode != 404 {
		t.Errorf("status %d below an exact route", resp.StatusCode)
	}
	if resp, _ := f.get(t, "/tree?a=1"); resp.StatusCode/100 != 3 || resp.Header.Get("Location") != "/tree/?a=1" {
		t.Errorf("status %d, location %q; want a redirect to /tree/", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func TestRoutesThatConflictAreLeftOut(t *testing.T) {
	f := start(t, nil,
		routed(function("b", ""),
			manifest.Route{Path: "/x/{id}", Methods: []string{"GET", "POST"}}, // GET is a's
			manifest.Route{Path: "/{any}/y"},                                  // overlaps
			manifest.Route{Path: "/b-only"},
		),
		routed(function("a", ""), manifest.Route{Path: "/x/{name}", Methods: []string{"GET"}}),
	)
	log := f.log.String()
	if n := strings.Count(log, "a route is left out"); n != 2 || strings.Contains(log, "function=a") || !strings.Contains(log, "function=b route=/x/{id}") {
		t.Errorf("log: %s", log)
	}
	for _, test := range []struct{ method, path, function string }{
		{"GET", "/x/1", "a"}, {"POST", "/x/1", "b"}, {"GET", "/b-only", "b"}, {"GET", "/a", "a"}, {"GET", "/b/y", "b"},
	} {
		resp, _ := f.do(t, f.request(t, test.method, test.path, nil))
		if inv := f.invocation(); resp.StatusCode != 200 || inv.Function != test.function {
			t.Errorf("%s %s: status %d from %s, want %s", test.method, test.path, resp.StatusCode, inv.Function, test.function)
		}
	}
}

func TestUpdateTakesRoutesAway(t *testing.T) {
	f := start(t, nil, routed(function("f", ""), manifest.Route{Path: "/r"}))
	if resp, _ := f.get(t, "/r"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	f.gateway.Update(&trigger.Table{Functions: map[string]*trigger.Function{}})
	for _, path := range []string{"/r", "/f"} {
		if resp, _ := f.get(t, path); resp.StatusCode != 404 {
			t.Errorf("%s: status %d after the function was removed", path, resp.StatusCode)
		}
	}
}

func TestRoutesOfFunctionsThatAreBeingBuilt(t *testing.T) {
	f := start(t, nil)
	f.gateway.Update(&trigger.Table{Pending: map[string][]manifest.Route{"late": {{Path: "/soon/{id}", Endpoint: "e"}}}})
	ready := false
	f.await = func(_ context.Context, name string) (*trigger.Function, error) {
		if !ready {
			return nil, &trigger.NotReady{Function: name, Title: "x", Detail: "x"}
		}
		return function(name, "e"), nil
	}
	resp, body := f.get(t, "/soon/1")
	checkProblem(t, resp, body, 503, wire.Unavailable)
	ready = true
	if resp, _ := f.get(t, "/soon/1"); resp.StatusCode != 200 || f.invocation().Endpoint != "e" {
		t.Errorf("status %d, %+v", resp.StatusCode, f.invocation())
	}
	f.await = func(context.Context, string) (*trigger.Function, error) { return nil, context.DeadlineExceeded }
	resp, body = f.get(t, "/soon/1")
	checkProblem(t, resp, body, 503, wire.Unavailable)
}

func TestMountedUnderAPrefix(t *testing.T) {
	f := start(t, nil, routed(function("f", "", "create"), manifest.Route{Path: "/tree/"}))
	mux := http.NewServeMux()
	mux.Handle("/fn/", http.StripPrefix("/fn", f.gateway))
	f.server.Config.Handler = mux
	srv := httptest.NewServer(mux)
	defer srv.Close()
	f.server.URL = srv.URL
	for _, test := range []struct{ path, uri, prefix string }{
		{"/fn/f", "/", "/fn/f"},
		{"/fn/f/create/a%2Fb?q=1", "/a%2Fb?q=1", "/fn/f/create"},
		{"/fn/tree/x", "/tree/x", "/fn"},
	} {
		resp, _ := f.get(t, test.path, "X-Forwarded-Prefix", "/spoofed")
		h := f.invocation().Header
		if resp.StatusCode != 200 || h.Get(wire.KeyURI) != test.uri || h.Get("X-Forwarded-Prefix") != test.prefix {
			t.Errorf("%s: status %d, uri %q, prefix %q", test.path, resp.StatusCode, h.Get(wire.KeyURI), h.Get("X-Forwarded-Prefix"))
		}
	}
	if resp, _ := f.get(t, "/fn/tree?a=1"); resp.Header.Get("Location") != "/fn/tree/?a=1" {
		t.Errorf("redirect to %q, want /fn/tree/?a=1", resp.Header.Get("Location"))
	}
	if resp, _ := f.get(t, "/fn/"); resp.StatusCode != 404 {
		t.Errorf("status %d at the mount itself", resp.StatusCode)
	}
}
