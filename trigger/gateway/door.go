package gateway

import (
	"net/http"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
)

// Identity is who has proved to ask; its zero value is nobody.
type Identity struct {
	Account string
	Encoded string // as functions get it
}

// Door says who asks, and whether they may.
type Door interface {
	// Enter returns who has proved to ask for an endpoint of a function. leave is what the function says of who may. The error is
	// a *wire.Error of code Unauthorized if it wants to know who asks, and Forbidden if that
	// one may not; Unavailable if it cannot be known.
	Enter(r *http.Request, function, endpoint string, leave manifest.Leave) (Identity, error)
	// Cookie returns the name of the cookie that may hold what proves it.
	Cookie() string
}

// enter has the door decide on a request.
func (g *Gateway) enter(r *http.Request, fn, endpoint string, leave manifest.Leave) (Identity, error) {
	if g.cfg.Door == nil {
		return Identity{}, nil
	}
	return g.cfg.Door.Enter(r, fn, endpoint, leave)
}

// forStrangers returns what is to be said of a function that cannot be called: nothing of which
// functions there are, and of their source, to who could not call any.
func (g *Gateway) forStrangers(r *http.Request, fn string, err error) error {
	if _, refused := g.enter(r, fn, "", manifest.Leave{}); refused != nil {
		return refused
	}
	return err
}

// isProof reports whether a header is what has proved an identity: a function does not
// get to see it, since it could use it itself.
func (t *target) isProof(header string) bool {
	return t.identity.Account != "" && header == "Authorization"
}

// cookiesFor returns the cookies that a function gets to see.
func (t *target) cookiesFor(values []string) []string {
	if t.identity.Account == "" {
		return values
	}
	var kept []string
	for _, v := range values {
		for one := range strings.SplitSeq(v, ";") {
			if name, _, _ := strings.Cut(strings.TrimSpace(one), "="); name != t.cookie {
				kept = append(kept, strings.TrimSpace(one))
			}
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return []string{strings.Join(kept, "; ")}
}
