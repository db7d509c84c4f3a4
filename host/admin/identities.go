package admin

import (
	"net/http"
	"reflect"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
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
