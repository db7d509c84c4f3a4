package rules

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Access is what a rule does.
type Access string

// Accesses.
const (
	Grant Access = "grant"
	Deny  Access = "deny"
)

// Scopes that no account needs to be given.
const (
	Public = "public" // anybody, without proof
	Any    = "*"      // any account
)

// Everywhere is the namespace of rules that hold in all namespaces, of principals that
// belong to all, and of what belongs to the host as a whole.
const Everywhere = "*"

// Limits of a rule.
const (
	MaxPriority = 1000 // and the least is -MaxPriority
	maxID       = 64   // bytes
	maxName     = 63   // bytes of a namespace
	maxScope    = 128  // bytes
	maxNote     = 1000 // bytes
)

// Rule says who may do what, or may not.
type Rule struct {
	// ID names the rule: 1 to 64 lower-case letters, digits and hyphens. Those of
	// [Builtin] begin with "builtin-".
	ID string `json:"id"`
	// Namespace is where it holds: a name, or "*" for all and for what belongs to
	// the host as a whole.
	Namespace string `json:"namespace"`
	// Resource is what it is about, with wildcards; see the package's text.
	Resource string `json:"resource"`
	// Scope is who it is about: "public", "*" for any account, or a name that
	// accounts have among their scopes.
	Scope string `json:"scope"`
	// Access is "grant" or "deny".
	Access Access `json:"access"`
	// Priority orders rules, higher first: -1000 to 1000. Of equal ones a deny wins.
	Priority int `json:"priority"`
	// Note says why there is this rule. At most 1000 bytes.
	Note string `json:"note,omitzero"`
	// By is the account that made it.
	By string `json:"by,omitzero"`
	// Created is when that was.
	Created time.Time `json:"created,omitzero"`
}

// Validate returns an error that says what is wrong with the rule, where, and what
// would be right; nil for nothing.
func (r *Rule) Validate() error {
	if err := r.check(); err != nil {
		return fmt.Errorf("rule %.64q: %w", r.ID, err)
	}
	return nil
}

func (r *Rule) check() error {
	if len(r.ID) > maxID || !madeOf(r.ID, isLabel) {
		return fmt.Errorf("id: want 1 to %d lower-case letters, digits and hyphens, such as orders-for-shop", maxID)
	}
	if r.Namespace != Everywhere && !validNamespace(r.Namespace) {
		return fmt.Errorf("namespace: %.80q is none: want a name such as default, or * for all", r.Namespace)
	}
	if err := CheckResource(r.Resource); err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	if err := checkScope(r.Scope); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	switch {
	case r.Access != Grant && r.Access != Deny:
		return fmt.Errorf("access: want %q or %q, not %.80q", Grant, Deny, r.Access)
	case r.Priority < -MaxPriority || r.Priority > MaxPriority:
		return fmt.Errorf("priority: %d is not from %d to %d", r.Priority, -MaxPriority, MaxPriority)
	case len(r.Note) > maxNote:
		return fmt.Errorf("note: %d bytes, at most %d", len(r.Note), maxNote)
	}
	return nil
}

// validNamespace is true for a DNS label, which is what namespaces are called.
func validNamespace(name string) bool {
	return len(name) <= maxName && madeOf(name, isLabel) && name[0] != '-' && name[len(name)-1] != '-'
}

// checkScope returns what is wrong with a scope. A name is what OAuth calls a
// scope-token (RFC 6749), so that those of other issuers fit.
func checkScope(scope string) error {
	switch {
	case scope == Any || scope == Public:
		return nil
	case strings.EqualFold(scope, Public):
		return fmt.Errorf("%q is not a scope, did you mean %s?", scope, Public)
	case scope == "":
		return fmt.Errorf("is empty: want %s for anybody, * for any account, or a name such as developer", Public)
	case len(scope) > maxScope:
		return fmt.Errorf("%d bytes, at most %d", len(scope), maxScope)
	case strings.ContainsAny(scope, "*>"):
		return fmt.Errorf("%q: names of scopes have no wildcards; * alone is any account", scope)
	case !madeOf(scope, func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '\\' }):
		return fmt.Errorf("%q has a space or a character that scopes do not have: one rule is for one scope", scope)
	}
	return nil
}

// before orders the rules that match one resource: the first one decides.
func before(a, b *Rule) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	if a.Access != b.Access {
		return a.Access == Deny
	}
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Namespace, b.Namespace)) < 0
}

// madeOf is true for a text that is not empty, all of whose bytes are ok.
func madeOf(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

func isLabel(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' }
