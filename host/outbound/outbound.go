// Package outbound guards what a host connects to because somebody else has named it:
// callback URLs, keys of other issuers, git repositories. Whoever names an address must
// not reach by the host what he cannot reach himself: the host, its network, and the
// services there that trust whoever is in it.
//
// The address that is connected to is what is looked at, after a name was resolved: so
// no name can mean another one a moment later, and a redirect is looked at like the rest.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrPrivate is wrapped by the errors for addresses that are not public.
var ErrPrivate = errors.New("is not a public address")

// Guard says what may be connected to. Its methods are safe for concurrent use.
type Guard struct {
	// Private allows addresses that are not public, too: of this machine, and of the
	// networks around it. Default: public ones alone.
	Private bool
	// Hint is what an error says should be done, after ErrPrivate. Default: nothing.
	Hint string
}

// special are the ranges of IPv4 that no network of the internet has, beside those that
// netip knows; of IANA's special-purpose registry.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
}

// The internet's IPv6, and what in it is something else: protocols, among them Teredo,
// documentation, and 6to4, which holds an IPv4 address. NAT64 and the other ways to hold
// one lie outside of it.
var (
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = []netip.Prefix{
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
	}
)

// IsPublic reports whether an address is one of the internet, and not of this machine or
// of a network around it.
func IsPublic(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	list := special
	if ip.Is6() {
		if list = special6; !global6.Contains(ip) {
			return false
		}
	}
	for _, p := range list {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// Check returns an error that wraps [ErrPrivate] for an address that may not be
// connected to.
func (g Guard) Check(ip netip.Addr) error {
	if g.Private || IsPublic(ip) {
		return nil
	}
	if g.Hint != "" {
		return fmt.Errorf("%s %w: %s", ip, ErrPrivate, g.Hint)
	}
	return fmt.Errorf("%s %w", ip, ErrPrivate)
}

// Lookup returns the addresses of a name, or the address that it is, for programs that
// connect by themselves and are to be told where. All of them may be connected to, or
// else the error is that of Check.
func (g Guard) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i, ip := range list {
		list[i] = ip.Unmap()
		if err := g.Check(ip); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Dialer returns one that refuses what Check does.
func (g Guard) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, ControlContext: g.control}
}

// control is asked with the very address that is connected to.
func (g Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s address %s: %w", network, address, err)
	}
	return g.Check(ap.Addr())
}

// Client returns one for requests that take so long at most. It follows no redirects,
// whose answers it returns, and uses no proxy, which would choose the address by itself.
// Who uses it bounds what is read of an answer, and closes idle connections at the end.
func (g Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: g.Dialer(timeout).DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}
