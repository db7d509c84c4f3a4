package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// MaxToken bounds what is looked at as a token, in bytes: parsers have been made to
// allocate without end by what is larger (CVE-2025-30204).
const MaxToken = 8 << 10

// leeway is by how much the clocks of hosts may differ.
const leeway = 5 * time.Second

// accessType is the type of access tokens (RFC 9068): no other JWT of the same key is one.
const accessType = "at+jwt"

// accessClaims are those of an access token.
type accessClaims struct {
	jwt.RegisteredClaims
	Family string `json:"fam,omitempty"`   // the login
	Scope  string `json:"scope,omitempty"` // for others who read it: here the account's own count
}

// issue makes an access token of an account.
func (a *Authority) issue(ctx context.Context, acc *Account, family string) (token string, expires time.Time, err error) {
	s, err := a.signing(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	at := time.Now()
	expires = at.Add(a.cfg.AccessTTL).Truncate(time.Second)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.issuer, Subject: acc.Name, Audience: jwt.ClaimStrings{Audience}, ID: newID(),
			IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Family: family, Scope: strings.Join(acc.Scopes, " "),
	})
	t.Header["kid"], t.Header["typ"] = s.id, accessType
	token, err = t.SignedString(s.key)
	return token, expires, err
}

// Verify returns whom a token proves. The error is an *[wire.Error] of code Unauthorized
// that is [ErrNoToken] for an empty one and [ErrToken] for any other, perhaps also
// [ErrExpired] or [ErrRevoked]; or one of code Unavailable, if it cannot be known whether
// it is good.
func (a *Authority) Verify(ctx context.Context, token string) (*Identity, error) {
	switch {
	case token == "":
		return nil, faultf(wire.Unauthorized, []error{ErrNoToken}, "this wants to know who asks"+SendToken)
	case len(token) > MaxToken:
		return nil, bad("the token has %d bytes: at most %d are looked at", len(token), MaxToken)
	}
	generation := a.generation.Load()
	sum := sha256.Sum256([]byte(token))
	if id := a.verified.get(&sum, generation); id != nil {
		return id, nil
	}
	id, err := a.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	a.verified.put(&sum, generation, id)
	return id, nil
}

func (a *Authority) verify(ctx context.Context, token string) (*Identity, error) {
	if strings.HasPrefix(token, prefix) {
		return a.verifyOpaque(token)
	}
	if strings.Count(token, ".") != 2 {
		return nil, bad("the token is none of this host: `fnhost login` or `fnhost token create` gives one")
	}
	issuer, err := issuerOf(token)
	if err != nil {
		return nil, bad("the token is no JWT")
	}
	a.mu.RLock()
	own, stale := a.state.keys.Issuer, a.state.stale
	foreign := a.issuerNamed(issuer)
	a.mu.RUnlock()
	switch {
	case stale:
		return nil, errStale
	case own != "" && issuer == own:
		return a.verifyAccess(token)
	case foreign != nil:
		return a.verifyForeign(ctx, foreign, token)
	}
	return nil, bad("the token is of an issuer that this host does not trust: `fnhost login` gets one of its own")
}

var errStale = wire.Errorf(wire.Unavailable, "tokens cannot be verified at the moment: what was revoked cannot be read")

// issuerOf returns who a JWT says has issued it, which nobody has proved yet.
func issuerOf(token string) (string, error) {
	payload := token[strings.IndexByte(token, '.')+1:]
	payload = payload[:strings.IndexByte(payload, '.')]
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	err = json.Unmarshal(b, &claims)
	return claims.Issuer, err
}

// verifyAccess verifies an access token of this host.
func (a *Authority) verifyAccess(token string) (*Identity, error) {
	var claims accessClaims
	a.mu.RLock()
	keys := a.state.keys
	a.mu.RUnlock()
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(keys.Issuer), jwt.WithAudience(Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding())
	_, err := parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != accessType {
			return nil, errors.New("not an access token")
		}
		kid, _ := t.Header["kid"].(string)
		if key := keys.find(kid); key != nil {
			return key, nil
		}
		return nil, errors.New("unknown key")
	})
	if err != nil {
		return nil, jwtError(err)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	acc, login := a.state.accounts[claims.Subject], a.state.families[claims.Family]
	switch {
	case acc == nil:
		return nil, revoked("the account of the token is gone")
	case a.state.revoked[claims.ID]:
		return nil, revoked("the token was revoked: `fnhost login` gets a new one")
	case login == nil, login.Account != acc.Name, login.Begun.Before(acc.Epoch), acc.laterThan(login.Begun):
		return nil, revoked("the login of the token has ended: `fnhost login` begins a new one")
	}
	id := &Identity{Account: acc.Name, Namespace: acc.Namespace, Kind: acc.Kind, Scopes: slices.Clone(acc.Scopes), Token: claims.ID, Expires: claims.ExpiresAt.Time, family: claims.Family}
	return id.seal(), nil
}

func revoked(text string) error {
	return faultf(wire.Unauthorized, []error{ErrToken, ErrRevoked}, "%s", text)
}

// jwtError says what is wrong with a JWT, and not more than who has made it may know.
func jwtError(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return faultf(wire.Unauthorized, []error{ErrToken, ErrExpired}, "the token has expired: `fnhost login` gets a new one")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return bad("the token is for somebody else: its audience is not this host")
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued), errors.Is(err, jwt.ErrTokenNotValidYet):
		return bad("the token is not good yet: compare the clocks")
	}
	return bad("the token cannot be verified: it is damaged, forged, or signed by a key that is no longer in use")
}

// Revoke ends an access token, but not the login that it belongs to; or a machine token.
func (a *Authority) Revoke(ctx context.Context, id *Identity) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	switch {
	case id.Kind == RootKind || id.Kind == External:
		return wire.Errorf(wire.BadRequest, "this token cannot be revoked here")
	case a.token(id.Token) != nil:
		return a.RevokeToken(ctx, id.Token)
	}
	left := max(time.Until(id.Expires)+2*leeway, time.Second).Truncate(time.Second)
	return stored("the revocation", a.write(ctx, revokedKind+"."+id.Token, struct{}{}, kv.TTL(left)))
}

// EndLogin ends the login that an access token is of.
func (a *Authority) EndLogin(ctx context.Context, id *Identity) error {
	if err := a.withoutBucket(); err != nil || id.family == "" {
		return err
	}
	return a.endFamily(ctx, id.family)
}

// verified are the tokens that were verified last, by their SHA-256, so that a signature
// is verified once and not at each request.
type verified struct {
	mu sync.RWMutex
	m  map[[sha256.Size]byte]known
}

type known struct {
	id         *Identity
	generation uint64 // of the state at which it was verified
	until      time.Time
}

// foreignFresh is how long a token of another issuer is not verified again: its keys may
// be taken back.
const foreignFresh = 5 * time.Minute

// maxVerified bounds how many are kept: some MB.
const maxVerified = 10_000

func (v *verified) get(sum *[sha256.Size]byte, generation uint64) *Identity {
	v.mu.RLock()
	k, ok := v.m[*sum]
	v.mu.RUnlock()
	if !ok || k.generation != generation || !k.until.IsZero() && !time.Now().Before(k.until) {
		return nil
	}
	return k.id
}

func (v *verified) put(sum *[sha256.Size]byte, generation uint64, id *Identity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m == nil || len(v.m) >= maxVerified {
		v.m = make(map[[sha256.Size]byte]known) // all are verified anew, once
	}
	until := id.Expires
	if fresh := time.Now().Add(foreignFresh); id.Kind == External && until.After(fresh) {
		until = fresh
	}
	v.m[*sum] = known{id, generation, until}
}

// encodeIdentity returns what functions get to know of an identity.
func encodeIdentity(i *Identity) string {
	b, _ := json.Marshal(map[string]any{"account": i.Account, "namespace": i.Namespace, "kind": i.Kind, "scopes": i.Scopes, "issuer": i.Issuer})
	return string(b)
}
