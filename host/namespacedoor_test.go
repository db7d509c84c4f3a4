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

// Whoever makes a namespace of the name of one that is gone makes another one.
func TestWhoIsOfANamespaceThatIsGoneIsNotOfTheNextOneOfItsName(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth = nil, "127.0.0.1:0", true })
	a := f.Auth()
	named(t, f.make("acme", host.Limits{}))
	named(t, f.make("globex", host.Limits{}))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets := make(map[string]string)
	for account, namespace := range map[string]string{"ada": "acme", "bob": "globex"} {
		_, err := a.CreateAccount(t.Context(), auth.NewAccount{Name: account, Namespace: namespace, Scopes: []string{"invoker"}, Password: doorPassword})
		must(err)
		_, secrets[account], err = a.CreateToken(t.Context(), auth.NewToken{Name: "ci", Account: account})
		must(err)
	}
	var err error
	_, secrets["root"], err = a.CreateToken(t.Context(), auth.NewToken{Name: "ci", Account: auth.RootAccount, Namespace: "acme"})
	must(err)
	_, err = a.AddRule(t.Context(), rules.Rule{ID: "open", Namespace: "acme", Resource: "function:who", Scope: "public", Access: rules.Grant})
	must(err)
	must(a.AddIssuer(t.Context(), auth.Issuer{Name: "corp", URL: "https://id.example.com", Audience: "x", Namespace: "acme"}))
	must(f.RemoveNamespace(t.Context(), "acme", true))
	named(t, f.make("acme", host.Limits{}))
	for account, want := range map[string]int{"ada": 401, "root": 401, "bob": 403} {
		if status, body, _ := f.do("GET", "/@acme/who", "", "Authorization", "Bearer "+secrets[account]); status != want {
			t.Errorf("%s: %d %s, want %d", account, status, body, want)
		}
	}
	if status, body, _ := f.do("GET", "/@acme/who", ""); status != 401 {
		t.Errorf("nobody: %d %s", status, body)
	}
	if _, err := a.Login(t.Context(), "ada", doorPassword); !errors.Is(err, auth.ErrLogin) {
		t.Errorf("login: %v", err)
	}
	if list := a.Issuers(); len(list) != 0 {
		t.Errorf("issuers %v", list)
	}
	if status, body, _ := f.do("GET", "/@globex/who", "", "Authorization", "Bearer "+secrets["bob"]); status != 200 {
		t.Errorf("another namespace: %d %s", status, body)
	}
}
