package gateway

import (
	"net/http"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
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
	// Who returns who has proved to ask, whatever they may. The error is one of Enter's.
	Who(r *http.Request) (Identity, error)
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

// enterFor has the door decide on a request for a function. One for another version than the
// one that serves must be let in by both: what an old version lets in may be what a new one
// was deployed to keep out.
func (g *Gateway) enterFor(r *http.Request, t *target) (Identity, error) {
	who, err := g.enter(r, t.fn.Name, t.endpoint.Name, t.fn.Manifest.LeaveOf(t.route))
	if err == nil && t.serves != nil && t.serves != t.fn {
		who, err = g.enter(r, t.fn.Name, t.endpoint.Name, t.serves.Manifest.LeaveOf(t.route))
	}
	return who, err
}

// ownRun returns an error if a run is one that somebody else has proved to have called.
func (g *Gateway) ownRun(r *http.Request, run *trigger.Run) error {
	if run.Account == "" || g.cfg.Door == nil {
		return nil
	}
	who, err := g.cfg.Door.Who(r)
	switch {
	case err != nil:
		return err
	case who.Account == "":
		return wire.Errorf(wire.Unauthorized, "this run is of somebody who is known: send the token that it was called with, or another one of that account")
	case who.Account != run.Account: // as of one that there is not
		return wire.Errorf(wire.NotFound, "no run %.64q: it never was, or is not kept any more", run.ID)
	}
	return nil
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
	if t.cookie == "" {
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
