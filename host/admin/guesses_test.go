package admin

import (
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
)

func TestPasswordsCannotBeGuessedForEver(t *testing.T) {
	g := newGuesses(nil)
	from := func(address, account string) error {
		r := httptest.NewRequest("POST", "/v1/login", nil)
		r.RemoteAddr = address + ":1"
		return g.allow(r, account)
	}
	for range 5 {
		if err := from("192.0.2.1", "ada"); err != nil {
			t.Fatal(err)
		}
	}
	if from("192.0.2.1", "ada") == nil {
		t.Error("one address may guess more than five times at once")
	}
	if err := from("192.0.2.1", "bob"); err != nil {
		t.Errorf("another account: %v", err)
	}
	if err := from("192.0.2.2", "ada"); err != nil {
		t.Errorf("another address: %v", err)
	}
	refused := false
	for i := range 60 {
		refused = refused || from("198.51.100."+string(rune('0'+i%10)), "ada") != nil
	}
	if !refused {
		t.Error("many addresses together may guess without end")
	}
	r := httptest.NewRequest("POST", "/v1/login", nil)
	r.RemoteAddr = "192.0.2.1:1"
	g.right(r, "ada")
	if err := g.allow(r, "ada"); err != nil {
		t.Errorf("who knew it: %v", err)
	}
}

// Behind a proxy that is trusted, who guesses is whom it names: nobody is held up by another one.
func TestGuessesBehindAProxyAreOfWhoMakesThem(t *testing.T) {
	from := func(g *guesses, client string) error {
		r := httptest.NewRequest("POST", "/v1/login", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", client)
		return g.allow(r, "ada")
	}
	g := newGuesses([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	for from(g, "192.0.2.1") == nil {
	}
	if err := from(g, "192.0.2.2"); err != nil {
		t.Errorf("another client of the proxy: %v", err)
	}
	g = newGuesses(nil)
	for from(g, "192.0.2.1") == nil {
	}
	if from(g, "192.0.2.2") == nil {
		t.Error("who is not trusted says where it comes from")
	}
}

// Only so many guesses are remembered: who makes many of other accounts must not have those of one forgotten.
func TestGuessesOfManyAccountsDoNotMakeRoomForMore(t *testing.T) {
	g := newGuesses(nil)
	r := httptest.NewRequest("POST", "/v1/login", nil)
	r.RemoteAddr = "192.0.2.1:1"
	for g.allow(r, "ada") == nil {
	}
	for i := range 30_000 {
		g.allow(r, "account"+strconv.Itoa(i))
	}
	r.RemoteAddr = "192.0.2.2:1" // which has guessed nothing yet
	if err := g.allow(r, "ada"); err != nil {
		t.Errorf("another address: %v", err)
	}
	byAddress, _ := g.keys(r, "ada")
	if d := g.byAddress.Peek(byAddress); d.Remaining != 4 {
		t.Errorf("it has %d guesses left", d.Remaining)
	}
	r.RemoteAddr = "192.0.2.1:1"
	if byAddress, _ = g.keys(r, "ada"); g.byAddress.Peek(byAddress).Remaining > 2 {
		t.Error("what it has guessed is forgotten")
	}
}
