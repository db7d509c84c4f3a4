package auth

import (
	"net/http"
	"strings"
)

// CookieName is that of the cookie that browsers send instead of a header.
const CookieName = "fnhost_token"

// Given returns the token that a request brings, "" for none: as a bearer (RFC 6750), as
// the password of basic authentication, which is what git sends, or as the cookie
// [CookieName].
func Given(r *http.Request) (token string, cookie bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		if scheme, rest, _ := strings.Cut(h, " "); strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest), false
		}
		_, password, _ := r.BasicAuth()
		return password, false
	}
	if c, err := r.Cookie(CookieName); err == nil {
		return c.Value, true
	}
	return "", false
}

// Ours reports whether a token looks like one of this host: then it is not for functions to
// see, and not for them to judge.
func (a *Authority) Ours(token string) bool {
	if strings.HasPrefix(token, prefix) {
		return true
	}
	if len(token) > MaxToken || strings.Count(token, ".") != 2 {
		return false
	}
	issuer, err := issuerOf(token)
	if err != nil {
		return false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return issuer != "" && (issuer == a.state.keys.Issuer || a.issuerNamed(issuer) != nil)
}
