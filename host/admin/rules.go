package admin

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
)

// Rule says who may do what; see package host/auth/rules.
type Rule = rules.Rule

// Decision is whether somebody may do something, and why.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Rule    *Rule  `json:"rule,omitempty"` // that has decided
	Why     string `json:"why"`            // in a sentence
	// Rules are all that match the resource, in the order in which they decide; for who may
	// see rules.
	Rules []rules.Explained `json:"rules,omitempty"`
}

// Key is a signing key.
type Key = auth.KeyInfo

// Issuer is somebody else whose tokens the host takes.
type Issuer = auth.Issuer

func (s *Server) checkRule(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	id, err := s.verified(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	p := id.Principal()
	if as := q.Get("as"); as != "" && (p == nil || as != p.Account) {
		if err := s.may(r, auth.Admin); err != nil {
			return err
		}
		if as == rules.Public {
			p = nil
		} else if p = a.PrincipalOf(as); p == nil {
			return wire.Errorf(wire.NotFound, "there is no account %q: `fnhost account ls` shows them, and %q is anybody", as, rules.Public)
		}
	}
	namespace := q.Get("namespace")
	if namespace == "" {
		namespace = askedIn(r, q.Get("resource"))
	}
	if err := rules.CheckTarget(q.Get("resource")); err != nil {
		return wire.Errorf(wire.BadRequest, "resource %v", err)
	}
	why := a.Explain(p, namespace, q.Get("resource"))
	d := Decision{Allowed: why.Allowed, Rule: why.Rule, Why: why.Why}
	if !why.Decided && strings.HasPrefix(q.Get("resource"), "function:") {
		d.Why += "; over HTTP public and scopes in the function's own function.yaml count then"
	}
	if s.may(r, auth.Admin) == nil {
		d.Rules = why.Rules
	}
	return reply(w, d)
}

func (s *Server) rules(w http.ResponseWriter, _ *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	return reply(w, a.Rules())
}

func (s *Server) addRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := readBody[Rule](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	noteResource(r, strings.TrimSuffix("rule:"+rule.ID, ":"), ruleDetail(&rule))
	if err := s.knowsNamespace(rule.Namespace); err != nil {
		return err
	}
	rule.By = by(r)
	rule, err = a.AddRule(r.Context(), rule)
	if err == nil {
		noteResource(r, "rule:"+rule.ID, ruleDetail(&rule))
	}
	return replyOr(w, rule, err)
}

func (s *Server) removeRule(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	for _, rule := range a.Rules() {
		if rule.ID == r.PathValue("id") {
			noteResource(r, "rule:"+rule.ID, ruleDetail(&rule))
		}
	}
	return noContent(w, a.RemoveRule(r.Context(), r.PathValue("id")))
}

func (s *Server) issuers(w http.ResponseWriter, _ *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	return reply(w, append([]Issuer{}, a.Issuers()...))
}

func (s *Server) addIssuer(w http.ResponseWriter, r *http.Request) error {
	i, err := readBody[Issuer](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	noteResource(r, strings.TrimSuffix("issuer:"+i.Name, ":"), issuerDetail(&i))
	if err := s.knowsNamespace(i.Namespace); err != nil {
		return err
	}
	i.By = by(r)
	if err := a.AddIssuer(r.Context(), i); err != nil {
		return err
	}
	added := AddedIssuer{Name: i.Name}
	if err := a.TryIssuer(r.Context(), i); err != nil {
		added.Warning = fmt.Sprintf("its keys cannot be read now: %v; its tokens are refused until they can", err)
	}
	return reply(w, added)
}

func (s *Server) removeIssuer(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	return noContent(w, a.RemoveIssuer(r.Context(), r.PathValue("name")))
}

func (s *Server) keysList(w http.ResponseWriter, _ *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	return reply(w, a.Keys())
}

func (s *Server) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	k, err := a.RotateKeys(r.Context())
	if err == nil {
		noteResource(r, "key:"+k.ID, "")
	}
	return replyOr(w, k, err)
}
