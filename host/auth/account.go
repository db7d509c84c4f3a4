package auth

import (
	"context"
	"crypto/rand"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/kv"
)

// Account is a person or a service.
type Account struct {
	Name      string    `json:"name"`      // 1 to 63 of a-z, 0-9, - and _, the first a letter or digit
	Namespace string    `json:"namespace"` // that it belongs to, "*" for all
	Kind      string    `json:"kind"`      // [Person] or [Service]
	Scopes    []string  `json:"scopes,omitempty"`
	Password  string    `json:"password,omitempty"` // argon2id, encoded; "" for an account that cannot log in
	Epoch     time.Time `json:"epoch,omitzero"`     // tokens of before are refused
	Created   time.Time `json:"created,omitzero"`
	By        string    `json:"by,omitempty"` // who has made it
}

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	scopePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,62}$`)
)

// RootAccount is the name of who has the root token.
const RootAccount = "root"

// NewAccount says what account is to be made.
type NewAccount struct {
	Name      string
	Namespace string   // default: "*"
	Kind      string   // default: [Person]
	Scopes    []string // that it has, from the first moment
	Password  string   // at least 12 characters; "" for none
	By        string   // who makes it
}

func (n *NewAccount) complete() error {
	if n.Namespace == "" {
		n.Namespace = Everywhere
	}
	if n.Kind == "" {
		n.Kind = Person
	}
	switch {
	case !namePattern.MatchString(n.Name):
		return wire.Errorf(wire.BadRequest, "%.80q is no name of an account: want 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit", n.Name)
	case n.Name == RootAccount:
		return wire.Errorf(wire.BadRequest, "root is the account of the host's own token: choose another name")
	case n.Name == rules.Public:
		return wire.Errorf(wire.BadRequest, "%s is anybody, without proof, where rules are asked for: choose another name", rules.Public)
	case n.Kind != Person && n.Kind != Service:
		return wire.Errorf(wire.BadRequest, "%.80q is no kind of account: want %s or %s", n.Kind, Person, Service)
	}
	var err error
	n.Scopes, err = cleanScopes(n.Scopes)
	return err
}

// cleanScopes returns scopes sorted, each once.
func cleanScopes(list []string) ([]string, error) {
	var out []string
	for _, s := range list {
		s = strings.TrimSpace(s)
		switch {
		case s == "":
			continue
		case s == rules.Public || !scopePattern.MatchString(s):
			return nil, wire.Errorf(wire.BadRequest, "%.80q is no scope: want 1 to 63 letters, digits and _ . : / -, and neither %q nor %q", s, rules.Public, rules.Any)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// CreateAccount makes an account. The error is an *[wire.Error]: of code BadRequest for
// what is none, Conflict if there is one of that name, Unavailable if it cannot be stored.
func (a *Authority) CreateAccount(ctx context.Context, n NewAccount) (Account, error) {
	if err := a.withoutBucket(); err != nil {
		return Account{}, err
	}
	if err := n.complete(); err != nil {
		return Account{}, err
	}
	acc := Account{Name: n.Name, Namespace: n.Namespace, Kind: n.Kind, Scopes: n.Scopes, Created: now(), By: n.By}
	if n.Password != "" {
		var err error
		if acc.Password, err = a.hashPassword(ctx, n.Password); err != nil {
			return Account{}, err
		}
	}
	if err := a.write(ctx, accountKind+"."+n.Name, &acc, kv.IfAbsent()); err != nil {
		return Account{}, stored("account "+n.Name, err)
	}
	return acc.shown(), nil
}

// notRoot refuses what is asked of the host's own account.
func notRoot(name string) error {
	if name != RootAccount {
		return nil
	}
	return wire.Errorf(wire.Forbidden, "root is the account of the host's own token, which is always there, and has no logins: who removes the file %s in the data directory and starts the host again gets another token", FileName)
}

// laterThan reports whether the account was made after something that is said to be its: that
// is of an account of the same name which is gone. Another host, of another clock, may have made it.
func (acc *Account) laterThan(made time.Time) bool { return made.Before(acc.Created.Add(-leeway)) }

// shown is the account without what nobody needs to see.
func (acc Account) shown() Account {
	if acc.Password != "" {
		acc.Password = "set"
	}
	return acc
}

// Accounts returns all accounts, by name, with "set" for a password.
func (a *Authority) Accounts() []Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]Account, 0, len(a.state.accounts))
	for _, name := range slices.Sorted(maps.Keys(a.state.accounts)) {
		list = append(list, a.state.accounts[name].shown())
	}
	return list
}

// ChangeAccount changes scopes or password of an account; nil leaves one as it is. A new
// password ends all its logins. The error is as of CreateAccount, of code NotFound if
// there is no such account, and Forbidden if nobody could change rules any more.
func (a *Authority) ChangeAccount(ctx context.Context, name string, scopes *[]string, password *string) (Account, error) {
	if err := a.withoutBucket(); err != nil {
		return Account{}, err
	}
	if err := notRoot(name); err != nil {
		return Account{}, err
	}
	var list []string
	var hash string
	var err error
	if scopes != nil {
		if list, err = cleanScopes(*scopes); err != nil {
			return Account{}, err
		}
	}
	if scopes != nil && !slices.Contains(list, AdminScope) {
		if err := a.keepsAdmin(a.Rules(), name); err != nil {
			return Account{}, err
		}
	}
	if password != nil && *password != "" {
		if hash, err = a.hashPassword(ctx, *password); err != nil {
			return Account{}, err
		}
	}
	if !namePattern.MatchString(name) {
		return Account{}, wire.Errorf(wire.NotFound, "there is no account %.80q", name)
	}
	acc, err := change(ctx, a, accountKind+"."+name, func(acc *Account) error {
		if scopes != nil {
			acc.Scopes = list
		}
		if password != nil {
			acc.Password, acc.Epoch = hash, now()
		}
		return nil
	})
	if err != nil {
		return Account{}, stored("account "+name, err)
	}
	if password != nil {
		err = a.endFamilies(ctx, name)
	}
	return acc.shown(), err
}

// RemoveAccount removes an account: its tokens, of whatever kind, prove nothing any more.
// The error is of code NotFound if there is none, and Forbidden if nobody could change
// rules any more.
func (a *Authority) RemoveAccount(ctx context.Context, name string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if err := notRoot(name); err != nil {
		return err
	}
	if err := a.keepsAdmin(a.Rules(), name); err != nil {
		return err
	}
	if !namePattern.MatchString(name) {
		return wire.Errorf(wire.NotFound, "there is no account %.80q", name)
	}
	if err := a.remove(ctx, accountKind+"."+name); err != nil {
		return stored("account "+name, err)
	}
	// Who makes an account of the name again must not find the tokens of the old one.
	if err := a.endFamilies(ctx, name); err != nil {
		return err
	}
	for _, t := range a.Tokens() {
		if t.Account == name {
			if err := a.RevokeToken(ctx, t.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// EndLogins ends all logins of an account: access tokens of before are refused from now
// on, and refresh tokens, too. Machine tokens stay. The error is of code NotFound if there
// is no such account.
func (a *Authority) EndLogins(ctx context.Context, name string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if err := notRoot(name); err != nil {
		return err
	}
	if !namePattern.MatchString(name) {
		return wire.Errorf(wire.NotFound, "there is no account %.80q", name)
	}
	if _, err := change(ctx, a, accountKind+"."+name, func(acc *Account) error { acc.Epoch = now(); return nil }); err != nil {
		return stored("account "+name, err)
	}
	return a.endFamilies(ctx, name)
}

// now is the time as it is stored.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// newID returns the ID of something: 130 random bits.
func newID() string { return strings.ToLower(rand.Text()) }
