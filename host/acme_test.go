package host_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/fnhost/fnhost/host"
)

// authority is Pebble, Let's Encrypt's authority for tests, in this process. All
// domains mean this machine to it.
type authority struct {
	url     string
	handler atomic.Pointer[http.Handler]
	roots   *x509.CertPool
	own     *x509.CertPool // of its front
	orders  atomic.Int64
}

func startAuthority(t *testing.T) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	a := new(authority)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/order-plz") {
			a.orders.Add(1)
		}
		(*a.handler.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	a.own = x509.NewCertPool()
	a.own.AddCert(srv.Certificate())
	a.url = srv.URL + wfe.DirectoryPath
	return a
}

// proveAt begins to work, with proofs that go to these addresses; "" for nowhere.
func (a *authority) proveAt(t *testing.T, httpAddr, tlsAddr string) {
	t.Helper()
	ready := make(chan bool)
	names := &dns.Server{Net: "tcp", Addr: "127.0.0.1:0", NotifyStartedFunc: func() { close(ready) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		w.WriteMsg(answer)
	})}
	go names.ListenAndServe()
	<-ready
	t.Cleanup(func() { names.Shutdown() })
	logger := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	checker := va.New(logger, portOf(httpAddr), portOf(tlsAddr), false, names.Listener.Addr().String(), store)
	front := wfe.New(logger, store, checker, issuer, []string{"localhost"}, false, false, 1, 1)
	handler := front.Handler()
	a.handler.Store(&handler)
	a.roots = x509.NewCertPool()
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}

// client speaks to the gateway by names that are not this machine's.
func (f *fixture) client(roots *x509.CertPool) *http.Client {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(f.url, "https://"))
	}
	tr := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func TestCertificatesComeFromAnAuthority(t *testing.T) {
	for _, way := range []string{"tls-alpn-01", "http-01"} {
		t.Run(way, func(t *testing.T) {
			a := startAuthority(t)
			f := start(t, nil, func(c *host.Config) {
				c.ACME = host.ACME{Domains: []string{"fn.example.com"}, Directory: a.url, Roots: a.own}
				if way == "http-01" {
					c.ACME.HTTP = "127.0.0.1:0"
				}
				c.HTTP = "127.0.0.1:0"
			})
			if way == "http-01" {
				a.proveAt(t, host.ChallengesAddr(f.Host), "127.0.0.1:1")
			} else {
				a.proveAt(t, "127.0.0.1:1", strings.TrimPrefix(f.url, "https://"))
			}
			client := f.client(a.roots)
			resp, err := client.Get("https://fn.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
				t.Errorf("%s %s %v", resp.Proto, resp.Status, resp.Header)
			}
			if _, err := client.Get("https://other.example.com/"); err == nil {
				t.Error("a name that is none of the domains got an answer")
			}
			if info, err := os.Stat(filepath.Join(f.data, "acme")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder of certificates: %v, %v", info, err)
			}
			if way == "http-01" {
				noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				resp, err := noRedirect.Get("http://" + host.ChallengesAddr(f.Host) + "/hello?x=1")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusFound || !strings.HasSuffix(resp.Header.Get("Location"), "/hello?x=1") {
					t.Errorf("over http: %s to %s", resp.Status, resp.Header.Get("Location"))
				}
				noRedirect.CloseIdleConnections()
			}
			// The next start asks the authority for nothing.
			before := a.orders.Load()
			if err := f.stop(); err != nil {
				t.Fatal(err)
			}
			f.open(func(c *host.Config) {
				c.ACME = host.ACME{Domains: []string{"fn.example.com"}, Directory: a.url, Roots: a.own}
			})
			client.CloseIdleConnections()
			resp, err = client.Get("https://fn.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if n := a.orders.Load(); n != before || n == 0 {
				t.Errorf("%d orders, and %d after the next start", before, n)
			}
		})
	}
}

func TestSettingsOfACMEAreChecked(t *testing.T) {
	tests := []struct {
		name   string
		change func(*host.Config)
		want   string
	}{
		{"without a domain", func(c *host.Config) { c.ACME.Email = "ops@example.com" }, "without a domain"},
		{"a wildcard", func(c *host.Config) { c.ACME.Domains = []string{"*.example.com"} }, "without a wildcard"},
		{"an address", func(c *host.Config) { c.ACME.Domains = []string{"192.0.2.1"} }, "want a domain"},
		{"no gateway", func(c *host.Config) { c.ACME.Domains, c.HTTP = []string{"fn.example.com"}, "" }, "needs the gateway"},
		{"files, too", func(c *host.Config) {
			c.ACME.Domains, c.TLSCert, c.TLSKey = []string{"fn.example.com"}, "a", "b"
		}, "choose one"},
		{"a directory in the clear", func(c *host.Config) {
			c.ACME.Domains, c.ACME.Directory = []string{"fn.example.com"}, "http://acme.example.com/dir"
		}, "want https"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := host.Config{Dir: t.TempDir(), HTTP: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
			test.change(&cfg)
			h, err := host.New(cfg)
			if err == nil {
				h.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
