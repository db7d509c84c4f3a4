package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/kv/memkv"
)

// realDoor is the door of a host, without one.
type realDoor struct{ a *auth.Authority }

func (d realDoor) Enter(r *http.Request, namespace, resource string) (string, error) {
	token, _ := auth.Given(r)
	if token == "" {
		return "", auth.Refused(nil, namespace, resource)
	}
	id, err := d.a.Verify(r.Context(), token)
	if err != nil {
		return "", err
	}
	if resource == "" {
		return id.Account, nil
	}
	return id.Account, d.a.Allow(id, namespace, resource)
}

// vault keeps signing keys in memory.
type vault struct{ m sync.Map }

func (v *vault) Get(_ context.Context, name string) ([]byte, error) {
	if b, ok := v.m.Load(name); ok {
		return b.([]byte), nil
	}
	return nil, errors.New("no such secret")
}

func (v *vault) Set(_ context.Context, name string, value []byte) error {
	v.m.Store(name, value)
	return nil
}

// spaced is an echo with a second namespace, acme.
type spaced struct {
	echo
	Spaces // nobody asks for
	acme   echo
}

func (s spaced) Space(name string) (Backend, error) {
	if name != "acme" {
		return nil, fmt.Errorf("no namespace %q", name)
	}
	return s.acme, nil
}

func (spaced) Namespaces() []Namespace { return nil }

func (spaced) CreateNamespace(context.Context, NewNamespace) (Namespace, error) {
	return Namespace{}, nil
}

func (spaced) RemoveNamespace(context.Context, string, bool) error { return nil }

func (spaced) LimitNamespace(context.Context, string, NamespaceLimits) (Namespace, error) {
	return Namespace{}, nil
}

// asker is somebody who asks: a role, and what proves it.
type asker struct {
	role  string
	token string
}

// guarded returns a server that asks who comes, its authority, and one of each role; that of
// nobody comes first, and that of root last.
func guarded(t *testing.T) (*Server, *auth.Authority, []asker) {
	t.Helper()
	b, err := memkv.New(memkv.Config{Bucket: "auth"})
	if err != nil {
		t.Fatal(err)
	}
	root, token, err := auth.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.Open(t.Context(), auth.Config{Bucket: b, Secrets: &vault{}, Root: root, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	askers := []asker{{role: nobody}}
	for _, one := range []struct{ role, name, namespace, scope string }{
		{scopeless, "sam", "*", ""}, {viewer, "vera", "*", "viewer"}, {invoker, "ivan", "*", "invoker"},
		{developer, "dora", "*", "developer"}, {administrator, "ada", "*", "admin"}, {tenant, "tom", "acme", "admin"},
	} {
		if _, err := a.CreateAccount(t.Context(), auth.NewAccount{Name: one.name, Namespace: one.namespace, Scopes: []string{one.scope}}); err != nil {
			t.Fatal(err)
		}
		_, secret, err := a.CreateToken(t.Context(), auth.NewToken{Name: "test", Account: one.name})
		if err != nil {
			t.Fatal(err)
		}
		askers = append(askers, asker{one.role, secret})
	}
	hub := logs.NewHub(0)
	api := NewServer(spaced{echo: echo{hub: hub}, acme: echo{hub: hub}}, Options{Door: realDoor{a}, Auth: a, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(api.Close)
	return api, a, append(askers, asker{owner, token})
}

// Roles.
const (
	nobody        = "nobody"
	scopeless     = "an account without scopes"
	viewer        = "viewer"
	invoker       = "invoker"
	developer     = "developer"
	administrator = "admin"
	tenant        = "admin of acme alone"
	owner         = "root"
)

var (
	all      = []string{scopeless, viewer, invoker, developer, administrator, tenant, owner}
	admins   = []string{administrator, owner}
	builders = []string{developer, administrator, owner}
)

// mayDo says which roles may do what to a resource, beside tenants in what is their own. What
// is not here is expected of nobody, and so a new kind or action needs an entry.
var mayDo = map[string][]string{
	"admin:read": {viewer, developer, administrator, owner}, "admin:logs": {viewer, developer, administrator, owner},
	"admin:deploy": builders, "admin:triggers": builders, "admin:replay": builders, "admin:events": builders, "admin:dead": builders, "admin:runs": builders,
	"admin:auth": admins, "admin:namespaces": admins, "admin:backup": admins, "admin:audit": admins,
	"function": {invoker, developer, administrator, owner}, "bucket:read": builders, "bucket:write": builders, "blob:read": builders, "blob:write": builders,
	"config:read": builders, "config:write": builders, "secret:write": builders, "subject:publish": builders,
}

// kindOf returns the key in mayDo of a resource.
func kindOf(resource string) string {
	parts := strings.Split(resource, ":")
	switch parts[0] {
	case "function":
		return "function"
	case "admin", "subject":
		return parts[0] + ":" + parts[1]
	}
	return parts[0] + ":" + parts[len(parts)-1]
}

// ofOthers are the routes that anybody known gets to, and whose handlers let only admins do
// what is asked here: something about somebody else.
var ofOthers = map[string]struct{ path, body string }{
	"GET /v1/auth/check":                   {"/v1/auth/check?resource=admin:read&as=public", ""},
	"GET /v1/tokens":                       {"/v1/tokens?all=true", ""},
	"POST /v1/tokens":                      {"/v1/tokens", `{"name":"other","account":"victim"}`},
	"DELETE /v1/tokens/{id}":               {"/v1/tokens/nosuchtoken1", ""},
	"PATCH /v1/accounts/{account}":         {"/v1/accounts/victim", `{"scopes":["viewer"]}`},
	"DELETE /v1/accounts/{account}/logins": {"/v1/accounts/victim/logins", ""},
}

// wanted returns who is to be let in by a route in a namespace.
func wanted(t *testing.T, r route, namespace string) []string {
	l := leaves[r.pattern]
	switch {
	case l.open:
		return append([]string{nobody}, all...)
	case l.known && ofOthers[r.pattern].path != "":
		return admins
	case l.known:
		return all
	}
	list, ok := mayDo[kindOf(l.resource)]
	if !ok {
		t.Fatalf("%s: this test does not know who may do %s: add it to mayDo", r.pattern, l.resource)
	}
	if namespace == "acme" && !l.host {
		list = append([]string{tenant}, list...)
	}
	return list
}

var pathPart = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// plainPath fills in a pattern; names that end up in resources are such as these.
func plainPath(pattern string) string {
	_, path, _ := strings.Cut(pattern, " ")
	return pathPart.ReplaceAllStringFunc(path, func(part string) string {
		switch strings.Trim(part, "{.}") {
		case "subject":
			return "orders.new"
		case "sequence":
			return "7"
		case "version":
			return "v1"
		}
		return "orders"
	})
}

// letIn reports whether a request got through the door. What comes then is the handler's
// business: one of these backends panics.
func letIn(api *Server, req *http.Request) (in bool, status int) {
	defer func() {
		if recover() != nil {
			in, status = true, 0
		}
	}()
	ctx, cancel := context.WithTimeout(req.Context(), 10*time.Second)
	defer cancel()
	w := httptest.NewRecorder()
	api.ServeHTTP(w, req.WithContext(ctx))
	return w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden, w.Code
}

// Each route lets in whom the roles say, in the default namespace and in another one.
func TestRoutesLetInWhoMay(t *testing.T) {
	api, _, askers := guarded(t)
	for _, namespace := range []string{"default", "acme"} {
		for _, r := range api.routes() {
			want := wanted(t, r, namespace)
			for _, who := range askers {
				method, _, _ := strings.Cut(r.pattern, " ")
				path, body := plainPath(r.pattern), "{}"
				if other := ofOthers[r.pattern]; other.path != "" {
					path, body = other.path, other.body
				}
				req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
				req.Header.Set(HeaderNamespace, namespace)
				if who.token != "" {
					req.Header.Set("Authorization", "Bearer "+who.token)
				}
				in, status := letIn(api, req)
				if in != slices.Contains(want, who.role) && !ownAnswer(r.pattern, status) {
					t.Errorf("%s in %s: %s is let in: %v (status %d), want those of %v", r.pattern, namespace, who.role, in, status, want)
				}
				if who.role == nobody && !in && status != http.StatusUnauthorized {
					t.Errorf("%s in %s: nobody is answered %d, want 401", r.pattern, namespace, status)
				}
				if who.role != nobody && !in && status != http.StatusForbidden && !ownAnswer(r.pattern, status) {
					t.Errorf("%s in %s: %s is answered %d, want 403", r.pattern, namespace, who.role, status)
				}
			}
		}
	}
}

// ownAnswer reports whether a handler itself answers so: these tell of what they are given
// that it proves nothing.
func ownAnswer(pattern string, status int) bool {
	return (pattern == "POST /v1/login" || pattern == "POST /v1/refresh") && status == http.StatusUnauthorized
}

// A route without an entry answers nobody, and an entry without a route is a mistake.
func TestLeavesAndRoutesAreTheSame(t *testing.T) {
	api, _, _ := guarded(t)
	known := make(map[string]bool)
	for _, r := range api.routes() {
		known[r.pattern] = true
		if _, ok := leaves[r.pattern]; !ok {
			t.Errorf("%s has no entry in leaves: it answers nobody", r.pattern)
		}
	}
	for pattern := range leaves {
		if !known[pattern] {
			t.Errorf("leaves has %s, which is no route", pattern)
		}
	}
}

// What routes ask for is something that rules can be about.
func TestTargetsAreResources(t *testing.T) {
	for pattern, l := range leaves {
		if l.open || l.known {
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		var got string
		mux := http.NewServeMux()
		mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { got = l.target(r) })
		query := ""
		if strings.Contains(l.resource, "{?") {
			query = "?function=orders"
		}
		for _, q := range []string{query, ""} {
			got = ""
			mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, plainPath(pattern)+q, nil))
			if err := rules.CheckTarget(got); err != nil {
				t.Errorf("%s: %q asks for %v", pattern, path+q, err)
			}
		}
	}
}

// What is the host's own is checked as such, whatever the namespace of who asks about it.
func TestChecksAskWhereRoutesDo(t *testing.T) {
	api, _, askers := guarded(t)
	tests := []struct {
		role, resource, namespace string
		want                      string
	}{
		{administrator, "admin:auth", "default", `"allowed":true`},
		{tenant, "admin:auth", "acme", `"allowed":false`},
		{tenant, "admin:deploy", "acme", `"allowed":true`},
		{tenant, "admin:deploy", "default", `"allowed":false`},
		{developer, "admin:backup", "default", `"allowed":false`},
	}
	for _, test := range tests {
		i := slices.IndexFunc(askers, func(a asker) bool { return a.role == test.role })
		req := httptest.NewRequest(http.MethodGet, "/v1/auth/check?resource="+test.resource, nil)
		req.Header.Set(HeaderNamespace, test.namespace)
		req.Header.Set("Authorization", "Bearer "+askers[i].token)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, req)
		if !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s of %s in %s: %s, want %s", test.role, test.resource, test.namespace, w.Body, test.want)
		}
	}
}

// What is the host's own is asked for as such everywhere, and who may only look changes nothing.
func TestLeavesFitTheirRoutes(t *testing.T) {
	hosts := []string{"admin:auth", "admin:namespaces", "admin:backup", "admin:audit"}
	for pattern, l := range leaves {
		if slices.Contains(hosts, l.resource) != l.host {
			t.Errorf("%s asks for %s, of the host as a whole: %v", pattern, l.resource, l.host)
		}
		looks := strings.HasSuffix(l.resource, "read") || l.resource == "admin:logs"
		if looks && !strings.HasPrefix(pattern, "GET ") {
			t.Errorf("%s changes something, and asks for %s", pattern, l.resource)
		}
	}
}
