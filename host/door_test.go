package host_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
)

const asker = `package who

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

type Out struct {
	Account, Header, Cookie string
	Billing                 bool
}

func Handle(ctx context.Context) Out {
	c := functions.Caller(ctx)
	i := functions.InvocationFrom(ctx)
	return Out{c.Account, i.Header("Authorization"), i.Header("Cookie"), c.Has("billing")}
}
`

const whoRelay = `package relay

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context) (map[string]any, error) {
	var out map[string]any
	err := functions.Call(ctx, "who", nil, &out)
	if out != nil {
		out["Relay"] = functions.Caller(ctx).Account
	}
	return out, err
}
`

const doorPassword = "correct horse battery"

// startAsking runs a host that asks who comes, with an account of some scopes, and returns
// that one's access token.
func startAsking(t *testing.T, change func(*host.Config), scopes ...string) (*fixture, string) {
	t.Helper()
	f := start(t, map[string]string{
		"who/who.go":           asker,
		"who/function.yaml":    "triggers:\n  http:\n    - {path: /open, public: true}\n    - {path: /bill, scopes: [billing]}\n",
		"relay/relay.go":       whoRelay,
		"public/public.go":     strings.Replace(asker, "package who", "package public", 1),
		"public/function.yaml": "public: true\n",
	}, func(c *host.Config) {
		c.Auth, c.Admin = true, "127.0.0.1:0"
		if change != nil {
			change(c)
		}
	})
	for _, name := range []string{"who", "relay", "public"} {
		f.awaitState(name, host.Ready)
	}
	if _, err := f.Auth().CreateAccount(t.Context(), auth.NewAccount{Name: "ada", Password: doorPassword, Scopes: scopes}); err != nil {
		t.Fatal(err)
	}
	l, err := f.Auth().Login(t.Context(), "ada", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	return f, l.Access
}

func TestTheGatewayLetsInWhomItMay(t *testing.T) {
	f, ada := startAsking(t, nil, "billing")
	for _, c := range []struct {
		what, path string
		header     []string
		want       int
		account    string
	}{
		{"nobody", "/who", nil, 401, ""},
		{"nobody, a function that there is not", "/nothing", nil, 401, ""},
		{"nobody, a public function", "/public", nil, 200, ""},
		{"nobody, a public route", "/open", nil, 200, ""},
		{"nobody, a route of a scope", "/bill", nil, 401, ""},
		{"without a rule", "/who", []string{"Authorization", "Bearer " + ada}, 403, ""},
		{"the scope of the route", "/bill", []string{"Authorization", "Bearer " + ada}, 200, "ada"},
		{"a cookie", "/bill", []string{"Cookie", "a=b; fnhost_token=" + ada + "; c=d"}, 200, "ada"},
		{"a cookie, from a page of another site", "/bill", []string{"Cookie", "fnhost_token=" + ada, "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a public function, and a token", "/public", []string{"Authorization", "Bearer " + ada}, 200, "ada"},
		{"a public function, and a token of somebody else", "/public", []string{"Authorization", "Bearer of.somebody.else"}, 200, ""},
		{"a public function, and a wrong token of the host", "/public", []string{"Authorization", "Bearer fnhost_wrong"}, 401, ""},
		{"a forged identity", "/who", []string{"X-Fn-Identity", `{"account":"root"}`, "Fn-Identity", "root", "Identity", "root"}, 401, ""},
		{"a forged identity, a public function", "/public", []string{"X-Fn-Identity", `{"account":"root"}`, "Identity", "root"}, 200, ""},
		{"root", "/who", []string{"Authorization", "Bearer " + f.FreshToken()}, 200, "root"},
	} {
		t.Run(c.what, func(t *testing.T) {
			status, body, h := f.do("POST", c.path, "", c.header...)
			if status != c.want {
				t.Fatalf("status %d: %s", status, body)
			}
			if status == 401 && h.Get("WWW-Authenticate") == "" {
				t.Error("it does not say how to prove anything")
			}
			if status != 200 {
				return
			}
			var out struct{ Account, Header, Cookie string }
			if err := json.Unmarshal([]byte(body), &out); err != nil || out.Account != c.account {
				t.Errorf("the function was called by %q, want %q: %s, %v", out.Account, c.account, body, err)
			}
			if strings.Contains(body, ada) || strings.Contains(body, f.FreshToken()) {
				t.Errorf("the function gets to see the token: %s", body)
			}
			if c.what == "a cookie" && out.Cookie != "a=b; c=d" {
				t.Errorf("the function gets the cookies %q", out.Cookie)
			}
			if c.what == "a public function, and a token of somebody else" && out.Header != "Bearer of.somebody.else" {
				t.Errorf("the function does not get to see what is its own business: %s", body)
			}
		})
	}
}

func TestRulesComeBeforeWhatAFunctionSays(t *testing.T) {
	f, ada := startAsking(t, nil, "billing")
	bearer := []string{"Authorization", "Bearer " + ada}
	add := func(id, resource, scope string, access rules.Access) {
		t.Helper()
		if _, err := f.Auth().AddRule(t.Context(), rules.Rule{ID: id, Resource: resource, Scope: scope, Access: access}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(path string, header []string, status int) {
		t.Helper()
		if got, body, _ := f.do("POST", path, "", header...); got != status {
			t.Errorf("%s: status %d, want %d: %s", path, got, status, body)
		}
	}
	add("open", "function:who", "public", rules.Grant)
	want("/who", nil, 200)
	add("closed", "function:public", "billing", rules.Deny)
	want("/public", bearer, 403)
	want("/public", nil, 200)
	if err := f.Auth().RemoveRule(t.Context(), "open"); err != nil {
		t.Fatal(err)
	}
	want("/who", nil, 401)
}

func TestACallCarriesWhoHasAskedFirst(t *testing.T) {
	f, ada := startAsking(t, nil, "invoker")
	status, body, _ := f.do("POST", "/relay", "", "Authorization", "Bearer "+ada)
	if status != 200 || !strings.Contains(body, `"Account":"ada"`) || !strings.Contains(body, `"Relay":"ada"`) {
		t.Errorf("%d: %s", status, body)
	}
}

func TestAnAsynchronousCallCarriesWhoHasAsked(t *testing.T) {
	f, ada := startAsking(t, nil, "invoker")
	status, body, h := f.do("POST", "/who", "", "Authorization", "Bearer "+ada, "Prefer", "respond-async")
	if status != 202 {
		t.Fatalf("%d: %s", status, body)
	}
	f.await("the run ends", func() bool {
		status, body, _ = f.do("GET", h.Get("Location")+"?wait=5s", "", "Authorization", "Bearer "+ada)
		return status == 200
	})
	if !strings.Contains(body, `"Account":"ada"`) {
		t.Errorf("%s", body)
	}
	for _, c := range []struct {
		who    string
		header []string
		want   int
	}{{"nobody", nil, 401}, {"root", []string{"Authorization", "Bearer " + f.FreshToken()}, 404}} {
		if status, body, _ := f.do("GET", h.Get("Location"), "", c.header...); status != c.want {
			t.Errorf("%s gets to know of her run: %d %s", c.who, status, body)
		}
		if status, _, _ := f.do("DELETE", h.Get("Location"), "", c.header...); status != c.want {
			t.Errorf("%s may cancel her run: %d", c.who, status)
		}
	}
	chosen := []string{"Authorization", "Bearer " + ada, "Prefer", "respond-async", "X-Call-Id", "order-1"}
	if status, body, _ := f.do("POST", "/who", "", chosen...); status != 202 {
		t.Errorf("an ID of her own: %d %s", status, body)
	}
	chosen[1] = "Bearer " + f.FreshToken()
	if status, body, _ := f.do("POST", "/who", "", chosen...); status != 409 {
		t.Errorf("somebody else with her ID: %d %s", status, body)
	}
	if status, _, _ := f.do("POST", "/who", "", "Prefer", "respond-async"); status != 401 {
		t.Errorf("without a token: %d", status)
	}
}

// The ID of a run may be guessed, if a client has chosen it: that alone is no proof.
func TestARunOfSomebodyIsForNobodyElse(t *testing.T) {
	f, ada := startAsking(t, nil, "invoker")
	if _, err := f.Auth().CreateAccount(t.Context(), auth.NewAccount{Name: "eve", Password: doorPassword, Scopes: []string{"invoker"}}); err != nil {
		t.Fatal(err)
	}
	l, err := f.Auth().Login(t.Context(), "eve", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	hers, eves := []string{"Authorization", "Bearer " + ada}, []string{"Authorization", "Bearer " + l.Access}
	call := []string{"Prefer", "respond-async", "X-Call-Id", "order-17"}
	if status, body, _ := f.do("POST", "/who", "", append(call, hers...)...); status != 202 {
		t.Fatalf("%d: %s", status, body)
	}
	f.await("the run ends", func() bool {
		status, _, _ := f.do("GET", "/_runs/order-17?wait=5s", "", hers...)
		return status == 200
	})
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		if status, body, _ := f.do(method, "/_runs/order-17", ""); status != 401 {
			t.Errorf("%s by nobody: %d %s", method, status, body)
		}
		if status, body, _ := f.do(method, "/_runs/order-17", "", eves...); status != 404 {
			t.Errorf("%s by another account: %d %s", method, status, body)
		}
	}
	if status, body, _ := f.do("POST", "/who", "", append(call, eves...)...); status != 409 {
		t.Errorf("the same call of another account: %d %s", status, body)
	}
	if status, body, _ := f.do("POST", "/who", "", append(call, hers...)...); status != 202 {
		t.Errorf("the same call again: %d %s", status, body)
	}
	if status, body, _ := f.do("POST", "/public", "", "Prefer", "respond-async", "X-Call-Id", "of-nobody"); status != 202 {
		t.Errorf("a call of nobody: %d %s", status, body)
	}
	f.await("the run of nobody ends", func() bool {
		status, _, _ := f.do("GET", "/_runs/of-nobody?wait=5s", "")
		return status == 200
	})
}

func TestARevokedTokenIsRefusedWithinASecond(t *testing.T) {
	f, ada := startAsking(t, nil, "invoker")
	bearer := []string{"Authorization", "Bearer " + ada}
	if status, body, _ := f.do("POST", "/who", "", bearer...); status != 200 {
		t.Fatalf("%d: %s", status, body)
	}
	begin := time.Now()
	if err := f.Auth().EndLogins(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := f.do("POST", "/who", "", bearer...); status != 401 {
		t.Errorf("at the next request: %d", status)
	}
	t.Logf("refused after %v", time.Since(begin))
}

func TestWithPublicAllMayBeCalledThatNoRuleForbids(t *testing.T) {
	f, _ := startAsking(t, func(c *host.Config) { c.Public = true })
	if status, body, _ := f.do("POST", "/who", ""); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
}

func TestLifetimesOfLoginsThatAreNone(t *testing.T) {
	tests := []struct{ access, refresh time.Duration }{
		{time.Millisecond, 0}, {-time.Minute, 0}, {time.Hour, time.Minute}, {0, time.Minute},
	}
	for _, test := range tests {
		h, err := host.New(host.Config{Dir: t.TempDir(), AccessTTL: test.access, RefreshTTL: test.refresh})
		if err == nil {
			h.Close()
			t.Errorf("access tokens for %v and refresh tokens for %v are taken", test.access, test.refresh)
		}
	}
}
