package host_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/auth"
)

// managed is a host that asks who comes, with a namespace acme, and its admin.
func managed(t *testing.T) (*fixture, *admin.Client) {
	t.Helper()
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth, c.PrivateIssuers = nil, "127.0.0.1:0", true, true })
	f.make("acme", host.Limits{})
	c, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: f.FreshToken()})
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

// audited waits for the record of an action, and returns all.
func (f *fixture) audited(until string) []audit.Record {
	f.t.Helper()
	var list []audit.Record
	f.await("the audit tells of "+until, func() bool {
		list = nil
		found := false
		if err := f.Audit(f.t.Context(), audit.Query{Limit: 1000}, func(r audit.Record) error {
			list = append(list, r)
			found = found || r.Action == until
			return nil
		}); err != nil {
			f.t.Fatal(err)
		}
		return found
	})
	return list
}

func TestTheAuditSaysWhatWasChanged(t *testing.T) {
	f, c := managed(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	password, scopes, fewer := doorPassword, []string{"developer", "billing"}, []string{}
	_, err := c.CreateAccount(ctx, admin.AccountRequest{Name: "ada", Scopes: &scopes, Password: &password})
	must(err)
	_, err = c.ChangeAccount(ctx, "ada", admin.AccountRequest{Scopes: &fewer})
	must(err)
	_, err = c.AddRule(ctx, admin.Rule{ID: "pay", Resource: "function:pay", Scope: "billing", Access: "grant", Priority: 7, Namespace: "acme"})
	must(err)
	must(c.RemoveRule(ctx, "pay"))
	token, err := c.CreateToken(ctx, admin.TokenRequest{Name: "ci", Account: auth.RootAccount, Namespace: "acme", Scopes: []string{"viewer"}})
	must(err)
	must(c.RevokeToken(ctx, token.ID))
	_, err = c.AddIssuer(ctx, admin.Issuer{Name: "corp", URL: "https://127.0.0.1:1/oidc", Audience: "fnhost"})
	must(err)
	_, err = c.CreateNamespace(ctx, admin.NewNamespace{Name: "globex", Limits: admin.NamespaceLimits{Functions: 3}})
	must(err)
	_, err = c.LimitNamespace(ctx, "globex", admin.NamespaceLimits{Requests: 9})
	must(err)
	_, err = c.Login(ctx, "ada"+strings.Repeat("x", 100), "no password of anybody")
	if !errors.Is(err, &wire.Error{Code: wire.Unauthorized}) {
		t.Fatal(err)
	}
	l, err := c.Login(ctx, "ada", password)
	must(err)
	l, err = c.Refresh(ctx, l.Refresh)
	must(err)
	if _, err := c.Refresh(ctx, "none"); err == nil {
		t.Fatal("a refresh token that is none is taken")
	}
	key, err := c.RotateKeys(ctx)
	must(err)

	type told struct{ account, action, resource, detail string }
	got := make(map[told]bool)
	for _, r := range f.audited("keys.rotate") {
		got[told{r.Account, r.Action, r.Resource, r.Detail}] = r.OK
		for _, secret := range []string{password, "no password", token.Secret, l.Refresh, l.Access} {
			if strings.Contains(r.Detail+r.Resource+r.Error, secret) {
				t.Errorf("a record has what is confidential: %+v", r)
			}
		}
		if r.Action == "refresh" && r.OK {
			t.Errorf("a refresh is told of: %+v", r)
		}
	}
	for want, ok := range map[told]bool{
		{"root", "accounts", "account:ada", "namespace=* kind=person scopes=billing,developer a new password"}: true,
		{"root", "accounts.set", "account:ada", "no scopes"}:                                                   true,
		{"root", "rules", "rule:pay", "grant function:pay scope=billing priority=7 namespace=acme"}:            true,
		{"root", "rules.remove", "rule:pay", "grant function:pay scope=billing priority=7 namespace=acme"}:     true,
		{"root", "tokens", "token:" + token.ID, "name=ci account=root namespace=acme scopes=viewer"}:           true,
		{"root", "tokens.remove", "token:" + token.ID, "name=ci account=root namespace=acme scopes=viewer"}:    true,
		{"root", "issuers", "issuer:corp", "url=https://127.0.0.1:1/oidc audience=fnhost"}:                     true,
		{"root", "namespaces", "namespace:globex", "functions=3"}:                                              true,
		{"root", "namespaces.limits.set", "namespace:globex", "requests=9"}:                                    true,
		{"", "login", "account:ada" + strings.Repeat("x", 61) + "…", ""}:                                       false,
		{"ada", "login", "account:ada", ""}:                                                                    true,
		{"", "refresh", "refresh", ""}:                                                                         false,
		{"root", "keys.rotate", "key:" + key.ID, ""}:                                                           true,
	} {
		if done, there := got[want]; !there || done != ok {
			t.Errorf("no record of %+v, ok %v; there are %+v", want, ok, got)
		}
	}
}

func TestNamesOfNamespacesThatAreNotThereAreRefused(t *testing.T) {
	f, c := managed(t)
	ctx := t.Context()
	for _, namespace := range []string{"acne", "acme", "default", "*", ""} {
		_, account := c.CreateAccount(ctx, admin.AccountRequest{Name: "a" + strings.Trim(namespace, "*"), Namespace: namespace})
		_, rule := c.AddRule(ctx, admin.Rule{Resource: "function:x", Scope: "viewer", Access: "grant", Namespace: namespace})
		_, token := c.CreateToken(ctx, admin.TokenRequest{Name: "t" + strings.Trim(namespace, "*"), Namespace: namespace})
		for what, err := range map[string]error{"account": account, "rule": rule, "token": token} {
			switch {
			case namespace != "acne":
				if err != nil && !errors.Is(err, functions.ErrConflict) { // the same name, of "" and "*"
					t.Errorf("%s of %q: %v", what, namespace, err)
				}
			case !errors.Is(err, functions.ErrNotFound) || !strings.Contains(err.Error(), "acme"):
				t.Errorf("%s of %q: %v", what, namespace, err)
			}
		}
	}
	if _, err := c.AddIssuer(ctx, admin.Issuer{Name: "corp", URL: "https://127.0.0.1:1", Audience: "fnhost", Namespace: "acne"}); !errors.Is(err, functions.ErrNotFound) {
		t.Errorf("issuer: %v", err)
	}

	// Who is of one namespace is told the same of all others.
	if _, err := f.Auth().CreateAccount(ctx, auth.NewAccount{Name: "tenant", Namespace: "acme", Password: doorPassword, Scopes: []string{"developer"}}); err != nil {
		t.Fatal(err)
	}
	f.make("globex", host.Limits{})
	l, err := f.Auth().Login(ctx, "tenant", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: l.Access, Namespace: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(map[string]bool)
	for _, namespace := range []string{"globex", "globexx", "none"} {
		_, err := tenant.CreateToken(ctx, admin.TokenRequest{Name: "t", Namespace: namespace, Scopes: []string{"viewer"}})
		if err == nil {
			t.Fatalf("a token of %s", namespace)
		}
		answers[err.Error()] = true
	}
	if len(answers) > 1 {
		t.Errorf("a tenant is told %v", answers)
	}
}

func TestAnExportOfAFunctionThatIsNotThereYetSaysSo(t *testing.T) {
	f, c := managed(t)
	named(t, f.make("globex", host.Limits{}))
	for function, missing := range map[string]bool{"who": false, "nobody": true, "nobody/there": true} {
		exported, err := c.Export(t.Context(), admin.Export{From: "globex", To: "acme", Function: function})
		if err != nil || exported.Missing != missing {
			t.Errorf("%s: %+v, %v", function, exported, err)
		}
	}
	if exported, err := c.Export(t.Context(), admin.Export{From: "globex", To: "acme", Subject: "news.>"}); err != nil || exported.Missing {
		t.Errorf("a subject: %+v, %v", exported, err)
	}
}

func TestAnIssuerWhoseKeysCannotBeReadIsTakenWithAWarning(t *testing.T) {
	_, c := managed(t)
	answer := `{"keys":[{"kty":"OKP"}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			w.Write([]byte(answer))
			return
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()
	for _, test := range []struct{ name, jwks, want string }{
		{"good", srv.URL + "/keys", ""},
		{"gone", srv.URL + "/gone", "404"},
		{"closed", "http://127.0.0.1:1/keys", "refused"},
		{"discovered", "", "404"},
	} {
		added, err := c.AddIssuer(t.Context(), admin.Issuer{Name: test.name, URL: srv.URL + "/" + test.name, JWKS: test.jwks, Audience: "fnhost"})
		if err != nil || added.Name != test.name || (added.Warning == "") != (test.want == "") || !strings.Contains(added.Warning, test.want) {
			t.Errorf("%s: %+v, %v; want %q", test.name, added, err, test.want)
		}
	}
	list, err := c.Issuers(t.Context())
	if err != nil || len(list) != 4 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestTheStatusOfANamespaceSaysNothingOfTheDisk(t *testing.T) {
	f, c := managed(t)
	whole, err := c.Status(t.Context())
	if err != nil || whole.Dir == "" || whole.Free <= 0 {
		t.Errorf("of the host: %+v, %v", whole, err)
	}
	c, err = admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: f.FreshToken(), Namespace: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Status(t.Context())
	if err != nil || s.Dir != "" || s.Free != -1 || s.Watch != nil || s.Version == "" {
		t.Errorf("of the namespace: %+v, %v", s, err)
	}
}

func TestWhoamiNamesTheMachineToken(t *testing.T) {
	f, c := managed(t)
	ctx := t.Context()
	if _, err := f.Auth().CreateAccount(ctx, auth.NewAccount{Name: "ada", Password: doorPassword, Scopes: []string{"developer"}}); err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateToken(ctx, admin.TokenRequest{Name: "ci", Account: "ada", Scopes: []string{"viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Login(ctx, "ada", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for token, machine := range map[string]string{made.Secret: "ci", l.Access: ""} {
		c, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		id, err := c.Whoami(ctx)
		if err != nil || id.Account != "ada" || id.Kind != auth.Person || id.Machine != machine {
			t.Errorf("%+v, %v; want the machine token %q", id, err, machine)
		}
	}
}
