package rules

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation is a verdict, and how it came about.
type Explanation struct {
	Verdict
	// Namespace and Resource are what was asked.
	Namespace string `json:"namespace"`
	Resource  string `json:"resource"`
	// Why is a sentence of what was decided, and what to do about a refusal.
	Why string `json:"why"`
	// Rules are all of the namespace and of "*" that match the resource, whoever they are
	// for, in the order in which they decide.
	Rules []Explained `json:"rules"`
}

// Explained is a rule that matches the resource.
type Explained struct {
	Rule Rule `json:"rule"`
	// Applies is true if it is for who asks. The first that applies decides.
	Applies bool `json:"applies"`
	// Why says why it applies or does not, and why it decides or does not.
	Why string `json:"why"`
}

// Explain returns what [Set.Decide] returns, and why. It goes through all rules, and
// shows those that are for others: it is for who may read the rules.
func (s *Set) Explain(p *Principal, namespace, resource string) Explanation {
	e := Explanation{Namespace: namespace, Resource: resource, Verdict: s.Decide(p, namespace, resource), Rules: []Explained{}}
	if err := CheckTarget(resource); err != nil {
		e.Why = "refused: no resource: " + err.Error()
		return e
	}
	q, ok := ask(p, namespace)
	for _, r := range s.matching(namespace, resource) {
		e.Rules = append(e.Rules, Explained{Rule: *r, Applies: ok && q.meant(r), Why: e.reason(p, r, ok && q.meant(r))})
	}
	e.Why = e.sum(p)
	return e
}

// matching returns the rules of a namespace that match a resource, in order.
func (s *Set) matching(namespace, resource string) []*Rule {
	var list []*Rule
	target := split(resource)
	for i := range s.rules {
		r := &s.rules[i]
		if r.Namespace != namespace && r.Namespace != Everywhere {
			continue
		}
		if slices.ContainsFunc(patterns(r.Resource), func(pattern []string) bool { return covers(pattern, target) }) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Rule) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return list
}

// reason says why a rule that matches applies or not, and decides or not.
func (e *Explanation) reason(p *Principal, r *Rule, applies bool) string {
	switch {
	case !applies:
		return notMeant(p, e.Namespace, r.Scope)
	case r == e.Rule:
		return "decides"
	case r.Priority == e.Rule.Priority && r.Access != e.Rule.Access:
		return fmt.Sprintf("applies, but %s of the same priority denies", e.Rule.ID)
	case r.Priority == e.Rule.Priority:
		return fmt.Sprintf("applies, and says the same as %s", e.Rule.ID)
	}
	return fmt.Sprintf("applies, but %s has a higher priority (%d)", e.Rule.ID, e.Rule.Priority)
}

// notMeant says why a rule for the scope does not apply to p.
func notMeant(p *Principal, namespace, scope string) string {
	switch {
	case namespace == "":
		return "does not apply: no namespace was named"
	case p != nil && (p.Account == "" || p.Namespace == ""):
		return "does not apply: who asks has no account, or none of a namespace"
	case p == nil && namespace == Everywhere:
		return "does not apply: what belongs to the host as a whole is only for accounts of all namespaces, and nobody has proved to be one"
	case p == nil && scope == Any:
		return "does not apply: it is for any account, and nobody has proved to be one"
	case p == nil:
		return fmt.Sprintf("does not apply: it is for accounts with scope %s, and nobody has proved to be one", scope)
	case namespace == Everywhere && p.Namespace != Everywhere:
		return fmt.Sprintf("does not apply: what belongs to the host as a whole is only for accounts of all namespaces, and %s is of %s", p.Account, p.Namespace)
	case p.Namespace != namespace && p.Namespace != Everywhere:
		return fmt.Sprintf("does not apply: %s is of namespace %s, and only rules of scope %s hold for it in %s", p.Account, p.Namespace, Public, namespace)
	}
	return fmt.Sprintf("does not apply: %s has no scope %s", p.Account, scope)
}

// sum says what was decided.
func (e *Explanation) sum(p *Principal) string {
	who := "nobody in particular"
	if p != nil {
		who = fmt.Sprintf("%q", p.Account)
	}
	where := "in namespace " + e.Namespace
	if e.Namespace == Everywhere {
		where = "for the host as a whole"
	}
	switch {
	case e.Allowed:
		return fmt.Sprintf("allowed: %s may use %s %s, by rule %s: it grants %s to %s", who, e.Resource, where, e.Rule.ID, e.Rule.Resource, scopeText(e.Rule.Scope))
	case e.Decided:
		return fmt.Sprintf("refused: %s may not use %s %s, by rule %s: it denies %s to %s; a grant needs a priority above %d", who, e.Resource, where, e.Rule.ID, e.Rule.Resource, scopeText(e.Rule.Scope), e.Rule.Priority)
	case len(e.Rules) == 0:
		return fmt.Sprintf("not decided, which is a refusal: no rule %s is about %s", where, e.Resource)
	}
	return fmt.Sprintf("not decided, which is a refusal: of the rules about %s %s none is for %s", e.Resource, where, who)
}

func scopeText(scope string) string {
	switch scope {
	case Public:
		return "anybody"
	case Any:
		return "any account"
	}
	return "scope " + scope
}

// String returns the explanation as lines of text, the sentence first.
func (e Explanation) String() string {
	var b strings.Builder
	b.WriteString(e.Why + "\n")
	for _, x := range e.Rules {
		r := &x.Rule
		fmt.Fprintf(&b, "  %5d %-5s %s to %s (%s, namespace %s): %s\n", r.Priority, r.Access, r.Resource, scopeText(r.Scope), r.ID, r.Namespace, x.Why)
	}
	return b.String()
}
