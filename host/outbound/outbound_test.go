package outbound

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublicAddressesAreThoseOfTheInternet(t *testing.T) {
	public := []string{"8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1", "172.15.255.255", "172.32.0.1", "100.128.0.1"}
	private := []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "100::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "3fff::1", "5f00::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", // an IPv4 address in an IPv6 one, in all its forms
		"::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "2002:a00:1::1",
	}
	for want, list := range map[bool][]string{true: public, false: private} {
		for _, text := range list {
			if got := IsPublic(netip.MustParseAddr(text)); got != want {
				t.Errorf("%s: %v, want %v", text, got, want)
			}
		}
	}
	if IsPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestAClientReachesNothingPrivate(t *testing.T) {
	reached := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	c := Guard{Hint: "the host must allow it"}.Client(10 * time.Second)
	defer c.CloseIdleConnections()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"} {
		resp, err := c.Get("http://" + host + ":" + port)
		if err == nil {
			resp.Body.Close()
		}
		refused := errors.Is(err, ErrPrivate) && strings.Contains(err.Error(), "the host must allow it")
		if err == nil || !refused && host != "2130706433" { // which is a name where it is no address
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/secret" {
			t.Error("the redirect was followed")
		}
		http.Redirect(w, r, "/secret", http.StatusFound)
	}))
	defer srv.Close()
	c := Guard{Private: true}.Client(10 * time.Second)
	defer c.CloseIdleConnections()
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("answered with %s", resp.Status)
	}
}

func TestLookupRefusesNamesOfThisMachine(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		if _, err := (Guard{}).Lookup(t.Context(), host); !errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
		if list, err := (Guard{Private: true}).Lookup(t.Context(), host); err != nil || len(list) == 0 {
			t.Errorf("%s, if that is allowed: %v, %v", host, list, err)
		}
	}
}
