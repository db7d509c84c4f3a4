package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
)

func TestALoginProvesItsAccount(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada", "developer", "billing")
	l := login(t, a, "ada")
	id := proves(t, a, l.Access, "ada")
	if id.Namespace != Everywhere || id.Kind != Person || !slices.Equal(id.Scopes, []string{"billing", "developer"}) || id.Expires.IsZero() {
		t.Errorf("identity %+v", id)
	}
	if again := proves(t, a, l.Access, "ada"); again != id {
		t.Error("it was verified anew, though nothing has changed")
	}
	for name, pw := range map[string]string{"ada": "wrong horse battery", "eve": password, "": ""} {
		if _, err := a.Login(t.Context(), name, pw); !errors.Is(err, ErrLogin) {
			t.Errorf("login of %q: %v", name, err)
		}
	}
	refuses(t, a, "", ErrNoToken)
	refuses(t, a, l.Refresh, ErrToken)
}

// forge returns a JWT of any header and claims, signed by sign.
func forge(header, claims map[string]any, sign func(string) []byte) string {
	encode := func(v any) string { b, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(b) }
	text := encode(header) + "." + encode(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func TestForgedTokensProveNothing(t *testing.T) {
	keys := &vault{}
	a := open(t, Config{Secrets: keys})
	account(t, a, "ada", AdminScope)
	l := login(t, a, "ada")
	parts := strings.Split(l.Access, ".")
	claims := map[string]any{}
	header := map[string]any{}
	for i, m := range []map[string]any{header, claims} {
		b, _ := base64.RawURLEncoding.DecodeString(parts[i])
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
	}
	kid := header["kid"].(string)
	seed, _ := keys.Get(t.Context(), secretOf(kid))
	own := func(text string) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(text)) }
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	with := func(m map[string]any, pairs ...any) map[string]any {
		c := make(map[string]any)
		for k, v := range m {
			c[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			if c[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
				delete(c, pairs[i].(string))
			}
		}
		return c
	}
	proves(t, a, forge(header, claims, own), "ada") // the forger's tools work
	public := a.state.keys.Keys[0].Key
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	for name, token := range map[string]string{
		"alg none":               forge(with(header, "alg", "none"), claims, func(string) []byte { return nil }),
		"alg None":               forge(with(header, "alg", "None"), claims, func(string) []byte { return nil }),
		"alg HS256, public key":  forge(with(header, "alg", "HS256"), claims, func(s string) []byte { m := hmac.New(sha256.New, public); m.Write([]byte(s)); return m.Sum(nil) }),
		"alg Ed25519":            forge(with(header, "alg", "Ed25519"), claims, own),
		"another key":            forge(header, claims, func(s string) []byte { return ed25519.Sign(other, []byte(s)) }),
		"unknown kid":            forge(with(header, "kid", "other"), claims, own),
		"no kid":                 forge(with(header, "kid", nil), claims, own),
		"another type":           forge(with(header, "typ", "JWT"), claims, own),
		"no type":                forge(with(header, "typ", nil), claims, own),
		"wrong audience":         forge(header, with(claims, "aud", "somebody"), own),
		"no audience":            forge(header, with(claims, "aud", nil), own),
		"no expiry":              forge(header, with(claims, "exp", nil), own),
		"issued in the future":   forge(header, with(claims, "iat", future), own),
		"not before the future":  forge(header, with(claims, "nbf", future), own),
		"another issuer":         forge(header, with(claims, "iss", "https://evil.example"), own),
		"no issuer":              forge(header, with(claims, "iss", nil), own),
		"another account":        forge(header, with(claims, "sub", "bob"), own),
		"no login":               forge(header, with(claims, "fam", nil), own),
		"a login of nobody":      forge(header, with(claims, "fam", "00"), own),
		"signature cut off":      strings.Join(parts[:2], ".") + ".",
		"two parts":              strings.Join(parts[:2], "."),
		"four parts":             l.Access + ".x",
		"a changed payload":      parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bob"}`)) + "." + parts[2],
		"padding":                l.Access + "=",
		"nothing but dots":       "..",
		"a megabyte of dots":     strings.Repeat(".", 1<<20),
		"a megabyte":             l.Access + strings.Repeat("A", 1<<20),
		"a root token of others": prefix + rand.Text(),
		"a machine token":        prefix + "abc_" + rand.Text(),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, a, token, ErrToken) })
	}
	refuses(t, a, forge(header, with(claims, "exp", past), own), ErrExpired)
}

func TestTokensEndWhenTheyAreTakenBack(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, a *Authority, l Login, id *Identity) error
	}{
		{"the token", func(t *testing.T, a *Authority, _ Login, id *Identity) error { return a.Revoke(t.Context(), id) }},
		{"the login", func(t *testing.T, a *Authority, l Login, _ *Identity) error { return a.Logout(t.Context(), l.Refresh) }},
		{"the login by its token", func(t *testing.T, a *Authority, _ Login, id *Identity) error { return a.EndLogin(t.Context(), id) }},
		{"all logins", func(t *testing.T, a *Authority, _ Login, _ *Identity) error { return a.EndLogins(t.Context(), "ada") }},
		{"the password", func(t *testing.T, a *Authority, _ Login, _ *Identity) error {
			next := "another horse battery"
			_, err := a.ChangeAccount(t.Context(), "ada", nil, &next)
			return err
		}},
		{"the account", func(t *testing.T, a *Authority, _ Login, _ *Identity) error {
			return a.RemoveAccount(t.Context(), "ada")
		}},
		{"the account, and one of its name is made", func(t *testing.T, a *Authority, _ Login, _ *Identity) error {
			err := a.RemoveAccount(t.Context(), "ada")
			account(t, a, "ada", AdminScope)
			return err
		}},
		{"the keys, twice", func(t *testing.T, a *Authority, _ Login, _ *Identity) error {
			_, err := a.RotateKeys(t.Context())
			_, err2 := a.RotateKeys(t.Context())
			return errors.Join(err, err2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bucket, keys := newBucket(t), &vault{}
			a := open(t, Config{Bucket: bucket, Secrets: keys})
			elsewhere := open(t, Config{Bucket: bucket, Secrets: keys})
			account(t, a, "ada", "developer")
			l := login(t, a, "ada")
			id := proves(t, a, l.Access, "ada")
			within(t, func() bool { _, err := elsewhere.Verify(t.Context(), l.Access); return err == nil })
			if err := c.end(t, a, l, id); err != nil {
				t.Fatal(err)
			}
			refuses(t, a, l.Access, ErrToken)
			within(t, func() bool { _, err := elsewhere.Verify(t.Context(), l.Access); return errors.Is(err, ErrToken) })
		})
	}
}

// within waits until something is so.
func within(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not so after 20 s")
		}
	}
}

func TestOneRotationOfKeysEndsNothing(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada")
	l := login(t, a, "ada")
	if _, err := a.RotateKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	proves(t, a, l.Access, "ada")
	next := login(t, a, "ada")
	proves(t, a, next.Access, "ada")
	list := a.Keys()
	if len(list) != 2 || !list[0].Active || list[1].Active {
		t.Errorf("keys %+v", list)
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(next.Access, jwt.MapClaims{})
	if err != nil || parsed.Header["kid"] != list[0].ID {
		t.Errorf("signed by %v, %v", parsed.Header["kid"], err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(a.JWKS(), &set); err != nil || len(set.Keys) != 2 || set.Keys[0]["kid"] != list[0].ID || set.Keys[0]["kty"] != "OKP" {
		t.Errorf("JWKS %s, %v", a.JWKS(), err)
	}
}

func TestARefreshTokenIsGoodOnce(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada")
	first := login(t, a, "ada")
	second, err := a.Refresh(t.Context(), first.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	proves(t, a, second.Access, "ada")
	proves(t, a, first.Access, "ada") // until it expires
	other := login(t, a, "ada")
	if _, err := a.Refresh(t.Context(), first.Refresh); !errors.Is(err, ErrReplayed) {
		t.Errorf("the second time: %v", err)
	}
	refuses(t, a, first.Access, ErrRevoked)
	refuses(t, a, second.Access, ErrRevoked)
	if _, err := a.Refresh(t.Context(), second.Refresh); !errors.Is(err, ErrRevoked) {
		t.Errorf("of a login that has ended: %v", err)
	}
	proves(t, a, other.Access, "ada") // another login
	for _, token := range []string{"", refreshPrefix, refreshPrefix + "x.y", first.Access, strings.Repeat("x", 1<<20)} {
		if _, err := a.Refresh(t.Context(), token); !errors.Is(err, ErrToken) {
			t.Errorf("refresh by %.40q: %v", token, err)
		}
	}
}

func TestAnAccessTokenCannotEndItsLoginByAWrongRefreshToken(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada")
	l := login(t, a, "ada")
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(l.Access, claims); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Refresh(t.Context(), refreshPrefix+claims["fam"].(string)+".WRONG"); !errors.Is(err, ErrToken) || errors.Is(err, ErrReplayed) {
		t.Errorf("%v", err)
	}
	proves(t, a, l.Access, "ada")
}

func TestMachineTokens(t *testing.T) {
	bucket := newBucket(t)
	a := open(t, Config{Bucket: bucket})
	account(t, a, "ada", "developer", "billing")
	made, secret, err := a.CreateToken(t.Context(), NewToken{Name: "ci", Account: "ada", Scopes: []string{"developer"}, By: "ada"})
	if err != nil || made.Sum != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	id := proves(t, a, secret, "ada")
	if !slices.Equal(id.Scopes, []string{"developer"}) || id.Kind != Person || id.Token != made.ID {
		t.Errorf("identity %+v", id)
	}
	for name, n := range map[string]NewToken{
		"a scope that the account has not": {Name: "x", Account: "ada", Scopes: []string{AdminScope}},
		"no account":                       {Name: "x", Account: "eve"},
		"no name":                          {Account: "ada"},
		"the same name":                    {Name: "ci", Account: "ada"},
		"a time that has passed":           {Name: "x", Account: "ada", TTL: -time.Second},
	} {
		if _, _, err := a.CreateToken(t.Context(), n); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	none := []string{}
	if _, err := a.ChangeAccount(t.Context(), "ada", &none, nil); err != nil {
		t.Fatal(err)
	}
	if id := proves(t, a, secret, "ada"); len(id.Scopes) != 0 {
		t.Errorf("the token has %v, which its account has not", id.Scopes)
	}
	if e, err := bucket.Get(t.Context(), "token."+made.ID); err != nil || strings.Contains(string(e.Value), secret) {
		t.Errorf("stored: %s, %v", e.Value, err)
	}
	if err := a.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	refuses(t, a, secret, ErrToken)
	if err := a.RevokeToken(t.Context(), made.ID); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Errorf("the second time: %v", err)
	}
}

func TestARuleThatLocksOutTheLastAdminIsRefused(t *testing.T) {
	root, fresh, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, Config{Root: root})
	proves(t, a, fresh, RootAccount)
	deny := rules.Rule{ID: "lock", Resource: "admin:*", Scope: "*", Access: rules.Deny, Priority: 10}
	if _, err := a.AddRule(t.Context(), deny); !errors.Is(err, &wire.Error{Code: wire.Forbidden}) {
		t.Errorf("a rule against all: %v", err)
	}
	keep := rules.Rule{ID: "keep", Resource: "admin:auth", Scope: AdminScope, Access: rules.Grant, Priority: 20}
	if _, err := a.AddRule(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddRule(t.Context(), deny); err != nil {
		t.Errorf("with one above it: %v", err)
	}
	if err := a.RemoveRule(t.Context(), "keep"); !errors.Is(err, &wire.Error{Code: wire.Forbidden}) {
		t.Errorf("removing that: %v", err)
	}
	id := proves(t, a, fresh, RootAccount)
	if a.Decide(id, Everywhere, "admin:deploy").Allowed || !a.Decide(id, Everywhere, Admin).Allowed {
		t.Error("the rules do not count")
	}
}

func TestDamagedRecordsLetNobodyIn(t *testing.T) {
	b := newBucket(t)
	a := open(t, Config{Bucket: b})
	account(t, a, "ada", AdminScope)
	l := login(t, a, "ada")
	_, secret, err := a.CreateToken(t.Context(), NewToken{Name: "ci", Account: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "account.ada", []byte("{")); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { _, err := a.Verify(t.Context(), l.Access); return errors.Is(err, ErrToken) })
	refuses(t, a, secret, ErrToken)
	again := open(t, Config{Bucket: b, Secrets: a.cfg.Secrets})
	refuses(t, again, l.Access, ErrToken)
}

// Nobody knows what a rule has forbidden that cannot be read.
func TestADamagedRuleLetsNobodyDoAnything(t *testing.T) {
	root, fresh, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := newBucket(t)
	a := open(t, Config{Bucket: b, Root: root})
	id := proves(t, a, fresh, RootAccount)
	for name, record := range map[string]string{"no-json": "{", "no-rule": `{"id":"no-rule","access":"perhaps"}`} {
		if _, err := b.Put(t.Context(), "rule."+name, []byte(record)); err != nil {
			t.Fatal(err)
		}
		within(t, func() bool { return !a.Decide(id, "default", "function:pay").Allowed })
		again := open(t, Config{Bucket: b, Root: root})
		if again.Decide(id, "default", "function:pay").Allowed || len(again.Permissions(id, "default").Publish) > 0 {
			t.Errorf("%s: after a start root may call", name)
		}
		if !a.Decide(id, Everywhere, Admin).Allowed {
			t.Errorf("%s: root may not mend it", name)
		}
		if err := a.RemoveRule(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if !a.Decide(id, "default", "function:pay").Allowed {
			t.Errorf("%s: removed, and root may not call", name)
		}
	}
}

// Who leaves a scope out of a token does not leave behind what is denied to that.
func TestWhatIsDeniedToAScopeIsDeniedToTokensWithoutIt(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada", "developer")
	_, secret, err := a.CreateToken(t.Context(), NewToken{Name: "web", Account: "ada", Scopes: []string{"invoker"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddRule(t.Context(), rules.Rule{ID: "no", Resource: "function:payroll", Scope: "developer", Access: rules.Deny}); err != nil {
		t.Fatal(err)
	}
	id := proves(t, a, secret, "ada")
	if !a.Decide(id, "default", "function:orders").Allowed || a.Decide(id, "default", "function:payroll:pay").Allowed || a.Decide(id, "default", "admin:deploy").Allowed {
		t.Error("the token may do other things than call what its account may call")
	}
	if p := a.Permissions(id, "default"); slices.Contains(p.Publish, "fn.>") || slices.Contains(p.Publish, "fn.payroll") {
		t.Errorf("over NATS it may publish on %v", p.Publish)
	}
}

// A start compiles its rules once: with as many as there may be it would take minutes
// otherwise.
func TestAStartWithManyRulesKnowsAllOfThem(t *testing.T) {
	b := newBucket(t)
	for i := range 3000 {
		record := fmt.Sprintf(`{"id":"r%d","namespace":"*","resource":"function:f%d","scope":"s%d","access":"grant","priority":0}`, i, i, i)
		if _, err := b.Put(t.Context(), fmt.Sprintf("rule.r%d", i), []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, err := Open(ctx, Config{Bucket: b, Secrets: &vault{}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if n := len(a.Rules()); n < 3000 {
		t.Errorf("%d rules", n)
	}
	id := (&Identity{Account: "ada", Namespace: Everywhere, Scopes: []string{"s2999"}}).seal()
	if !a.Decide(id, "default", "function:f2999").Allowed || a.Decide(id, "default", "function:f2998").Allowed {
		t.Error("the rules do not count after the start")
	}
	if _, err := a.AddRule(t.Context(), rules.Rule{ID: "late", Resource: "function:f2998", Scope: "s2999", Access: rules.Grant}); err != nil || !a.Decide(id, "default", "function:f2998").Allowed {
		t.Errorf("a rule that is added later: %v", err)
	}
}
