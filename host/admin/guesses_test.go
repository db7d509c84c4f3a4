package admin

import (
	"net/http/httptest"
	"testing"
)

func TestPasswordsCannotBeGuessedForEver(t *testing.T) {
	g := newGuesses()
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
