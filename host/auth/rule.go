package auth

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/kv"
)

// Admin is the resource of accounts, tokens, keys and rules themselves.
const Admin = "admin:auth"

// Decide says whether an identity, nil for nobody, may do something to a resource of a
// namespace; [Everywhere] for what is the host's as a whole. What is not decided is not
// allowed.
func (a *Authority) Decide(id *Identity, namespace, resource string) rules.Verdict {
	if a.closed.Load() && resource != Admin {
		return rules.Verdict{Decided: true}
	}
	return a.set.Load().Decide(id.Principal(), namespace, resource)
}

// Explain says why Decide decides as it does.
func (a *Authority) Explain(p *rules.Principal, namespace, resource string) rules.Explanation {
	if a.closed.Load() && resource != Admin {
		return rules.Explanation{Namespace: namespace, Resource: resource, Verdict: rules.Verdict{Decided: true}, Rules: []rules.Explained{},
			Why: "refused: a rule is damaged, and nobody may do anything until it is removed: the log of the host names it"}
	}
	return a.set.Load().Explain(p, namespace, resource)
}

// Allow returns nil if Decide allows it, and an *[wire.Error] otherwise: of code Unauthorized
// for nobody, Forbidden for an identity.
func (a *Authority) Allow(id *Identity, namespace, resource string) error {
	if a.Decide(id, namespace, resource).Allowed {
		return nil
	}
	return Refused(id, namespace, resource)
}

// SendToken ends the texts for who has to prove who asks: what a program does about it.
const SendToken = ": send a token, as \"Authorization: Bearer …\"; `fnhost login` or `fnhost token create` gives one"

// Refused is the error for who may not do something; resource is "" for what everybody may
// who proves to be somebody.
func Refused(id *Identity, namespace, resource string) error {
	if id == nil {
		return faultf(wire.Unauthorized, []error{ErrNoToken}, "%s wants to know who asks"+SendToken, cmp.Or(resource, "this"))
	}
	in := " -n '*'"
	if namespace != Everywhere {
		in = " -n " + namespace
	}
	return wire.Errorf(wire.Forbidden, "%s may not do this: `fnhost auth check --as %s%s %s` says why, and `fnhost rule add` can allow it", id.Account, id.Account, in, resource)
}

// Permissions returns what an identity may do as a NATS client in a namespace.
func (a *Authority) Permissions(id *Identity, namespace string) rules.Permissions {
	if a.closed.Load() {
		return rules.Permissions{Publish: []string{}, Subscribe: []string{}, Watch: []string{}}
	}
	return a.set.Load().Permissions(id.Principal(), namespace)
}

// PrincipalOf returns an account as rules see it, nil if there is none of that name.
func (a *Authority) PrincipalOf(name string) *rules.Principal {
	acc, ok := a.owner(name)
	if !ok {
		return nil
	}
	return &rules.Principal{Account: acc.Name, Namespace: acc.Namespace, Scopes: acc.Scopes}
}

// Rules returns the rules, by ID, after those that are always there.
func (a *Authority) Rules() []rules.Rule {
	list := rules.Builtin()
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, id := range slices.Sorted(maps.Keys(a.state.rules)) {
		list = append(list, *a.state.rules[id])
	}
	return list
}

// maxRules bounds how many rules there are: each change compiles all of them.
const maxRules = 20_000

// AddRule adds a rule, which counts from then on. The error is an *[wire.Error]: of code
// BadRequest for what is none, Conflict if there is one of the ID, Forbidden if nobody
// could change rules any more, Unavailable if it cannot be stored.
func (a *Authority) AddRule(ctx context.Context, r rules.Rule) (rules.Rule, error) {
	if err := a.withoutBucket(); err != nil {
		return r, err
	}
	if r.ID == "" {
		r.ID = newID()[:8]
	}
	if r.Namespace == "" {
		r.Namespace = Everywhere
	}
	r.Created = now()
	if err := r.Validate(); err != nil {
		return r, wire.Errorf(wire.BadRequest, "%v", err)
	}
	list := a.Rules()
	if len(list) >= maxRules {
		return r, wire.Errorf(wire.TooMany, "there are %d rules already: let one say what many do, by wildcards", len(list))
	}
	if slices.ContainsFunc(list, func(other rules.Rule) bool { return other.ID == r.ID }) {
		return r, wire.Errorf(wire.Conflict, "there is a rule %s already: `fnhost rule rm` removes it", r.ID)
	}
	if err := a.keepsAdmin(append(list, r), ""); err != nil {
		return r, err
	}
	if err := a.write(ctx, ruleKind+"."+r.ID, &r, kv.IfAbsent()); err != nil {
		return r, stored("rule "+r.ID, err)
	}
	return r, nil
}

// RemoveRule removes a rule. The error is as of AddRule, of code NotFound if there is no
// such rule, and Forbidden for one that is always there.
func (a *Authority) RemoveRule(ctx context.Context, id string) error {
	if err := a.withoutBucket(); err != nil {
		return err
	}
	if slices.ContainsFunc(rules.Builtin(), func(r rules.Rule) bool { return r.ID == id }) {
		return wire.Errorf(wire.Forbidden, "%s is always there: add a rule of a higher priority against it", id)
	}
	if !namePattern.MatchString(id) {
		return wire.Errorf(wire.NotFound, "there is no rule %.80q: `fnhost rule ls` shows them", id)
	}
	list := slices.DeleteFunc(a.Rules(), func(r rules.Rule) bool { return r.ID == id })
	if err := a.keepsAdmin(list, ""); err != nil {
		return err
	}
	return stored("rule "+id, a.remove(ctx, ruleKind+"."+id))
}

// keepsAdmin returns an error if somebody can change rules now, and with these rules and
// without an account nobody could any more.
func (a *Authority) keepsAdmin(list []rules.Rule, without string) error {
	set, err := rules.Compile(list)
	if err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if a.hasAdmin(set, without) || !a.hasAdmin(a.set.Load(), "") {
		return nil
	}
	return wire.Errorf(wire.Forbidden, "nobody could change rules any more after that, and so it is refused: keep an account with a password that may do %s", Admin)
}

func (a *Authority) hasAdmin(set *rules.Set, without string) bool {
	may := func(acc *Account) bool {
		return set.Decide(&rules.Principal{Account: acc.Name, Namespace: acc.Namespace, Scopes: acc.Scopes}, Everywhere, Admin).Allowed
	}
	if root, _ := a.owner(RootAccount); a.cfg.Root != nil && may(&root) {
		return true
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, acc := range a.state.accounts {
		if acc.Name != without && acc.Password != "" && may(acc) {
			return true
		}
	}
	return false
}
