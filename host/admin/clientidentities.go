package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Login logs in with a password, which it refuses to send without TLS to an address that
// is not of this machine. The error is of code Unauthorized for a wrong account or
// password, TooMany after too many of them, and Unavailable of a host that asks nobody who
// they are.
func (c *Client) Login(ctx context.Context, account, password string) (Login, error) {
	if u, err := url.Parse(c.base); err != nil || u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return Login{}, fmt.Errorf("admin: the password would go to %s in the clear: use https", c.base)
	}
	var v Login
	return v, c.send(ctx, http.MethodPost, "/v1/login", Credentials{Account: account, Password: password}, &v)
}

// Refresh returns new tokens for a refresh token, which is of no use from then on: one
// that comes a second time ends its login. The error is of code Unauthorized for one that
// is not good.
func (c *Client) Refresh(ctx context.Context, refresh string) (Login, error) {
	var v Login
	return v, c.send(ctx, http.MethodPost, "/v1/refresh", RefreshRequest{Refresh: refresh}, &v)
}

// Logout ends the login of a refresh token. One that has ended is no error.
func (c *Client) Logout(ctx context.Context, refresh string) error {
	return c.send(ctx, http.MethodPost, "/v1/logout", RefreshRequest{Refresh: refresh}, nil)
}

// Whoami returns who asks. Its Account is "" where the host asks nobody.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	var v Identity
	return v, c.get(ctx, "/v1/whoami", &v)
}

// CheckRule returns whether an account, "" for who asks and "public" for anybody, may do
// something to a resource of a namespace, and why. The namespace "" is the one that the
// resource is asked for: "*" for what belongs to the host as a whole, and else that of the
// client. The error is of code Forbidden for who may ask of nobody else, NotFound if there
// is no such account, and BadRequest for what is no resource.
func (c *Client) CheckRule(ctx context.Context, as, namespace, resource string) (Decision, error) {
	q := url.Values{"resource": {resource}}
	for key, value := range map[string]string{"as": as, "namespace": namespace} {
		if value != "" {
			q.Set(key, value)
		}
	}
	var v Decision
	return v, c.get(ctx, "/v1/auth/check?"+q.Encode(), &v)
}

// Accounts returns the accounts, by name.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	var v []Account
	return v, c.get(ctx, "/v1/accounts", &v)
}

// CreateAccount makes an account. The error is of code BadRequest for what is none, and
// Conflict if there is one of that name.
func (c *Client) CreateAccount(ctx context.Context, req AccountRequest) (Account, error) {
	var v Account
	return v, c.send(ctx, http.MethodPost, "/v1/accounts", req, &v)
}

// ChangeAccount changes scopes or password of an account, those of them that req has. A new
// password ends all its logins. Who changes the own password says the one before, too. The
// error is of code NotFound if there is no such account, Unauthorized for a wrong current
// password, and Forbidden if nobody could change rules any more.
func (c *Client) ChangeAccount(ctx context.Context, name string, req AccountRequest) (Account, error) {
	var v Account
	return v, c.send(ctx, http.MethodPatch, "/v1/accounts/"+url.PathEscape(name), req, &v)
}

// RemoveAccount removes an account; its tokens prove nothing any more. The error is of
// code NotFound if there is none, and Forbidden if nobody could change rules any more.
func (c *Client) RemoveAccount(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/v1/accounts/"+url.PathEscape(name), nil, nil)
}

// EndLogins ends all logins of an account; its machine tokens stay. The error is of code
// NotFound if there is none.
func (c *Client) EndLogins(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/v1/accounts/"+url.PathEscape(name)+"/logins", nil, nil)
}

// Tokens returns the machine tokens of who asks, or of all accounts.
func (c *Client) Tokens(ctx context.Context, all bool) ([]Token, error) {
	var v []Token
	return v, c.get(ctx, "/v1/tokens?all="+strconv.FormatBool(all), &v)
}

// CreateToken makes a machine token, of which nothing tells the Secret again. The error is
// of code BadRequest for what is none, NotFound if there is no such account, Forbidden for
// a scope that the account has not, and Conflict if it has a token of that name.
func (c *Client) CreateToken(ctx context.Context, req TokenRequest) (Token, error) {
	var v Token
	return v, c.send(ctx, http.MethodPost, "/v1/tokens", req, &v)
}

// RevokeToken ends a machine token. The error is of code NotFound if there is none of that
// ID, for who may see it.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
}

// Rules returns the rules, those first that are always there.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	var v []Rule
	return v, c.get(ctx, "/v1/rules", &v)
}

// AddRule adds a rule, which counts from then on, and returns it as it is stored. The error
// is of code BadRequest for what is none, Conflict if there is one of that ID, and Forbidden
// if nobody could change rules any more.
func (c *Client) AddRule(ctx context.Context, r Rule) (Rule, error) {
	var v Rule
	return v, c.send(ctx, http.MethodPost, "/v1/rules", r, &v)
}

// RemoveRule removes a rule. The error is of code NotFound if there is none of that ID, and
// Forbidden for one that is always there, or if nobody could change rules any more.
func (c *Client) RemoveRule(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodDelete, "/v1/rules/"+url.PathEscape(id), nil, nil)
}

// Issuers returns the other issuers whose tokens the host takes, by name.
func (c *Client) Issuers(ctx context.Context) ([]Issuer, error) {
	var v []Issuer
	return v, c.get(ctx, "/v1/issuers", &v)
}

// AddIssuer has the host take the tokens of another issuer. The error is of code BadRequest
// for what is none, NotFound for a namespace that there is not, and Conflict if there is one of
// that name or URL. One whose keys cannot be read is taken, with a warning.
func (c *Client) AddIssuer(ctx context.Context, i Issuer) (AddedIssuer, error) {
	var v AddedIssuer
	return v, c.send(ctx, http.MethodPost, "/v1/issuers", i, &v)
}

// RemoveIssuer has the host refuse the tokens of an issuer. The error is of code NotFound
// if there is none of that name.
func (c *Client) RemoveIssuer(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/v1/issuers/"+url.PathEscape(name), nil, nil)
}

// SigningKeys returns the keys that sign access tokens, the active one first; none before
// the first login.
func (c *Client) SigningKeys(ctx context.Context) ([]Key, error) {
	var v []Key
	return v, c.get(ctx, "/v1/keys", &v)
}

// RotateKeys makes a new signing key. What the one before has signed is good until it
// expires; what the one before that has signed is refused.
func (c *Client) RotateKeys(ctx context.Context) (Key, error) {
	var v Key
	return v, c.send(ctx, http.MethodPost, "/v1/keys/rotate", nil, &v)
}

// authorize gives a request its token; refused is one that the host has just refused, ""
// for none.
func (c *Client) authorize(req *http.Request, refused string) (token string, err error) {
	switch req.URL.Path {
	case "/v1/login", "/v1/refresh", "/v1/logout": // what gives one, or ends it
		return "", nil
	}
	token = c.token
	if c.fresh != nil {
		token, err = c.fresh(req.Context(), refused)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return token, err
}

// roundTrip sends a request, and once more with another token if the host refuses the
// first one and there is another.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.fresh != nil && req.Body != nil && req.GetBody == nil && !c.proved.Load() {
		// What can be sent only once is sent with a token that is known to be good.
		if err := c.get(req.Context(), "/v1/whoami", new(Identity)); err != nil {
			return nil, err
		}
	}
	token, err := c.authorize(req, "")
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil || c.fresh == nil || token == "" {
		return resp, err
	}
	if !refused(resp) {
		c.proved.Store(true)
		return resp, nil
	}
	if req.Body != nil && req.GetBody == nil {
		return resp, nil
	}
	again := req.Clone(req.Context())
	next, err := c.authorize(again, token)
	if err == nil && next == token {
		return resp, nil
	}
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return c.http.Do(again)
}

// refused reports whether the door of the host did not take the token of a request; an
// answer of the same status from behind it, to a wrong password, is something else.
func refused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != ""
}
