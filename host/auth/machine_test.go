package auth

import (
	"errors"
	"slices"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
)

// A token may be less than its account, in the order of the roles, and is nothing when the
// account is that no more.
func TestTokensMayHaveALesserScope(t *testing.T) {
	a := open(t, Config{})
	account(t, a, "ada", "developer")
	account(t, a, "vic", "viewer")
	account(t, a, "root2", AdminScope)
	for _, test := range []struct {
		account, scope string
		ok             bool
	}{
		{"ada", "developer", true}, {"ada", "viewer", true}, {"ada", "invoker", true}, {"ada", AdminScope, false}, {"ada", "billing", false},
		{"vic", "viewer", true}, {"vic", "invoker", false}, {"vic", "developer", false},
		{"root2", "developer", true}, {"root2", "billing", true},
	} {
		made, _, err := a.CreateToken(t.Context(), NewToken{Name: test.scope, Account: test.account, Scopes: []string{test.scope}})
		if (err == nil) != test.ok {
			t.Errorf("%s lends %s: %+v, %v", test.account, test.scope, made, err)
		}
		id := &Identity{Account: test.account, Scopes: a.PrincipalOf(test.account).Scopes}
		if _, err := id.Lend([]string{test.scope}); (err == nil) != test.ok {
			t.Errorf("%s lends itself %s: %v", test.account, test.scope, err)
		}
	}
	_, secret, err := a.CreateToken(t.Context(), NewToken{Name: "both", Account: "ada", Scopes: []string{"invoker", "viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ has, want []string }{
		{[]string{"developer"}, []string{"invoker", "viewer"}},
		{[]string{"viewer"}, []string{"viewer"}},
		{[]string{"billing"}, nil},
	} {
		if _, err := a.ChangeAccount(t.Context(), "ada", &step.has, nil); err != nil {
			t.Fatal(err)
		}
		if id := proves(t, a, secret, "ada"); !slices.Equal(id.Scopes, step.want) {
			t.Errorf("of an account with %v the token has %v, want %v", step.has, id.Scopes, step.want)
		}
	}
}

// What a role is said to be more than another one, it is by the rules, too.
func TestARoleMayAllThatALesserOneMay(t *testing.T) {
	may := make(map[string][]string)
	for _, r := range rules.Builtin() {
		may[r.Scope] = append(may[r.Scope], r.Resource)
	}
	for greater, list := range lesser {
		for _, less := range list {
			for _, resource := range may[less] {
				if !slices.Contains(may[greater], resource) {
					t.Errorf("%s lends %s, which may do %s, and it may not", greater, less, resource)
				}
			}
		}
	}
}

func TestNoAccountIsCalledAsAnybody(t *testing.T) {
	a := open(t, Config{})
	for _, name := range []string{rules.Public, rules.Any, RootAccount} {
		if acc, err := a.CreateAccount(t.Context(), NewAccount{Name: name}); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("%q: %+v, %v", name, acc, err)
		}
	}
}
