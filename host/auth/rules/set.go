package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Principal is who asks, as rules see it. A nil one has proved nothing.
type Principal struct {
	// Account is its name. One without is malformed, and gets nothing.
	Account string `json:"account"`
	// Namespace is where it belongs, "*" for all.
	Namespace string `json:"namespace"`
	// Scopes are those that it has. Any account has "public" and "*" besides.
	Scopes []string `json:"scopes"`
	// Lacks are those that its account has, and it does not, as a token that was made for
	// less: they grant it nothing, and what is denied to them is denied to it.
	Lacks []string `json:"lacks,omitzero"`
}

// Verdict is what rules say.
type Verdict struct {
	// Decided is false if no rule applies, or what was asked is malformed. That is
	// a refusal, unless something else, such as the function's manifest, allows it.
	Decided bool `json:"decided"`
	// Allowed is true if a rule grants it.
	Allowed bool `json:"allowed"`
	// Rule is the one that decided; nil exactly if Decided is false. It is shared, and not to
	// be changed.
	Rule *Rule `json:"rule,omitempty"`
}

// Set is a list of rules, compiled. It does not change, and is safe for concurrent
// use.
type Set struct {
	rules  []Rule
	spaces map[string]*node // by namespace, "*" among them
}

// node is a place in the tree of parts of one namespace's rules.
type node struct {
	children map[string]*node
	one      *node  // behind *
	here     *bests // of rules that end here
	rest     *bests // of rules that end here with >
}

// bests are the rules of one resource that come first, for each scope: the others
// never decide.
type bests struct {
	public, any *Rule
	scopes      map[string]*Rule
}

// Compile returns the set of the rules in list, which it copies. Its errors say
// which rules are wrong, and where; two of one namespace must not have the same ID.
func Compile(list []Rule) (*Set, error) {
	s := &Set{rules: slices.Clone(list), spaces: make(map[string]*node)}
	type name struct{ namespace, id string }
	seen := make(map[name]bool, len(list))
	var errs []error
	for i := range s.rules {
		r := &s.rules[i]
		if err := r.Validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		if n := (name{r.Namespace, r.ID}); seen[n] {
			errs = append(errs, fmt.Errorf("rule %q: namespace %q has two of this id", r.ID, r.Namespace))
		} else {
			seen[n] = true
		}
		s.add(r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) add(r *Rule) {
	root := s.spaces[r.Namespace]
	if root == nil {
		root = new(node)
		s.spaces[r.Namespace] = root
	}
	root.add(r)
}

func (root *node) add(r *Rule) {
	for _, pattern := range patterns(r.Resource) {
		n := root
		for _, part := range pattern {
			if part == ">" {
				keep(&n.rest, r)
				n = nil
				break
			}
			n = n.child(part)
		}
		if n != nil {
			keep(&n.here, r)
		}
	}
}

// patterns returns what a rule is about, as parts. A function without an endpoint
// is that function and all its endpoints.
func patterns(resource string) [][]string {
	list := split(resource)
	if len(list) == 2 && list[0] == "function" && list[1] != ">" {
		return [][]string{list, {list[0], list[1], ">"}}
	}
	return [][]string{list}
}

func (n *node) child(part string) *node {
	if part == "*" {
		if n.one == nil {
			n.one = new(node)
		}
		return n.one
	}
	c := n.children[part]
	if c == nil {
		if n.children == nil {
			n.children = make(map[string]*node)
		}
		c = new(node)
		n.children[strings.Clone(part)] = c
	}
	return c
}

// keep has r be the one of its scope, if it comes first.
func keep(place **bests, r *Rule) {
	if *place == nil {
		*place = new(bests)
	}
	b := *place
	switch r.Scope {
	case Public:
		b.public = first(b.public, r)
	case Any:
		b.any = first(b.any, r)
	default:
		if b.scopes == nil {
			b.scopes = make(map[string]*Rule)
		}
		b.scopes[r.Scope] = first(b.scopes[r.Scope], r)
	}
}

// first returns the one of two rules that comes first; either may be nil.
func first(a, b *Rule) *Rule {
	if a == nil || b != nil && before(b, a) {
		return b
	}
	return a
}

// Decide returns what the rules say of p doing something to a resource in a
// namespace. It allocates nothing. What it costs grows with the parts of the resource
// and the scopes of p, and not with the number of rules, but for those that match
// with different wildcards.
func (s *Set) Decide(p *Principal, namespace, resource string) Verdict {
	q, ok := ask(p, namespace)
	if !ok || CheckTarget(resource) != nil {
		return Verdict{}
	}
	q.walk(s.spaces[Everywhere], partsOf(resource))
	if namespace != Everywhere {
		q.walk(s.spaces[namespace], partsOf(resource))
	}
	return q.verdict()
}

// question is who asks, and the best answer so far.
type question struct {
	account bool     // any account is meant
	scopes  []string // that are meant
	lacks   []string // that are meant by denies alone
	best    *Rule
}

// ask returns the question of p in a namespace; ok is false for what no rule
// answers.
func ask(p *Principal, namespace string) (q question, ok bool) {
	if namespace == "" || p != nil && (p.Account == "" || p.Namespace == "") {
		return q, false
	}
	if p != nil && (p.Namespace == namespace || p.Namespace == Everywhere) {
		return question{account: true, scopes: p.Scopes, lacks: p.Lacks}, true
	}
	return q, namespace != Everywhere
}

// meant is true if a rule is for who asks.
func (q *question) meant(r *Rule) bool {
	return r.Scope == Public || q.account && (r.Scope == Any || slices.Contains(q.scopes, r.Scope) || r.Access == Deny && slices.Contains(q.lacks, r.Scope))
}

func (q *question) walk(n *node, p parts) {
	if n == nil {
		return
	}
	part, ok := p.next()
	if !ok {
		q.take(n.here)
		return
	}
	q.take(n.rest)
	q.walk(n.children[part], p)
	q.walk(n.one, p)
}

func (q *question) take(b *bests) {
	if b == nil {
		return
	}
	q.best = first(q.best, b.public)
	if !q.account {
		return
	}
	q.best = first(q.best, b.any)
	if b.scopes == nil {
		return
	}
	for _, scope := range q.scopes {
		q.best = first(q.best, b.scopes[scope])
	}
	for _, scope := range q.lacks {
		if r := b.scopes[scope]; r != nil && r.Access == Deny {
			q.best = first(q.best, r)
		}
	}
}

func (q *question) verdict() Verdict {
	if q.best == nil {
		return Verdict{}
	}
	return Verdict{Decided: true, Allowed: q.best.Access == Grant, Rule: q.best}
}
