package runs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// errPrivate is wrapped by the errors for callbacks to addresses that are not public.
var errPrivate = errors.New("is not a public address: the host must allow callbacks to such (--private-callbacks)")

// maxURL bounds the URL of a callback, in bytes.
const maxURL = 2048

// CheckCallback returns an error of code BadRequest for a URL that no callback can
// go to.
func (s *Store) CheckCallback(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, len(text) > maxURL, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return wire.Errorf(wire.BadRequest, "callback URL %.200q: want https://HOST/PATH, of at most %d bytes", text, maxURL)
	case u.User != nil:
		return wire.Errorf(wire.BadRequest, "callback URL: user and password have no place there; the signature says who sends it")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !s.cfg.PrivateCallbacks && !isPublic(ip) {
		return wire.Errorf(wire.BadRequest, "callback URL: %s %v", ip, errPrivate)
	}
	return nil
}

// notPublic are the ranges that no callback goes to, beside those that netip
// knows: of IANA's special-purpose registries, and those that hold IPv4 addresses.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isPublic reports whether an address is one of the internet, and not of this
// machine or of a network around it.
func isPublic(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// checkDial refuses to connect to an address that is not public. It is asked with
// the very address that is connected to, so that no name can mean another one then.
func checkDial(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("callback address %s: %w", address, err)
	}
	if !isPublic(ap.Addr()) {
		return fmt.Errorf("%s %w", ap.Addr(), errPrivate)
	}
	return nil
}

// newClient returns what sends callbacks. It follows no redirects, and uses no
// proxy, which would choose the address by itself.
func newClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: callbackTimeout}
	if !private {
		dialer.ControlContext = checkDial
	}
	return &http.Client{
		Timeout:       callbackTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: callbackTimeout,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}
