package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"github.com/fnhost/fnhost/functions/wire"
)

// provider is an OpenID Connect provider, made with another library than the one that is
// tested.
type provider struct {
	*httptest.Server
	mu   sync.Mutex
	keys []jose.JSONWebKey // with their private halves
	down bool
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		w.WriteHeader(http.StatusInternalServerError)
	case r.URL.Path == "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	case r.URL.Path == "/keys":
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

// key makes a key of an algorithm, and publishes it.
func (p *provider) key(t *testing.T, id string, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	var private any
	var err error
	switch alg {
	case jose.RS256, jose.PS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(alg), Use: "sig"}
	p.mu.Lock()
	p.keys = append(p.keys, k)
	p.mu.Unlock()
	return k
}

func (p *provider) claims() map[string]any {
	return map[string]any{"iss": p.URL, "aud": "fnhost-test", "sub": "ada@example.com", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"groups": []string{"eng", "unknown"}}
}

func sign(t *testing.T, k jose.JSONWebKey, claims map[string]any, header ...string) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.KeyID)
	for i := 0; i < len(header); i += 2 {
		o = o.WithHeader(jose.HeaderKey(header[i]), header[i+1])
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k.Key}, o)
	if err != nil {
		t.Fatal(err)
	}
	token, err := josejwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func trusting(t *testing.T, p *provider) *Authority {
	t.Helper()
	a := open(t, Config{Client: p.Client()})
	if err := a.AddIssuer(t.Context(), Issuer{Name: "corp", URL: p.URL, Audience: "fnhost-test", Namespace: "acme", ScopesClaim: "groups",
		Scopes: map[string][]string{"eng": {"developer"}}, Always: []string{"employee"}}); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokensOfATrustedIssuerAreTaken(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			p := newProvider(t)
			k := p.key(t, "k1", alg)
			a := trusting(t, p)
			id := proves(t, a, sign(t, k, p.claims()), "corp/ada@example.com")
			if id.Namespace != "acme" || id.Kind != External || !slices.Equal(id.Scopes, []string{"developer", "employee"}) || id.Issuer != p.URL {
				t.Errorf("identity %+v", id)
			}
			next := p.key(t, "k2", alg)
			proves(t, a, sign(t, next, p.claims()), "corp/ada@example.com") // a key that it has not seen before
			if err := a.RemoveIssuer(t.Context(), "corp"); err != nil {
				t.Fatal(err)
			}
			refuses(t, a, sign(t, k, p.claims()), ErrToken)
		})
	}
}

func TestTokensThatATrustedIssuerHasNotMadeAreRefused(t *testing.T) {
	p := newProvider(t)
	k := p.key(t, "k1", jose.RS256)
	a := trusting(t, p)
	evil := newProvider(t)
	theirs := evil.key(t, "k1", jose.RS256)
	with := func(name string, value any) map[string]any {
		c := p.claims()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	public, err := k.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	unknown := theirs
	unknown.KeyID = "k9"
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: theirs.Key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	withKey, err := josejwt.Signed(embedded).Claims(p.claims()).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another key of that name":   sign(t, theirs, p.claims()),
		"an unknown key":             sign(t, unknown, p.claims()),
		"a key that it brings":       withKey,
		"keys from where it says":    sign(t, theirs, p.claims(), "jku", evil.URL+"/keys"),
		"its own key, and a jku":     sign(t, k, p.claims(), "jku", evil.URL+"/keys"),
		"its own key, and an x5u":    sign(t, k, p.claims(), "x5u", evil.URL+"/keys"),
		"the public key as a secret": sign(t, jose.JSONWebKey{Key: public, KeyID: "k1", Algorithm: "HS256"}, p.claims()),
		"another issuer":             sign(t, k, with("iss", evil.URL)),
		"the issuer with a slash":    sign(t, k, with("iss", p.URL+"/")),
		"another audience":           sign(t, k, with("aud", "somebody")),
		"no audience":                sign(t, k, with("aud", nil)),
		"expired":                    sign(t, k, with("exp", time.Now().Add(-time.Hour).Unix())),
		"no expiry":                  sign(t, k, with("exp", nil)),
		"not good yet":               sign(t, k, with("nbf", time.Now().Add(time.Hour).Unix())),
		"nobody":                     sign(t, k, with("sub", nil)),
		"a number for a name":        sign(t, k, with("sub", 7)),
		"no signature":               strings.TrimRight(sign(t, k, p.claims()), "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, a, token, ErrToken) })
	}
	proves(t, a, sign(t, k, p.claims()), "corp/ada@example.com")
}

func TestAnIssuerWhoseKeysCannotBeReadLetsNobodyIn(t *testing.T) {
	p := newProvider(t)
	k := p.key(t, "k1", jose.ES256)
	p.down = true
	a := trusting(t, p)
	if id, err := a.Verify(t.Context(), sign(t, k, p.claims())); id != nil || !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestIssuersThatCannotBeTrusted(t *testing.T) {
	a := open(t, Config{})
	for name, i := range map[string]Issuer{
		"no name":            {URL: "https://id.example.com", Audience: "x"},
		"no audience":        {Name: "corp", URL: "https://id.example.com"},
		"no URL":             {Name: "corp", Audience: "x"},
		"without TLS":        {Name: "corp", URL: "http://id.example.com", Audience: "x"},
		"keys without TLS":   {Name: "corp", URL: "https://id.example.com", JWKS: "http://id.example.com/keys", Audience: "x"},
		"a file":             {Name: "corp", URL: "https://id.example.com", JWKS: "file:///etc/passwd", Audience: "x"},
		"a scope for anyone": {Name: "corp", URL: "https://id.example.com", Audience: "x", Always: []string{"public"}},
	} {
		if err := a.AddIssuer(t.Context(), i); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the host signs, another library verifies by what the host publishes.
func TestOthersVerifyAccessTokensByTheJWKS(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada", "developer")
	token, err := josejwt.ParseSigned(login(t, a, "ada").Access, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	var claims struct {
		josejwt.Claims
		Scope string `json:"scope"`
	}
	if err := token.Claims(set, &claims); err != nil || claims.Subject != "ada" || claims.Scope != "developer" {
		t.Errorf("%+v, %v", claims, err)
	}
	if err := claims.Validate(josejwt.Expected{AnyAudience: josejwt.Audience{Audience}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
}

// Whatever is sent as a token: no panic, and nothing is taken that another library refuses.
func FuzzVerify(f *testing.F) {
	a := open(f, Config{})
	account(f, a, "ada", AdminScope)
	l, err := a.Login(f.Context(), "ada", password)
	if err != nil {
		f.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.JWKS(), &set); err != nil {
		f.Fatal(err)
	}
	f.Add(l.Access)
	f.Add(l.Refresh)
	f.Add("fnhost_a_b")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := a.Verify(t.Context(), token)
		if (id == nil) == (err == nil) {
			t.Fatalf("%+v and %v", id, err)
		}
		if err != nil {
			return
		}
		parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatalf("taken, and no JWT: %v", err)
		}
		var claims josejwt.Claims
		if err := parsed.Claims(set, &claims); err != nil || claims.Subject != id.Account {
			t.Fatalf("taken as %s, and not signed as that: %+v, %v", id.Account, claims, err)
		}
	})
}
