package host_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/auth"
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
