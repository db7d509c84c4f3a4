package runs

import (
	"net/netip"
	"net/url"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/outbound"
)

// guard says which addresses callbacks go to.
func guard(private bool) outbound.Guard {
	return outbound.Guard{Private: private, Hint: "the host must allow callbacks to such (--private-callbacks)"}
}

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
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := guard(s.cfg.PrivateCallbacks).Check(ip); err != nil {
			return wire.Errorf(wire.BadRequest, "callback URL: %v", err)
		}
	}
	return nil
}
