package limit

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddr returns the address that a request comes from: that of the connection, or,
// if that is of a trusted proxy, the last one in X-Forwarded-For that is not. What a
// client writes there itself stands before what proxies add, and counts for nothing. The
// zero Addr is for a connection that has none, such as that of a Unix socket.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if len(trusted) == 0 || !addr.IsValid() {
		return addr
	}
	forwarded := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0 && contains(trusted, addr); i-- {
		next := parseAddr(strings.TrimSpace(forwarded[i]))
		if !next.IsValid() {
			break // the proxy that has passed this on is as far as can be told
		}
		addr = next
	}
	return addr
}

// parseAddr takes an address with and without a port.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// AddrKey returns what counts as one client: an IPv4 address, and the network of an IPv6
// address, /64, of which whoever has one has all.
func AddrKey(addr netip.Addr) string {
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.Unmap().String()
}

// ParseProxies reads addresses and networks: "10.0.0.1", "10.0.0.0/8", "fd00::/8". It
// returns the first one that is neither.
func ParseProxies(list []string) (proxies []netip.Prefix, bad string) {
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			p, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, s
		}
		proxies = append(proxies, p.Masked())
	}
	return proxies, ""
}
