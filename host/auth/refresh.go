package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Login is what somebody has who has proved to be an account.
type Login struct {
	Account   string    `json:"account"`
	Namespace string    `json:"namespace"`
	Access    string    `json:"access"`            // access token
	Expires   time.Time `json:"expires"`           // of Access
	Refresh   string    `json:"refresh,omitempty"` // good for one [Authority.Refresh]
}

// family is a login, with all the tokens that came of it.
type family struct {
	Account string    `json:"account"`
	Begun   time.Time `json:"begun"`
	Sum     []byte    `json:"sum"` // SHA-256 of the refresh token that is good
}

// refreshPrefix begins refresh tokens: they are nothing that Verify takes.
const refreshPrefix = "fnrefresh_"

// maxLogin bounds how long a login can be prolonged.
const maxLogin = 365 * 24 * time.Hour

// Login checks a password and returns tokens. The error is an *[wire.Error]: [ErrLogin],
// of code Unauthorized, whether there is no such account, it has no password, or the
// password is another one; or of code Unavailable.
func (a *Authority) Login(ctx context.Context, name, password string) (Login, error) {
	if err := a.withoutBucket(); err != nil {
		return Login{}, err
	}
	a.mu.RLock()
	var acc Account
	if known := a.state.accounts[name]; known != nil {
		acc = *known
	}
	stale := a.state.stale
	a.mu.RUnlock()
	if stale {
		return Login{}, errStale
	}
	ok, err := a.matches(ctx, password, acc.Password)
	if err != nil {
		return Login{}, err
	}
	if !ok || acc.Name == "" {
		return Login{}, faultf(wire.Unauthorized, []error{ErrLogin}, "wrong account or password")
	}
	f := &family{Account: acc.Name, Begun: now()}
	handle := newID()
	id, secret := familyID(handle), f.next(handle)
	if err := a.write(ctx, familyKind+"."+id, f, kv.IfAbsent(), kv.TTL(a.cfg.RefreshTTL.Truncate(time.Second))); err != nil {
		return Login{}, stored("the login", err)
	}
	return a.give(ctx, &acc, id, secret)
}

// CheckPassword returns [ErrLogin], of code Unauthorized, unless the password is that of the
// account.
func (a *Authority) CheckPassword(ctx context.Context, name, password string) error {
	a.mu.RLock()
	encoded := ""
	if acc := a.state.accounts[name]; acc != nil {
		encoded = acc.Password
	}
	a.mu.RUnlock()
	ok, err := a.matches(ctx, password, encoded)
	if err == nil && !ok {
		err = faultf(wire.Unauthorized, []error{ErrLogin}, "wrong account or password")
	}
	return err
}

// familyID returns the name of a login in the bucket and in access tokens. All of its
// refresh tokens begin with the handle that it is made of, so that only who has had one
// of them can end the login by a wrong one.
func familyID(handle string) string {
	sum := sha256.Sum256([]byte(handle))
	return hex.EncodeToString(sum[:16])
}

// next returns the family's next refresh token, which is the only good one from now on.
func (f *family) next(handle string) string {
	token := refreshPrefix + handle + "." + rand.Text()
	sum := sha256.Sum256([]byte(token))
	f.Sum = sum[:]
	return token
}

func (a *Authority) give(ctx context.Context, acc *Account, id, refresh string) (Login, error) {
	access, expires, err := a.issue(ctx, acc, id)
	if err != nil {
		return Login{}, err
	}
	return Login{Account: acc.Name, Namespace: acc.Namespace, Access: access, Expires: expires, Refresh: refresh}, nil
}

// Refresh gives new tokens for a refresh token, which is of no use from then on. The
// error is an *[wire.Error] of code Unauthorized: [ErrReplayed] for a token that was used
// before (its login has ended with that, for whoever holds the newer tokens, too),
// [ErrToken] for any other that is not good; or one of code Unavailable.
func (a *Authority) Refresh(ctx context.Context, token string) (Login, error) {
	if err := a.withoutBucket(); err != nil {
		return Login{}, err
	}
	handle, ok := handleOf(token)
	if !ok {
		return Login{}, bad("this is no refresh token: `fnhost login` begins a new login")
	}
	id := familyID(handle)
	e, err := a.bucket.Get(ctx, familyKind+"."+id)
	if errors.Is(err, kv.ErrNotFound) {
		return Login{}, revoked("the login has ended: `fnhost login` begins a new one")
	}
	var f family
	if err == nil {
		err = json.Unmarshal(e.Value, &f)
	}
	if err != nil {
		return Login{}, stored("the login", err)
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], f.Sum) != 1 {
		return Login{}, a.replayed(ctx, id, f.Account)
	}
	a.mu.RLock()
	acc := a.state.accounts[f.Account]
	a.mu.RUnlock()
	left := min(a.cfg.RefreshTTL, time.Until(f.Begun.Add(maxLogin))).Truncate(time.Second)
	if acc == nil || left < time.Second || f.Begun.Before(acc.Epoch) || acc.laterThan(f.Begun) {
		return Login{}, revoked("the login has ended: `fnhost login` begins a new one")
	}
	next := f.next(handle)
	err = a.write(ctx, familyKind+"."+id, &f, kv.IfRevision(e.Revision), kv.TTL(left))
	if errors.Is(err, kv.ErrConflict) { // two came with the same token at the same moment
		return Login{}, a.replayed(ctx, id, f.Account)
	}
	if err != nil {
		return Login{}, stored("the login", err)
	}
	return a.give(ctx, acc, id, next)
}

func handleOf(token string) (string, bool) {
	rest, ok := strings.CutPrefix(token, refreshPrefix)
	handle, _, parted := strings.Cut(rest, ".")
	return handle, ok && parted && len(token) <= 200
}

// replayed ends a login of which an old refresh token came.
func (a *Authority) replayed(ctx context.Context, id, account string) error {
	if err := a.endFamily(ctx, id); err != nil {
		return err
	}
	a.log.Warn("a refresh token came a second time, and its login has ended: somebody may have stolen it", "account", account)
	return faultf(wire.Unauthorized, []error{ErrToken, ErrReplayed}, "the refresh token was used before: the login has ended, since it may be stolen; `fnhost login` begins a new one")
}

// Logout ends the login of a refresh token. One that is none, or has ended, is no error.
func (a *Authority) Logout(ctx context.Context, token string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	handle, _ := handleOf(token)
	id := familyID(handle)
	a.mu.RLock()
	f := a.state.families[id]
	a.mu.RUnlock()
	sum := sha256.Sum256([]byte(token))
	if f == nil || subtle.ConstantTimeCompare(sum[:], f.Sum) != 1 {
		return nil
	}
	return a.endFamily(ctx, id)
}

func (a *Authority) endFamily(ctx context.Context, id string) error {
	err := kv.Retry(ctx, func() error { return a.remove(ctx, familyKind+"."+id) })
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	return stored("the login", err)
}

func (a *Authority) endFamilies(ctx context.Context, account string) error {
	a.mu.RLock()
	var ids []string
	for id, f := range a.state.families {
		if f.Account == account {
			ids = append(ids, id)
		}
	}
	a.mu.RUnlock()
	for _, id := range ids {
		if err := a.endFamily(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
