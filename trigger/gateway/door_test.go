package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// leaveDoor lets in whom functions let in, and nobody else.
type leaveDoor struct{}

func (leaveDoor) Enter(_ *http.Request, _, _ string, leave manifest.Leave) (Identity, error) {
	if !leave.Public {
		return Identity{}, wire.Errorf(wire.Unauthorized, "who asks?")
	}
	return Identity{}, nil
}

func (leaveDoor) Who(*http.Request) (Identity, error) { return Identity{}, nil }

func (leaveDoor) Cookie() string { return "token" }

// What an old version lets in may be what the one that serves was deployed to keep out, and
// one that was not released may be for nobody yet.
func TestAnotherVersionLetsInNobodyWhomTheOneThatServesKeepsOut(t *testing.T) {
	public, closed := function("orders", ""), function("orders", "")
	public.Manifest.Public = true
	for _, test := range []struct {
		name           string
		serves, asked  *trigger.Function
		version        string
		status, routed int
	}{
		{"closed", closed, closed, "", 401, 200},
		{"public", public, public, "", 200, 200},
		{"an old one was public", closed, public, "v1", 401, 200},
		{"a new one is closed", public, closed, "v2", 401, 200},
		{"both are public", public, public, "v1", 200, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			invoker := &fake{await: func(context.Context, string) (*trigger.Function, error) { return test.asked, nil }}
			g := New(Config{Invoker: invoker, Door: leaveDoor{}})
			serves := *test.serves
			m := *serves.Manifest
			m.Triggers.HTTP = []manifest.Route{{Path: "/open", Public: true}}
			serves.Manifest = &m
			g.Update(&trigger.Table{Functions: map[string]*trigger.Function{"orders": &serves}})
			for path, want := range map[string]int{"/orders": test.status, "/open": test.routed} {
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set(trigger.HeaderVersion, test.version)
				w := httptest.NewRecorder()
				if g.ServeHTTP(w, r); w.Code != want {
					t.Errorf("%s: status %d, want %d: %s", path, w.Code, want, w.Body)
				}
			}
		})
	}
}

func TestAFunctionNeverSeesTheCookieOfTheHost(t *testing.T) {
	fn := function("open", "")
	fn.Manifest.Public = true
	invoker := &fake{}
	g := New(Config{Invoker: invoker, Door: leaveDoor{}})
	g.Update(&trigger.Table{Functions: map[string]*trigger.Function{"open": fn}})
	r := httptest.NewRequest("GET", "/open", nil)
	r.Header.Set("Authorization", "Bearer of.somebody.else") // which is what counts, and so the cookie proves nothing
	r.Header.Set("Cookie", "a=b; token=secret")
	g.ServeHTTP(httptest.NewRecorder(), r)
	if got := invoker.invocation().Header.Get("Cookie"); got != "a=b" {
		t.Errorf("the function gets the cookies %q", got)
	}
}
