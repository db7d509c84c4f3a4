package host_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/auth"
)

// BenchmarkVerifiedRequest compares a request whose token is verified, and which a rule
// lets in, with one to a public function, in turns, over HTTP:
//
//	go test -run - -bench VerifiedRequest ./host
func BenchmarkVerifiedRequest(b *testing.B) {
	f := start(b, map[string]string{
		"echo/echo.go":         echoSource,
		"public/echo.go":       strings.Replace(echoSource, "package echo", "package public", 1),
		"public/function.yaml": "public: true\n",
	}, func(c *host.Config) { c.Auth = true })
	f.awaitState("echo", host.Ready)
	f.awaitState("public", host.Ready)
	if _, err := f.Auth().CreateAccount(b.Context(), auth.NewAccount{Name: "ada", Password: doorPassword, Scopes: []string{"invoker"}}); err != nil {
		b.Fatal(err)
	}
	l, err := f.Auth().Login(b.Context(), "ada", doorPassword)
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	ask := func(path, token string) {
		r, _ := http.NewRequest(http.MethodPost, f.url+path, strings.NewReader(strings.Repeat("x", 100)))
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(r)
		if err != nil {
			b.Error(err)
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	for _, c := range []struct{ name, path, token string }{{"public", "/public", ""}, {"verified", "/echo", l.Access}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ask(c.path, c.token)
				}
			})
		})
	}
}
