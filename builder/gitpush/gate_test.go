package gitpush

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

var errFar = errors.New("is too far away")

// nearby is a Dial that reaches all but one address, and counts.
func nearby(far string, n *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		if address == far {
			return nil, errFar
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func TestAFetchConnectsByDialAlone(t *testing.T) {
	var dialed atomic.Int64
	r := serve(t, Config{Dial: nearby("far.example.com:80", &dialed)})
	c := newClone(t, r.url+"source.git")
	commit := c.commit("hello.txt", "one\n", "first")
	c.git("push", "-q", "fnhost", "HEAD:main")
	f, err := r.Fetch(t.Context(), r.url+"source.git", "", t.TempDir(), os.Stderr)
	if err != nil || f.Commit != commit {
		t.Fatalf("%+v, %v", f, err)
	}
	if dialed.Load() == 0 {
		t.Error("git has connected by itself")
	}
	for _, address := range []string{"http://far.example.com/x.git", "https://user:secret@far.example.com:80/x.git"} {
		if _, err := r.Fetch(t.Context(), address, "", t.TempDir(), os.Stderr); !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), errFar.Error()) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestARedirectOfAFetchIsDialedToo(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://far.example.com"+r.URL.RequestURI(), http.StatusFound)
	}))
	defer srv.Close()
	var dialed atomic.Int64
	r := serve(t, Config{Dial: nearby("far.example.com:80", &dialed)})
	_, err := r.Fetch(t.Context(), srv.URL+"/x.git", "", t.TempDir(), os.Stderr)
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), errFar.Error()) {
		t.Errorf("%v", err)
	}
}

func TestSSHConnectsWhereLookupSays(t *testing.T) {
	r := serve(t, Config{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "far.example.com" {
			return nil, errFar
		}
		return []netip.Addr{netip.MustParseAddr("2606:4700::1"), netip.MustParseAddr("203.0.113.5")}, nil
	}})
	for address, want := range map[string]string{
		"ssh://git@git.example.com/x":      "ssh -o BatchMode=yes -o 'HostName=203.0.113.5' -o 'HostKeyAlias=git.example.com'",
		"ssh://git@git.example.com:22/x":   "ssh -o BatchMode=yes -o 'HostName=203.0.113.5' -o 'HostKeyAlias=git.example.com'",
		"ssh://git@git.example.com:2222/x": "ssh -o BatchMode=yes -o 'HostName=203.0.113.5' -o 'HostKeyAlias=[git.example.com]:2222'",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.sshCommand(t.Context(), u); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", address, got, err, want)
		}
	}
	for _, address := range []string{"ssh://git@far.example.com/x", "ssh://-oProxyCommand=true/x", "ssh://git@a'b/x", "ssh://git@$(true)/x"} {
		if _, err := r.Fetch(t.Context(), address, "", t.TempDir(), os.Stderr); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAGateLetsInWhoKnowsItsSecret(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") }))
	defer srv.Close()
	var dialed atomic.Int64
	r := serve(t, Config{Dial: nearby("", &dialed)})
	g, err := r.openGate()
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	get := func(password string) (string, error) {
		tr := srv.Client().Transport.(*http.Transport).Clone()
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: g.addr, User: url.UserPassword("fnhost", password)})
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if got, err := get("wrong"); err == nil || dialed.Load() > 0 {
		t.Errorf("with a wrong secret: %s, and %d connections", got, dialed.Load())
	}
	if got, err := get(g.secret); got != "reached" || err != nil {
		t.Errorf("with the secret: %q, %v", got, err)
	}
}
