package host_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
)

// The routes by which one logs in are open to anybody: they must not fill the disk.
func TestStrangersDoNotFillTheAudit(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth = nil, "127.0.0.1:0", true })
	if _, err := f.Auth().CreateAccount(t.Context(), auth.NewAccount{Name: "ada", Password: doorPassword}); err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) int {
		t.Helper()
		resp, err := http.Post(f.Info().Admin+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const sent = 400
	for range sent {
		post("/v1/login", "{")
		post("/v1/logout", `{"refresh":"none"}`)
	}
	if status := post("/v1/login", `{"account":"ada","password":"`+doorPassword+`"}`); status != 200 {
		t.Fatal(status)
	}
	records, logins := 0, 0
	f.await("the login is told of", func() bool {
		records, logins = 0, 0
		if err := f.Audit(t.Context(), audit.Query{Limit: 10 * sent}, func(r audit.Record) error {
			if records++; r.OK && r.Action == "login" && r.Account == "ada" {
				logins++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return logins == 1
	})
	if records > sent {
		t.Errorf("%d records of %d requests of nobody", records, 2*sent)
	}
}

// With a NATS server elsewhere, accounts and rules lie where the buckets of functions do.
func TestTheBucketOfAccountsIsForNoFunction(t *testing.T) {
	srv, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	f := start(t, nil, func(c *host.Config) {
		c.Watch, c.Admin, c.Auth, c.NATS, c.NATSURL = nil, "127.0.0.1:0", true, "", srv.ClientURL()
	})
	if _, err := f.Auth().CreateAccount(t.Context(), auth.NewAccount{Name: "ada", Password: doorPassword, Scopes: []string{"developer"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bucket(t.Context(), "auth"); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("the bucket of accounts: %v", err)
	}
	if e, err := f.StoredEvent(t.Context(), "KV_auth", 1); !errors.Is(err, functions.ErrForbidden) {
		t.Errorf("its stream: %+v, %v", e, err)
	}
	l, err := f.Auth().Login(t.Context(), "ada", doorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/buckets/auth/keys/account.ada", "/v1/buckets/auth/keys", "/v1/events/KV_auth/1", "/v1/events?stream=KV_auth", "/v1/events?from=1&subject=$KV.auth.>"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", f.Info().Admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+l.Access)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// What a rule keeps a bucket from, it keeps its stream from.
func TestTheStreamOfABucketIsForWhomTheBucketIs(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth = nil, "127.0.0.1:0", true })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := f.Bucket(t.Context(), "payroll")
	must(err)
	_, err = b.Put(t.Context(), "ada", []byte("a lot"))
	must(err)
	_, err = f.Auth().AddRule(t.Context(), rules.Rule{ID: "payroll", Resource: "bucket:payroll:*", Scope: "developer", Access: rules.Deny})
	must(err)
	_, token, err := f.Auth().CreateToken(t.Context(), auth.NewToken{Name: "dev", Account: auth.RootAccount, Scopes: []string{"developer"}})
	must(err)
	for _, test := range []struct {
		token string
		want  int
	}{{token, 403}, {f.FreshToken(), 200}} {
		for _, path := range []string{"/v1/events/KV_payroll/1", "/v1/events?stream=KV_payroll", "/v1/events?from=1&subject=$KV.payroll.ada"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", f.Info().Admin+path, nil)
			must(err)
			req.Header.Set("Authorization", "Bearer "+test.token)
			resp, err := http.DefaultClient.Do(req)
			must(err)
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("%s: %s, want %d", path, resp.Status, test.want)
			}
		}
	}
}

func TestATokenThatEndsMakesNoneThatStays(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin, c.Auth = nil, "127.0.0.1:0", true })
	_, token, err := f.Auth().CreateToken(t.Context(), auth.NewToken{Name: "ci", Account: auth.RootAccount, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.Info().Admin+"/v1/tokens", strings.NewReader(`{"name":"stays"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, made := range f.Auth().Tokens() {
		if made.Expires.IsZero() || time.Until(made.Expires) > time.Hour {
			t.Errorf("%s: %s, a token that expires at %v", resp.Status, made.Name, made.Expires)
		}
	}
	if n := len(f.Auth().Tokens()); n != 2 {
		t.Errorf("%s: %d tokens", resp.Status, n)
	}
}
