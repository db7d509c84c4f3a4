package admin

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Identity is who asks.
type Identity struct {
	Account   string   `json:"account"` // "" where the host asks nobody
	Namespace string   `json:"namespace,omitempty"`
	Kind      string   `json:"kind,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	Issuer    string   `json:"issuer,omitempty"`
	Token     string   `json:"token,omitempty"` // ID of what has proved it
	// Machine is the name of the machine token that has proved it; "" for what is none, such as a login.
	Machine string     `json:"machine,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// Credentials are what an account logs in with.
type Credentials struct {
	Account  string `json:"account"`
	Password string `json:"password"`
}

// RefreshRequest holds a refresh token, of which another login comes, or which ends one.
type RefreshRequest struct {
	Refresh string `json:"refresh"`
}

// Login is what an account has that has logged in.
type Login struct {
	Account   string    `json:"account"`
	Namespace string    `json:"namespace"`
	Access    string    `json:"access"`
	Expires   time.Time `json:"expires"`
	Refresh   string    `json:"refresh"`
}

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

// AddedIssuer is the answer to the request that adds one.
type AddedIssuer struct {
	Name string `json:"name"`
	// Warning is why tokens of it cannot be taken yet; "" if its keys could be read.
	Warning string `json:"warning,omitempty"`
}

func (s *Server) identityRoutes() []route {
	return []route{
		{pattern: "GET /.well-known/jwks.json", summary: "The keys that access tokens are signed with (RFC 7517)", outBytes: "application/json", handler: s.jwks},
		{pattern: "POST /v1/login", summary: "Log in with a password", in: reflect.TypeFor[Credentials](), out: reflect.TypeFor[Login](), handler: s.login},
		{pattern: "POST /v1/refresh", summary: "New tokens for a refresh token, which is of no use from then on", in: reflect.TypeFor[RefreshRequest](), out: reflect.TypeFor[Login](), handler: s.refresh},
		{pattern: "POST /v1/logout", summary: "End the login of a refresh token", in: reflect.TypeFor[RefreshRequest](), handler: s.logout},
		{pattern: "GET /v1/whoami", summary: "Who asks", out: reflect.TypeFor[Identity](), handler: s.whoami},
		{pattern: "GET /v1/auth/check", summary: "Whether an account, by default who asks, may do something to a resource, and why", query: []string{"as", "namespace", "resource"},
			out: reflect.TypeFor[Decision](), handler: s.checkRule},
		{pattern: "GET /v1/accounts", summary: "The accounts, by name", out: reflect.TypeFor[[]Account](), handler: s.accounts},
		{pattern: "POST /v1/accounts", summary: "Make an account", in: reflect.TypeFor[AccountRequest](), out: reflect.TypeFor[Account](), handler: s.createAccount},
		{pattern: "PATCH /v1/accounts/{account}", summary: "Change scopes or password of an account; a new password ends its logins", in: reflect.TypeFor[AccountRequest](), out: reflect.TypeFor[Account](), handler: s.changeAccount},
		{pattern: "DELETE /v1/accounts/{account}", summary: "Remove an account; its tokens prove nothing any more", handler: s.removeAccount},
		{pattern: "DELETE /v1/accounts/{account}/logins", summary: "End all logins of an account", handler: s.endLogins},
		{pattern: "GET /v1/tokens", summary: "The machine tokens of who asks, or of all accounts", query: []string{"all"}, out: reflect.TypeFor[[]Token](), handler: s.tokens},
		{pattern: "POST /v1/tokens", summary: "Make a machine token; its secret is in the answer, and never told again", in: reflect.TypeFor[TokenRequest](), out: reflect.TypeFor[Token](), handler: s.createToken},
		{pattern: "DELETE /v1/tokens/{id}", summary: "Revoke a machine token", handler: s.revokeToken},
		{pattern: "GET /v1/rules", summary: "The rules, those first that are always there", out: reflect.TypeFor[[]Rule](), handler: s.rules},
		{pattern: "POST /v1/rules", summary: "Add a rule, which counts from then on", in: reflect.TypeFor[Rule](), out: reflect.TypeFor[Rule](), handler: s.addRule},
		{pattern: "DELETE /v1/rules/{id}", summary: "Remove a rule", handler: s.removeRule},
		{pattern: "GET /v1/issuers", summary: "The other issuers whose tokens the host takes, by name", out: reflect.TypeFor[[]Issuer](), handler: s.issuers},
		{pattern: "POST /v1/issuers", summary: "Take the tokens of another issuer", in: reflect.TypeFor[Issuer](), out: reflect.TypeFor[AddedIssuer](), handler: s.addIssuer},
		{pattern: "DELETE /v1/issuers/{name}", summary: "Take the tokens of an issuer no more", handler: s.removeIssuer},
		{pattern: "GET /v1/keys", summary: "The signing keys, the active one first", out: reflect.TypeFor[[]Key](), handler: s.keysList},
		{pattern: "POST /v1/keys/rotate", summary: "Make a new signing key; what the one before has signed is good until it expires", out: reflect.TypeFor[Key](), handler: s.rotateKeys},
	}
}

// authority returns what knows accounts, tokens and rules.
func (s *Server) authority() (*auth.Authority, error) {
	if s.auth == nil {
		return nil, wire.Errorf(wire.Unavailable, "this host asks nobody who they are, and so has no accounts, tokens and rules: `fnhost serve` does, and `fnhost dev --auth`")
	}
	return s.auth, nil
}

// maxIdentityBody bounds the body of these requests, in bytes.
const maxIdentityBody = 64 << 10

func readBody[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxIdentityBody), &v); err != nil {
		return v, wire.Errorf(wire.BadRequest, "the body: %v", err)
	}
	return v, nil
}

func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) error {
	a, err := s.authority()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_, err = w.Write(a.JWKS())
	return err
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	c, err := readBody[Credentials](w, r)
	if err != nil {
		return err
	}
	noteResource(r, accountResource(c.Account), "")
	a, err := s.authority()
	if err != nil {
		return err
	}
	if err := s.guesses.allow(r, c.Account); err != nil {
		return err
	}
	l, err := a.Login(r.Context(), c.Account, c.Password)
	if err == nil {
		s.guesses.right(r, c.Account)
		noteAccount(r, l.Account)
	}
	return replyOr(w, Login(l), err)
}

func (s *Server) refresh(w http.ResponseWriter, r *http.Request) error {
	req, err := readBody[RefreshRequest](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	l, err := a.Refresh(r.Context(), req.Refresh)
	noteAccount(r, l.Account)
	return replyOr(w, Login(l), err)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	req, err := readBody[RefreshRequest](w, r)
	if err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	return noContent(w, a.Logout(r.Context(), req.Refresh))
}

// verified returns who has proved to ask; nil where the host asks nobody.
func (s *Server) verified(r *http.Request) (*auth.Identity, error) {
	if s.auth == nil || s.door == nil {
		return nil, nil
	}
	token, _ := auth.Given(r)
	return s.auth.Verify(r.Context(), token)
}

func (s *Server) whoami(w http.ResponseWriter, r *http.Request) error {
	id, err := s.verified(r)
	if err != nil {
		return err
	}
	var v Identity
	if id != nil {
		v = Identity{Account: id.Account, Namespace: id.Namespace, Kind: id.Kind, Scopes: id.Scopes, Issuer: id.Issuer, Token: id.Token}
		if !id.Expires.IsZero() {
			v.Expires = &id.Expires
		}
		v.Machine = s.machineName(id)
	}
	return reply(w, v)
}

// machineName returns the name of the machine token that has proved an identity, "" if none has.
func (s *Server) machineName(id *auth.Identity) string {
	for _, t := range s.auth.Tokens() {
		if t.ID == id.Token && t.Account == id.Account {
			return t.Name
		}
	}
	return ""
}

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
