package host_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// named is a function of this program that says whose it is, and what the request asked for.
func named(t *testing.T, ns *host.Namespace) {
	t.Helper()
	who := ns.Name()
	if err := ns.Handle("who", func(_ context.Context, in struct{ As string }) (string, error) { return who + in.As, nil }); err != nil {
		t.Fatal(err)
	}
}

func TestARequestNamesItsNamespace(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Domain = nil, "fn.example.com" })
	for _, name := range []string{"acme", "globex"} {
		named(t, f.make(name, host.Limits{}))
	}
	first, err := f.Namespace("")
	if err != nil {
		t.Fatal(err)
	}
	named(t, first)
	for _, test := range []struct {
		about, path, header, host string
		status                    int
		want                      string
	}{
		{"none", "/who", "", "", 200, "default"},
		{"a header", "/who?as=x", "acme", "", 200, "acmex"},
		{"the header of the default one", "/who", "default", "", 200, "default"},
		{"a path", "/@acme/who?as=y", "", "", 200, "acmey"},
		{"an escaped path", "/%40acme/who", "", "", 200, "acme"},
		{"a subdomain", "/who", "", "globex.fn.example.com", 200, "globex"},
		{"a subdomain with a port", "/who", "", "Globex.FN.example.com.:8080", 200, "globex"},
		{"the domain itself", "/who", "", "fn.example.com", 200, "default"},
		{"another domain", "/who", "", "acme.example.com", 200, "default"},
		{"twice the same", "/@acme/who", "acme", "acme.fn.example.com", 200, "acme"},
		{"two of them", "/@acme/who", "globex", "", 400, "name one"},
		{"a host name and a path", "/@acme/who", "", "globex.fn.example.com", 400, "name one"},
		{"one that there is not", "/who", "acm", "", 404, `did you mean`},
		{"a path to none", "/@nobody/who", "", "", 404, `no namespace`},
		{"a path to no name", "/@/who", "", "", 404, `no function`},
		{"no function", "/@acme", "", "", 404, "no function is named"},
		{"labels", "/who", "", "a.b.fn.example.com", 404, "no namespace"},
	} {
		t.Run(test.about, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", f.url+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.header != "" {
				req.Header.Set("X-Fn-Namespace", test.header)
			}
			req.Host = test.host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.status || !strings.Contains(body.String(), test.want) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body.String(), test.status, test.want)
			}
		})
	}
}

// Where a call that is answered later can be asked for is below the path that named the namespace.
func TestRunsOfANamespace(t *testing.T) {
	f := server(t)
	named(t, f.make("acme", host.Limits{}))
	status, body, header := f.do("POST", "/@acme/who", "", "Prefer", "respond-async")
	location := header.Get("Location")
	if status != 202 || !strings.HasPrefix(location, "/@acme/_runs/") {
		t.Fatalf("%d %s %s", status, location, body)
	}
	if status, body, _ := f.do("GET", location+"?wait=30s", ""); status != 200 || body != "acme" {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := f.do("GET", strings.TrimPrefix(location, "/@acme"), ""); status != 404 {
		t.Errorf("it is seen from another namespace: %d %s", status, body)
	}
}

func TestTheAPIOfANamespace(t *testing.T) {
	f := start(t, nil, func(c *host.Config) { c.Watch, c.Admin = nil, "127.0.0.1:0" })
	client := func(ns string) *admin.Client {
		c, err := admin.NewClient(f.Info().Admin, admin.ClientOptions{Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx := t.Context()
	of, acme := client(""), client("acme")
	if _, err := acme.Functions(ctx); !errors.Is(err, functions.ErrNotFound) {
		t.Errorf("a namespace that there is not: %v", err)
	}
	made, err := acme.CreateNamespace(ctx, admin.NewNamespace{Name: "acme", Limits: admin.NamespaceLimits{Functions: 3}})
	if err != nil || made.Name != "acme" || made.Created == nil || made.Limits.Functions != 3 {
		t.Fatalf("%+v, %v", made, err)
	}
	ns, err := f.Namespace("acme")
	if err != nil {
		t.Fatal(err)
	}
	named(t, ns)
	if list, err := acme.Functions(ctx); err != nil || len(list) != 1 || list[0].Name != "who" || list[0].Endpoints[0].Path != "/@acme/who" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := of.Functions(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := acme.SetConfig(ctx, admin.ConfigLayer{}, "ada", "region", []byte(`"eu"`)); err != nil {
		t.Error(err)
	}
	if c, err := of.Config(ctx, admin.ConfigLayer{}); err != nil || strings.Contains(string(c.Values), "eu") {
		t.Errorf("%s, %v", c.Values, err)
	}
	if n, err := of.LimitNamespace(ctx, "acme", admin.NamespaceLimits{Requests: 7}); err != nil || n.Limits != (admin.NamespaceLimits{Requests: 7}) || n.Functions != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := acme.Backup(ctx); err == nil || !strings.Contains(err.Error(), "of the host as a whole") {
		t.Errorf("a backup of one namespace: %v", err)
	}
	if err := of.RemoveNamespace(ctx, "acme", false); !errors.Is(err, functions.ErrConflict) {
		t.Error(err)
	}
	if err := of.RemoveNamespace(ctx, "acme", true); err != nil {
		t.Error(err)
	}
	if list, err := of.Namespaces(ctx); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	err = acme.Logs(ctx, logs.Query{}, func(logs.Record) error { return nil })
	if !errors.Is(err, functions.ErrNotFound) {
		t.Errorf("logs of what was removed: %v", err)
	}
}

func TestABackupHasAllNamespaces(t *testing.T) {
	f := server(t)
	settle(t, f.make("acme", host.Limits{Functions: 5, Storage: 64 << 20}))
	settle(t, f.make("globex", host.Limits{}))
	acme, err := f.Namespace("acme")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := acme.CallbackSecret()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := f.CallbackSecret(); err != nil || other == secret {
		t.Errorf("namespaces sign with one key: %v", err)
	}
	var file bytes.Buffer
	if err := f.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	from := f.data
	f.data = t.TempDir()
	if _, err := host.Restore(t.Context(), f.data, bytes.NewReader(file.Bytes()), host.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	f.open(func(c *host.Config) { c.Watch, c.MasterKeyFile = nil, from+"/master.key" })
	for _, name := range []string{"acme", "globex"} {
		ns, err := f.Namespace(name)
		if err != nil {
			t.Fatal(err)
		}
		tells(t, ns)
	}
	if acme, err = f.Namespace("acme"); err != nil {
		t.Fatal(err)
	}
	if restored, err := acme.CallbackSecret(); err != nil || restored != secret {
		t.Errorf("the key of callbacks is another one: %v", err)
	}
	if list := f.Namespaces(); len(list) != 3 || list[0].Limits != (host.Limits{Functions: 5, Storage: 64 << 20}) {
		t.Errorf("%+v", list)
	}
}
