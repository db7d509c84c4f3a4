package admin

import (
	"net/http"
	"time"

	"github.com/fnhost/fnhost/host/auth"
)

// Account is a person or a service.
type Account struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	Kind      string    `json:"kind"`
	Scopes    []string  `json:"scopes"`
	Password  bool      `json:"password"` // it has one, and so can log in
	Created   time.Time `json:"created"`
	By        string    `json:"by,omitempty"`
}

// AccountRequest makes an account, or changes what it has a field for.
type AccountRequest struct {
	Name      string    `json:"name,omitempty"`
	Namespace string    `json:"namespace,omitempty"` // default: "*", all of them
	Kind      string    `json:"kind,omitempty"`      // "person", the default, or "service"
	Scopes    *[]string `json:"scopes,omitempty"`
	Password  *string   `json:"password,omitempty"`
	// Current is the password before, which who changes their own one has to know.
	Current string `json:"current,omitempty"`
}

func shownAccount(acc auth.Account) Account {
	return Account{Name: acc.Name, Namespace: acc.Namespace, Kind: acc.Kind, Scopes: append([]string{}, acc.Scopes...), Password: acc.Password != "", Created: acc.Created, By: acc.By}
}

func (s *Server) accounts(w http.ResponseWriter, _ *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	list := []Account{}
	for _, acc := range a.Accounts() {
		list = append(list, shownAccount(acc))
	}
	return reply(w, list)
}

func (s *Server) createAccount(w http.ResponseWriter, r *http.Request) error {
	req, err := readBody[AccountRequest](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	noteResource(r, accountResource(req.Name), req.detail())
	n := auth.NewAccount{Name: req.Name, Namespace: req.Namespace, Kind: req.Kind, By: by(r)}
	if req.Scopes != nil {
		n.Scopes = *req.Scopes
	}
	if req.Password != nil {
		n.Password = *req.Password
	}
	if err := s.knowsNamespace(req.Namespace); err != nil {
		return err
	}
	acc, err := a.CreateAccount(r.Context(), n)
	if err == nil {
		noteResource(r, accountResource(acc.Name), (&AccountRequest{Namespace: acc.Namespace, Kind: acc.Kind, Scopes: &acc.Scopes, Password: req.Password}).detail())
	}
	return replyOr(w, shownAccount(acc), err)
}

func (s *Server) changeAccount(w http.ResponseWriter, r *http.Request) error {
	req, err := readBody[AccountRequest](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	name := r.PathValue("account")
	noteResource(r, accountResource(name), (&AccountRequest{Scopes: req.Scopes, Password: req.Password}).detail())
	if name == Who(r) && req.Scopes == nil && req.Password != nil && (req.Current != "" || s.may(r, auth.Admin) != nil) {
		// Who has found a terminal that is logged in must not keep the account; an admin could do
		// without, but is told if the password is another one than they think.
		if err := s.guesses.allow(r, name); err != nil {
			return err
		}
		if err := a.CheckPassword(r.Context(), name, req.Current); err != nil {
			return err
		}
		s.guesses.right(r, name)
	} else if err := s.may(r, auth.Admin); err != nil {
		return err
	}
	acc, err := a.ChangeAccount(r.Context(), name, req.Scopes, req.Password)
	return replyOr(w, shownAccount(acc), err)
}

func (s *Server) removeAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	return noContent(w, a.RemoveAccount(r.Context(), r.PathValue("account")))
}

func (s *Server) endLogins(w http.ResponseWriter, r *http.Request) error {
	a, err := s.authority()
	if err == nil {
		err = s.mine(r, r.PathValue("account"))
	}
	if err != nil {
		return err
	}
	return noContent(w, a.EndLogins(r.Context(), r.PathValue("account")))
}
