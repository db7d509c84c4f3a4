package admin

import (
	"net/http"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
)

// Token is a machine token, without what is secret of it; that is in Secret of the answer
// to the request that makes it, and never again.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Account   string     `json:"account"`
	Namespace string     `json:"namespace,omitempty"`
	Scopes    []string   `json:"scopes,omitempty"` // none: all of those of the account
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires,omitempty"`
	By        string     `json:"by,omitempty"`
	Secret    string     `json:"secret,omitempty"`
}

// TokenRequest makes a machine token.
type TokenRequest struct {
	Name      string   `json:"name"`
	Account   string   `json:"account,omitempty"` // default: who asks
	Namespace string   `json:"namespace,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	TTL       string   `json:"ttl,omitempty"` // such as 720h; default: until it is revoked
}

// mine returns an error if what is the account's may not be seen or changed by who asks.
func (s *Server) mine(r *http.Request, account string) error {
	id, err := s.verified(r)
	if err != nil {
		return err
	}
	// A machine's token is for what the machine does, and not for making and ending others.
	if id != nil && id.Account == account && !id.ByMachineToken() {
		return nil
	}
	return s.may(r, auth.Admin)
}

func shownToken(t auth.Token) Token {
	v := Token{ID: t.ID, Name: t.Name, Account: t.Account, Namespace: t.Namespace, Scopes: t.Scopes, Created: t.Created, By: t.By}
	if !t.Expires.IsZero() {
		v.Expires = &t.Expires
	}
	return v
}

func (s *Server) tokens(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	all, err := flag(r.URL.Query(), "all")
	if err == nil && all {
		err = s.may(r, auth.Admin)
	}
	if err != nil {
		return err
	}
	list := []Token{}
	for _, t := range a.Tokens() {
		if all || t.Account == Who(r) {
			list = append(list, shownToken(t))
		}
	}
	return reply(w, list)
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) error {
	req, err := readBody[TokenRequest](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	if req.Account == "" {
		req.Account = Who(r)
	}
	noteResource(r, "token", tokenDetail(&auth.Token{Name: req.Name, Account: req.Account, Namespace: req.Namespace, Scopes: req.Scopes}))
	if err := s.mine(r, req.Account); err != nil {
		return err
	}
	n := auth.NewToken{Name: req.Name, Account: req.Account, Namespace: req.Namespace, Scopes: req.Scopes, By: by(r)}
	if req.TTL != "" {
		if n.TTL, err = time.ParseDuration(req.TTL); err != nil || n.TTL <= 0 {
			return wire.Errorf(wire.BadRequest, "ttl %.40q: want a duration such as 720h", req.TTL)
		}
	}
	// A token that is less than its account makes none that is more.
	if id, err := s.verified(r); err != nil {
		return err
	} else if id != nil && id.Account == req.Account && id.Token != "" {
		if n.Scopes, err = id.Lend(n.Scopes); err != nil {
			return err
		}
		n.TTL = id.LendFor(n.TTL)
		if id.Namespace != auth.Everywhere {
			if n.Namespace != "" && n.Namespace != id.Namespace {
				return wire.Errorf(wire.Forbidden, "%s is of the namespace %s here, and so are its tokens", id.Account, id.Namespace)
			}
			n.Namespace = id.Namespace
		}
	}
	// Who is of one namespace learns nothing of others, and is refused them below.
	if p := a.PrincipalOf(n.Account); p != nil && p.Namespace == auth.Everywhere {
		if err := s.knowsNamespace(n.Namespace); err != nil {
			return err
		}
	}
	t, secret, err := a.CreateToken(r.Context(), n)
	if err == nil {
		noteResource(r, "token:"+t.ID, tokenDetail(&t))
	}
	v := shownToken(t)
	v.Secret = secret
	return replyOr(w, v, err)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	account := ""
	for _, t := range a.Tokens() {
		if t.ID == r.PathValue("id") {
			account = t.Account
			noteResource(r, "token:"+t.ID, tokenDetail(&t))
		}
	}
	if err := s.mine(r, account); err != nil {
		return err
	}
	return noContent(w, a.RevokeToken(r.Context(), r.PathValue("id")))
}
