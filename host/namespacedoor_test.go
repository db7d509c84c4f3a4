package host_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
)

// Who is of one namespace gets into that one, and learns nothing of others.
func TestWhoIsOfANamespace(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth, c.GitPush = nil, "127.0.0.1:0", true, true })
	for _, name := range []string{"acme", "globex"} {
		named(t, f.make(name, host.Limits{}))
	}
	_, token, err := f.Auth().CreateToken(t.Context(), auth.NewToken{Name: "ci", Account: auth.RootAccount, Namespace: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		namespace string
		want      error
	}{{"acme", nil}, {"", functions.ErrForbidden}, {"globex", functions.ErrForbidden}, {"nobody", functions.ErrNotFound}} {
		c, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: token, Namespace: test.namespace})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Functions(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("functions of %q: %v, want %v", test.namespace, err, test.want)
		}
		if _, err := c.Namespaces(t.Context()); !errors.Is(err, functions.ErrForbidden) {
			t.Errorf("the namespaces: %v", err)
		}
	}
	for path, want := range map[string]int{
		"/git/@acme/hello.git": 200, "/git/hello.git": 403, "/git/@globex/hello.git": 403, "/git/@/hello.git": 403, "/git/@nobody/hello.git": 403,
		"/git//@globex/hello.git": 403, "/git/%40globex/hello.git": 403,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", f.Info().Admin+path+"/info/refs?service=git-receive-pack", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("ci", token)
		req.Header.Set("X-Fn-Namespace", "acme") // which says nothing of a repository
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
	for path, want := range map[string]int{"/@acme/who": 200, "/@globex/who": 403, "/who": 403} {
		if status, body, _ := f.do("GET", path, "", "Authorization", "Bearer "+token); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	if status, body, _ := f.do("GET", "/@acme/who", ""); status != 401 {
		t.Errorf("without a token: %d %s", status, body)
	}
}

// The next namespace of a name is not that of who had the last one.
func TestWhoWasOfARemovedNamespaceIsNobody(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Auth = nil, true })
	named(t, f.make("acme", host.Limits{}))
	a, ctx := f.Auth(), t.Context()
	if _, err := a.CreateAccount(ctx, auth.NewAccount{Name: "bob", Namespace: "acme", Password: doorPassword, Scopes: []string{"invoker"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateAccount(ctx, auth.NewAccount{Name: "ada", Password: doorPassword}); err != nil {
		t.Fatal(err)
	}
	l, err := a.Login(ctx, "bob", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := a.CreateToken(ctx, auth.NewToken{Name: "ci", Account: auth.RootAccount, Namespace: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddRule(ctx, rules.Rule{Namespace: "acme", Resource: "function:>", Scope: "public", Access: rules.Grant}); err != nil {
		t.Fatal(err)
	}
	f.await("the rule holds", func() bool { status, _, _ := f.do("GET", "/@acme/who", ""); return status == 200 })
	if err := f.RemoveNamespace(ctx, "acme", true); err != nil {
		t.Fatal(err)
	}
	named(t, f.make("acme", host.Limits{}))
	for about, given := range map[string]string{"nobody": "", "bob": l.Access, "a token": token} {
		if status, body, _ := f.do("GET", "/@acme/who", "", "Authorization", "Bearer "+given); status != 401 {
			t.Errorf("%s: %d %s", about, status, body)
		}
	}
	if _, err := a.Login(ctx, "ada", doorPassword); err != nil {
		t.Errorf("who is of all namespaces: %v", err)
	}
}
