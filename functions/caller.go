package functions

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/fnhost/fnhost/functions/wire"
)

// Identity is somebody who has proved to be who they are, before the function was called:
// the host has verified it, and nothing that a caller sends can make one up.
type Identity struct {
	// Account is the name; of another issuer's JWT the issuer's name here, a slash, and
	// its name for them. "" is nobody: the function is public, or the host asks nobody.
	Account string `json:"account"`
	// Namespace is the one that the account belongs to, "*" for all of them.
	Namespace string   `json:"namespace"`
	Kind      string   `json:"kind"` // "person", "service", "external" or "root"
	Scopes    []string `json:"scopes"`
	Issuer    string   `json:"issuer"` // of a JWT that is not the host's own
}

// Has reports whether the identity has a scope. Whoever may do all has the scope "admin",
// and no others with it.
func (i Identity) Has(scope string) bool { return slices.Contains(i.Scopes, scope) }

// Caller returns who asks: for a request over HTTP whose token the host has verified, for an
// asynchronous call as it was when the call was made, and for a call by another function
// whoever that one was called by ([Invocation].Caller is the function itself). It is the
// zero Identity for all else: events, schedules, public functions without a token.
func Caller(ctx context.Context) Identity {
	var i Identity
	if s := scopeOf(ctx); s != nil {
		if text := s.header.Get(wire.KeyIdentity); text != "" {
			if json.Unmarshal([]byte(text), &i) != nil {
				return Identity{} // half of an identity is none
			}
		}
	}
	return i
}
