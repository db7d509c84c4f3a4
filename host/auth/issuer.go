package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Issuer is somebody else whose JWTs the host takes, such as an OpenID Connect provider.
type Issuer struct {
	Name string `json:"name"` // here; begins the names of its accounts: "corp/ada@example.com"
	// URL is the issuer as its tokens have it (iss), exactly.
	URL string `json:"url"`
	// JWKS is where its keys are, https. Default: what its discovery document says, at
	// URL/.well-known/openid-configuration.
	JWKS string `json:"jwks,omitempty"`
	// Audience must be among those of the token.
	Audience string `json:"audience"`
	// Namespace is that its identities belong to; "*" is all.
	Namespace string `json:"namespace"`
	// AccountClaim names the claim that tells people apart. Default: sub.
	AccountClaim string `json:"accountClaim,omitempty"`
	// ScopesClaim names the claim that is mapped to scopes: a list, or words in a text,
	// such as groups. Default: scope.
	ScopesClaim string `json:"scopesClaim,omitempty"`
	// Scopes are those that a value of that claim stands for. What is not in it stands
	// for nothing.
	Scopes map[string][]string `json:"scopes,omitempty"`
	// Always are scopes that all of its identities have.
	Always  []string  `json:"always,omitempty"`
	Created time.Time `json:"created,omitzero"`
	By      string    `json:"by,omitempty"`
}

// algorithms are what others may sign with. None is symmetric, and none is "none".
var algorithms = []string{"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

// issuer is one with its keys, which are fetched when the first token comes.
type issuer struct {
	Issuer

	mu    sync.Mutex // held while they are fetched
	keys  keyfunc.Keyfunc
	tried time.Time // the last time that they could not be had
	err   error     // why

	ending sync.Mutex // guards what follows, and is held for nothing else
	cancel context.CancelFunc
	ended  bool
}

func (i *issuer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &i.Issuer) }

// stop ends the following of its keys. It does not wait for who fetches them at the moment.
func (i *issuer) stop() {
	i.ending.Lock()
	defer i.ending.Unlock()
	i.ended = true
	if i.cancel != nil {
		i.cancel()
	}
}

// follows notes what ends the following of its keys.
func (i *issuer) follows(cancel context.CancelFunc) {
	i.ending.Lock()
	defer i.ending.Unlock()
	if i.cancel = cancel; i.ended {
		cancel()
	}
}

// issuerNamed returns the issuer of that URL, nil if there is none. a.mu is held.
func (a *Authority) issuerNamed(url string) *issuer {
	for _, i := range a.state.issuers {
		if i.URL == url {
			return i
		}
	}
	return nil
}

// Issuers returns the other issuers, by name.
func (a *Authority) Issuers() []Issuer {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []Issuer
	for _, name := range slices.Sorted(maps.Keys(a.state.issuers)) {
		list = append(list, a.state.issuers[name].Issuer)
	}
	return list
}

// AddIssuer has the host take the JWTs of another issuer. The error is an *[wire.Error]: of
// code BadRequest for what is none, Conflict if there is one of that name or URL,
// Unavailable if it cannot be stored.
func (a *Authority) AddIssuer(ctx context.Context, i Issuer) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if err := i.validate(); err != nil {
		return err
	}
	a.mu.RLock()
	taken := a.issuerNamed(i.URL) != nil
	a.mu.RUnlock()
	if taken {
		return wire.Errorf(wire.Conflict, "the issuer %s is known already", i.URL)
	}
	i.Created = now()
	return stored("issuer "+i.Name, a.write(ctx, issuerKind+"."+i.Name, &i, kv.IfAbsent()))
}

// RemoveIssuer has the host refuse its tokens from now on. The error is of code NotFound
// if there is none of that name.
func (a *Authority) RemoveIssuer(ctx context.Context, name string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if !namePattern.MatchString(name) {
		return wire.Errorf(wire.NotFound, "there is no issuer %.80q", name)
	}
	return stored("issuer "+name, a.remove(ctx, issuerKind+"."+name))
}

func (i *Issuer) validate() error {
	if i.Namespace == "" {
		i.Namespace = "default"
	}
	if i.AccountClaim == "" {
		i.AccountClaim = "sub"
	}
	if i.ScopesClaim == "" {
		i.ScopesClaim = "scope"
	}
	switch {
	case !namePattern.MatchString(i.Name):
		return wire.Errorf(wire.BadRequest, "%.80q is no name of an issuer: want 1 to 63 of a-z, 0-9, - and _", i.Name)
	case i.Audience == "":
		return wire.Errorf(wire.BadRequest, "the audience is missing: a token that is meant for somebody else must not count here")
	}
	for _, link := range []string{i.URL, i.JWKS} {
		if u, err := url.Parse(link); link != "" && (err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname()))) {
			return wire.Errorf(wire.BadRequest, "%.200q is no https URL: who changes the keys on the way gets in", link)
		}
	}
	if i.URL == "" {
		return wire.Errorf(wire.BadRequest, "the URL of the issuer is missing, as its tokens have it (iss)")
	}
	var err error
	if i.Always, err = cleanScopes(i.Always); err != nil {
		return err
	}
	for value, list := range i.Scopes {
		if i.Scopes[value], err = cleanScopes(list); err != nil {
			return err
		}
	}
	return nil
}

func isLoopback(name string) bool { return name == "localhost" || name == "127.0.0.1" || name == "::1" }

// How often keys are asked for.
const (
	keysInterval = time.Hour        // anew
	keysRetry    = 10 * time.Second // after they could not be had
	keysTimeout  = 10 * time.Second
	maxDocument  = 1 << 20 // bytes of what another issuer answers
)

// keyfuncOf returns the keys of another issuer.
func (a *Authority) keyfuncOf(ctx context.Context, i *issuer) (keyfunc.Keyfunc, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys != nil {
		return i.keys, nil
	}
	if time.Since(i.tried) < keysRetry {
		return nil, i.err
	}
	err := func() error {
		ctx, cancel := context.WithTimeout(ctx, keysTimeout)
		defer cancel()
		from, err := a.keysURL(ctx, &i.Issuer)
		if err != nil {
			return err
		}
		must := false
		client := *a.cfg.Client
		client.Transport = bounded{client.Transport}
		following, stop := context.WithCancel(a.ctx)
		i.keys, err = keyfunc.NewDefaultOverrideCtx(following, []string{from}, keyfunc.Override{
			Client: &client, HTTPTimeout: keysTimeout, NoErrorReturnFirstHTTPReq: &must, RateLimitWaitMax: time.Second, RefreshInterval: keysInterval,
			RefreshErrorHandlerFunc: func(u string) func(context.Context, error) {
				return func(_ context.Context, err error) {
					a.log.Warn("the keys of another issuer cannot be read anew: "+err.Error(), "issuer", i.Name, "url", u)
				}
			},
		})
		if err != nil {
			stop()
			i.keys = nil
			return err
		}
		i.follows(stop)
		return nil
	}()
	if err != nil {
		a.log.Warn("the keys of another issuer cannot be read: "+err.Error(), "issuer", i.Name)
		i.tried, i.err = time.Now(), wire.Errorf(wire.Unavailable, "the keys of the issuer %s cannot be read at the moment", i.Name)
		return nil, i.err
	}
	return i.keys, nil
}

// tryTimeout bounds how long TryIssuer waits.
const tryTimeout = 5 * time.Second

// TryIssuer reads the keys of another issuer once, and returns why they cannot be read. It keeps
// nothing of them.
func (a *Authority) TryIssuer(ctx context.Context, i Issuer) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	from, err := a.keysURL(ctx, &i)
	if err != nil {
		return err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := a.fetch(ctx, from, &set); err != nil {
		return err
	}
	if len(set.Keys) == 0 {
		return fmt.Errorf("%s has no keys", redacted(from))
	}
	return nil
}

// fetch reads a JSON document of another issuer.
func (a *Authority) fetch(ctx context.Context, from string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := a.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", req.URL.Redacted(), resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", req.URL.Redacted(), err)
	}
	return nil
}

// redacted is a URL without its password.
func redacted(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return "the address"
	}
	return u.Redacted()
}

// keysURL returns where the keys are, if need be by the discovery document (OpenID
// Connect Discovery 1.0), which must be of that issuer.
func (a *Authority) keysURL(ctx context.Context, i *Issuer) (string, error) {
	if i.JWKS != "" {
		return i.JWKS, nil
	}
	from := strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := a.fetch(ctx, from, &doc); err != nil {
		return "", err
	}
	if doc.Issuer != i.URL {
		return "", fmt.Errorf("%s is of the issuer %q", redacted(from), doc.Issuer)
	}
	check := Issuer{Name: i.Name, URL: i.URL, Audience: i.Audience, JWKS: doc.JWKS}
	if doc.JWKS == "" {
		return "", fmt.Errorf("%s names no keys", redacted(from))
	}
	return doc.JWKS, check.validate()
}

// bounded bounds what is read of an answer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	t := b.RoundTripper
	if t == nil {
		t = http.DefaultTransport
	}
	resp, err := t.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxDocument), resp.Body}
	}
	return resp, err
}

// verifyForeign verifies a JWT of another issuer.
func (a *Authority) verifyForeign(ctx context.Context, i *issuer, token string) (*Identity, error) {
	keys, err := a.keyfuncOf(ctx, i)
	if err != nil {
		return nil, err
	}
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithIssuer(i.URL), jwt.WithAudience(i.Audience), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding())
	t, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		// Where a token says its keys are is nothing that counts: only the issuer's own do.
		for _, forbidden := range []string{"jku", "x5u", "jwk", "x5c", "crit"} {
			if _, has := t.Header[forbidden]; has {
				return nil, fmt.Errorf("the header %s is not taken", forbidden)
			}
		}
		return keys.KeyfuncCtx(ctx)(t)
	})
	if err != nil {
		return nil, jwtError(err)
	}
	name, _ := claims[i.AccountClaim].(string)
	if name == "" || len(name) > 200 {
		return nil, bad("the token has no %s to tell people apart by", i.AccountClaim)
	}
	expires, _ := t.Claims.GetExpirationTime()
	id := &Identity{Account: i.Name + "/" + name, Namespace: i.Namespace, Kind: External, Scopes: i.scopesOf(claims[i.ScopesClaim]), Issuer: i.URL, Expires: expires.Time}
	id.Token, _ = claims["jti"].(string)
	return id.seal(), nil
}

// scopesOf maps the values of a claim to scopes.
func (i *Issuer) scopesOf(claim any) []string {
	out := slices.Clone(i.Always)
	switch v := claim.(type) {
	case string:
		for _, word := range strings.Fields(v) {
			out = append(out, i.Scopes[word]...)
		}
	case []any:
		for _, one := range v {
			if word, ok := one.(string); ok {
				out = append(out, i.Scopes[word]...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
