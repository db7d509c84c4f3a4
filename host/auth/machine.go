package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Token is a machine token, without what is secret of it.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`                // what it is for
	Account   string    `json:"account"`             // whose it is: without that it proves nothing
	Namespace string    `json:"namespace,omitempty"` // it is good for; "" for those of the account
	Scopes    []string  `json:"scopes,omitempty"`    // it has, of those of the account; none given: all of them
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never
	By        string    `json:"by,omitempty"`
	Sum       string    `json:"sum,omitempty"` // SHA-256 of the whole token
}

// NewToken says what machine token is to be made.
type NewToken struct {
	Name      string // 1 to 63 of a-z, 0-9, - and _
	Account   string // whose it is; [RootAccount] for one of the host's own
	Namespace string
	Scopes    []string
	TTL       time.Duration // 0: it is good until it is revoked
	By        string
}

// CreateToken makes a machine token and returns it with its secret, which nothing shows
// again. The error is an *[wire.Error]: of code BadRequest for what is none, NotFound if
// there is no such account, Forbidden for a scope that the account has not, Conflict if
// the account has a token of that name, Unavailable if it cannot be stored.
func (a *Authority) CreateToken(ctx context.Context, n NewToken) (Token, string, error) {
	if err := a.withoutBucket(); err != nil {
		return Token{}, "", err
	}
	scopes, err := cleanScopes(n.Scopes)
	if err != nil {
		return Token{}, "", err
	}
	switch owner, known := a.owner(n.Account); {
	case !namePattern.MatchString(n.Name):
		return Token{}, "", wire.Errorf(wire.BadRequest, "%.80q is no name of a token: want 1 to 63 of a-z, 0-9, - and _", n.Name)
	case n.TTL < 0:
		return Token{}, "", wire.Errorf(wire.BadRequest, "a token cannot expire in the past")
	case !known:
		return Token{}, "", wire.Errorf(wire.NotFound, "there is no account %q: `fnhost account create` makes one", n.Account)
	default:
		for _, s := range scopes {
			if !owner.mayLend(s) {
				return Token{}, "", wire.Errorf(wire.Forbidden, "the account %s has not the scope %s, and so its tokens cannot have it", n.Account, s)
			}
		}
		if owner.Namespace != Everywhere && n.Namespace != "" && n.Namespace != owner.Namespace {
			return Token{}, "", wire.Errorf(wire.Forbidden, "the account %s is of the namespace %s, and so are its tokens", n.Account, owner.Namespace)
		}
	}
	for _, t := range a.Tokens() {
		if t.Account == n.Account && t.Name == n.Name {
			return Token{}, "", wire.Errorf(wire.Conflict, "the account %s has a token %s already: revoke it, or choose another name", n.Account, n.Name)
		}
	}
	t := Token{ID: newID()[:12], Name: n.Name, Account: n.Account, Namespace: n.Namespace, Scopes: scopes, Created: now(), By: n.By}
	if n.TTL > 0 {
		t.Expires = t.Created.Add(n.TTL)
	}
	secret := prefix + t.ID + "_" + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	t.Sum = hex.EncodeToString(sum[:])
	if err := a.write(ctx, tokenKind+"."+t.ID, &t, kv.IfAbsent()); err != nil {
		return Token{}, "", stored("the token", err)
	}
	t.Sum = ""
	return t, secret, nil
}

// owner returns the account that a machine token is of.
func (a *Authority) owner(name string) (Account, bool) {
	if name == RootAccount {
		return Account{Name: RootAccount, Namespace: Everywhere, Kind: Service, Scopes: []string{AdminScope}}, true
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if acc := a.state.accounts[name]; acc != nil {
		return *acc, true
	}
	return Account{}, false
}

// AdminScope is the scope that may do all.
const AdminScope = "admin"

// lesser are the scopes of roles that may do less than another one, by that one: what the rules
// that are always there give to these, they give to that one, too. AdminScope is above all.
var lesser = map[string][]string{"developer": {"invoker", "viewer"}}

// mayLend reports whether a token of the account may have a scope: one of its own, or one that
// is less than one of its own. Who may do all may make tokens that may do less, whatever that is called.
func (acc *Account) mayLend(scope string) bool {
	return slices.ContainsFunc(acc.Scopes, func(own string) bool {
		return own == scope || own == AdminScope || slices.Contains(lesser[own], scope)
	})
}

// Tokens returns the machine tokens, by account and name, without their sums.
func (a *Authority) Tokens() []Token {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]Token, 0, len(a.state.tokens))
	for t := range maps.Values(a.state.tokens) {
		shown := *t
		shown.Sum = ""
		list = append(list, shown)
	}
	slices.SortFunc(list, func(x, y Token) int {
		return strings.Compare(x.Account+" "+x.Name+" "+x.ID, y.Account+" "+y.Name+" "+y.ID)
	})
	return list
}

func (a *Authority) token(id string) *Token {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.state.tokens[id]
}

// RevokeToken ends a machine token. The error is of code NotFound if there is none of
// that ID.
func (a *Authority) RevokeToken(ctx context.Context, id string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if !namePattern.MatchString(id) {
		return wire.Errorf(wire.NotFound, "there is no token %.80q", id)
	}
	err := kv.Retry(ctx, func() error { return a.remove(ctx, tokenKind+"."+id) })
	if errors.Is(err, kv.ErrNotFound) {
		return wire.Errorf(wire.NotFound, "there is no token %q: `fnhost token ls` shows them", id)
	}
	return stored("the token", err)
}

// Lend returns the scopes that a machine token may have which who has this identity makes for
// itself: those given, or, of none, its own. The error is of code Forbidden for one that it has not.
func (i *Identity) Lend(scopes []string) ([]string, error) {
	acc := Account{Scopes: i.Scopes}
	for _, s := range scopes {
		if !acc.mayLend(s) {
			return nil, wire.Errorf(wire.Forbidden, "%s has not the scope %s here, and so cannot give it to a token", i.Account, s)
		}
	}
	if len(scopes) == 0 {
		if len(i.Scopes) == 0 {
			return nil, wire.Errorf(wire.Forbidden, "%s has no scopes here to give to a token", i.Account)
		}
		return slices.Clone(i.Scopes), nil
	}
	return scopes, nil
}

// LendFor returns how long such a token is good: as long as was asked for, 0 being until it is
// revoked, and no longer than the machine token that makes it. A login may make one that stays.
func (i *Identity) LendFor(ttl time.Duration) time.Duration {
	if i.family != "" || i.Expires.IsZero() {
		return ttl
	}
	left := max(time.Until(i.Expires), time.Millisecond)
	if ttl == 0 {
		return left
	}
	return min(ttl, left)
}

// verifyOpaque verifies a machine token, or the root token.
func (a *Authority) verifyOpaque(token string) (*Identity, error) {
	if a.cfg.Root != nil && a.cfg.Root.is(token) {
		return (&Identity{Account: RootAccount, Namespace: Everywhere, Kind: RootKind, Scopes: []string{AdminScope}}).seal(), nil
	}
	wrong := bad("wrong token: it was revoked, or is of another host")
	id, _, ok := strings.Cut(strings.TrimPrefix(token, prefix), "_")
	if !ok {
		return nil, wrong
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.state.stale {
		return nil, errStale
	}
	t := a.state.tokens[id]
	if t == nil {
		return nil, wrong
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(t.Sum)) != 1 {
		return nil, wrong
	}
	if !t.Expires.IsZero() && !time.Now().Before(t.Expires) {
		return nil, faultf(wire.Unauthorized, []error{ErrToken, ErrExpired}, "the token %s of %s has expired: `fnhost token create` makes a new one", t.Name, t.Account)
	}
	return a.lend(t)
}

// lend returns the identity of a machine token: the account as it is now, with no more
// than the token has. a.mu is held.
func (a *Authority) lend(t *Token) (*Identity, error) {
	acc := &Account{Name: RootAccount, Namespace: Everywhere, Kind: Service, Scopes: []string{AdminScope}}
	if t.Account != RootAccount {
		if acc = a.state.accounts[t.Account]; acc == nil {
			return nil, revoked("the account of the token is gone")
		}
		if acc.laterThan(t.Created) {
			return nil, revoked("the token is of an account of that name that is gone")
		}
	}
	id := &Identity{Account: acc.Name, Namespace: acc.Namespace, Kind: acc.Kind, Token: t.ID, Expires: t.Expires}
	if t.Namespace != "" {
		if acc.Namespace != Everywhere && acc.Namespace != t.Namespace {
			return nil, revoked("the account of the token is of another namespace now")
		}
		id.Namespace = t.Namespace
	}
	id.Scopes = slices.Clone(acc.Scopes)
	if len(t.Scopes) > 0 {
		id.Scopes = slices.DeleteFunc(slices.Clone(t.Scopes), func(s string) bool { return !acc.mayLend(s) })
		id.lacks = slices.DeleteFunc(slices.Clone(acc.Scopes), func(s string) bool { return slices.Contains(id.Scopes, s) })
	}
	return id.seal(), nil
}
