package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Another host, which has not heard that an account is gone, may make tokens of it after those
// that there were have been removed.
func TestTokensOfAnAccountThatIsGoneAreNotThoseOfItsSuccessor(t *testing.T) {
	b, keys := newBucket(t), &vault{}
	a := open(t, Config{Bucket: b, Secrets: keys})
	account(t, a, "ada")
	l := login(t, a, "ada")
	made, secret, err := a.CreateToken(t.Context(), NewToken{Name: "ci", Account: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	proves(t, a, l.Access, "ada")
	proves(t, a, secret, "ada")
	if _, err := change(t.Context(), a, accountKind+".ada", func(acc *Account) error {
		acc.Created = made.Created.Add(time.Hour) // one that was made later
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	refuses(t, a, l.Access, ErrRevoked)
	refuses(t, a, secret, ErrRevoked)
	if _, err := a.Refresh(t.Context(), l.Refresh); err == nil {
		t.Error("the login of the account that is gone is prolonged")
	}
}

func TestATokenMakesNoneThatOutlivesIt(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada", "developer")
	_, secret, err := a.CreateToken(t.Context(), NewToken{Name: "ci", Account: "ada", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	short := proves(t, a, secret, "ada")
	for _, ttl := range []time.Duration{0, time.Hour * 24, time.Minute} {
		if got := short.LendFor(ttl); got <= 0 || got > time.Hour || ttl == time.Minute && got != ttl {
			t.Errorf("a token of an hour makes one of %v, which is good for %v", ttl, got)
		}
	}
	if got := proves(t, a, login(t, a, "ada").Access, "ada").LendFor(0); got != 0 {
		t.Errorf("a login makes one that ends after %v", got)
	}
}

// What is revoked must not wait for an issuer that does not answer.
func TestAnIssuerThatDoesNotAnswerHoldsUpNobodyElse(t *testing.T) {
	asked, answer := make(chan struct{}, 8), make(chan struct{})
	p := newProvider(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		http.NotFound(w, r)
	}))
	a := open(t, Config{Client: slow.Client()})
	account(t, a, "ada")
	l := login(t, a, "ada")
	if err := a.AddIssuer(t.Context(), Issuer{Name: "slow", URL: p.URL, JWKS: slow.URL, Audience: "fnhost-test"}); err != nil {
		t.Fatal(err)
	}
	k := p.key(t, "k1", "EdDSA")
	token, verified, removed := sign(t, k, p.claims()), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(verified)
		a.Verify(t.Context(), token)
	}()
	<-asked
	go func() { removed <- a.RemoveIssuer(t.Context(), "slow") }()
	select {
	case err := <-removed:
		if err != nil {
			t.Error(err)
		}
		proves(t, a, l.Access, "ada")
	case <-verified:
		t.Error("the removal waits for the issuer")
	}
	close(answer)
	<-verified
	slow.Close()
}
