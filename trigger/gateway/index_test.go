package gateway

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestIndex(t *testing.T) {
	f := start(t, nil)
	hello := function("hello", "", "bye")
	hello.Doc = "Says <hello>.\nAnd more."
	f.gateway.Update(&trigger.Table{Functions: map[string]*trigger.Function{"hello": hello}, Pending: map[string][]manifest.Route{"late": nil}})
	resp, body := f.get(t, "/", "Accept", "text/html")
	if p := checkProblem(t, resp, body, 404, wire.NoFunction); strings.Contains(p.Detail, "hello") {
		t.Errorf("functions are listed without being asked to: %+v", p)
	}
	f.gateway.cfg.Index = true
	resp, body = f.get(t, "/", "Accept", "application/json")
	if p := checkProblem(t, resp, body, 404, wire.NoFunction); !strings.Contains(p.Detail, "/hello, /hello/bye, /late") {
		t.Errorf("problem %+v", p)
	}
	resp, body = f.get(t, "/", "Accept", "text/html")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, want := range []string{`<a href="/hello">/hello</a><span>Says &lt;hello&gt;.</span>`, `<a href="/hello/bye">`, `<a href="/late">/late</a><span>not ready yet`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s, want %s in it", body, want)
		}
	}
	f.gateway.Update(&trigger.Table{Functions: map[string]*trigger.Function{
		"home": routed(function("home", ""), manifest.Route{Path: "/"}),
	}})
	if resp, body = f.get(t, "/", "Accept", "text/html"); resp.StatusCode != 200 {
		t.Errorf("a route for /: %d %s", resp.StatusCode, body)
	}
}
