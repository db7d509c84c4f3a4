package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/outbound"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/kv/secrets"
	"github.com/fnhost/fnhost/trigger/gateway"
)

const (
	authBucket    = "auth"
	issuerTimeout = 10 * time.Second // of a request for the keys of another issuer
)

// ownSecrets is the namespace of the host's own secrets, which no other can be called.
const ownSecrets = "fnhost"

// openAuth opens what knows accounts, tokens and rules, if the host asks who comes.
func (h *Host) openAuth(clients *natsDoor) error {
	if !h.cfg.Auth {
		return nil
	}
	root, fresh, err := auth.OpenRoot(h.cfg.Dir)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.token = fresh
	changed := make(chan struct{}, 1)
	keys := outbound.Guard{Private: h.cfg.PrivateIssuers, Hint: "the host must allow issuers at such (--private-issuers)"}.Client(issuerTimeout)
	h.closers = append(h.closers, keys.CloseIdleConnections)
	cfg := auth.Config{Root: root, Client: keys, AccessTTL: h.cfg.AccessTTL, RefreshTTL: h.cfg.RefreshTTL, Logger: h.log, Changed: func() {
		select {
		case changed <- struct{}{}:
		default: // somebody looks already, from here on
		}
	}}
	ctx, cancel := context.WithTimeout(h.ctx, startTimeout)
	defer cancel()
	b, err := h.controlBucket(ctx, jetkv.Config{Bucket: authBucket, Description: "accounts, tokens, rules"})
	switch {
	case err == nil:
		cfg.Bucket = b
	case h.cfg.NATSURL == "":
		return fmt.Errorf("host: accounts: %w", err)
	default:
		h.log.Warn("there are no accounts and rules here, but the root token: " + err.Error())
	}
	if cfg.Bucket != nil {
		cfg.Secrets = vault{h}
	}
	a, err := auth.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.auth.Store(a)
	h.tasks.Go(func() { clients.recheck(h.ctx, changed) })
	h.closers = append(h.closers, a.Close)
	return nil
}

// Auth returns what knows accounts, tokens and rules: nil without Config.Auth.
func (h *Host) Auth() *auth.Authority { return h.authority() }

// vault keeps the signing keys among the secrets.
type vault struct{ h *Host }

// with opens the host's own secrets for a moment: keys are read once, and made rarely.
func (v vault) with(ctx context.Context, do func(*secrets.Store) error) error {
	store, err := v.h.secretStore()
	if err != nil {
		return err
	}
	if err := store.Prepare(ctx); err != nil {
		return err
	}
	own, err := store.Namespace(ctx, ownSecrets, v.h.log)
	if err != nil {
		return err
	}
	defer own.Close()
	return do(own)
}

func (v vault) Get(ctx context.Context, name string) (value []byte, err error) {
	err = v.with(ctx, func(s *secrets.Store) error {
		b, _, err := s.Get(ctx, name)
		value = slices.Clone(b)
		return err
	})
	return value, err
}

func (v vault) Set(ctx context.Context, name string, value []byte) error {
	return v.with(ctx, func(s *secrets.Store) error {
		_, err := s.Set(ctx, name, value, "fnhost")
		return err
	})
}

// door is what all ways in ask who comes, and whether they may.
type door struct {
	h *Namespace
}

// authority returns what the door asks; it is nil where nobody is asked.
func (s *shared) authority() *auth.Authority { return s.auth.Load() }

// sameOrigin refuses what the page of another site has a browser send.
var sameOrigin = http.NewCrossOriginProtection()

// identify returns who a request proves to be from, nil for nobody. If lenient is set, as for
// public functions, a token that is none of this host's, such as a malformed one, is the
// function's own business, and whoever sends it is nobody. One of this host that has expired or
// was revoked is refused there, too: who sends it means to be somebody, and learns to log in anew.
func (d door) identify(r *http.Request, lenient bool) (*auth.Identity, error) {
	token, cookie := auth.Given(r)
	if token == "" {
		return nil, nil
	}
	a := d.h.authority()
	if cookie { // the browser sends it by itself, whoever made the page
		if err := sameOrigin.Check(r); err != nil {
			return nil, wire.Errorf(wire.Forbidden, "a page of another site cannot use the login here: %v", err)
		}
	}
	id, err := a.Verify(r.Context(), token)
	if err != nil && lenient && errors.Is(err, auth.ErrToken) && !a.Ours(token) {
		return nil, nil
	}
	return id, err
}

// Enter implements the Door of the gateway.
func (d door) Enter(r *http.Request, function, endpoint string, leave manifest.Leave) (gateway.Identity, error) {
	id, err := d.identify(r, leave.Public)
	if err == nil {
		err = d.mayCall(id, function, endpoint, leave)
	}
	if err != nil || id == nil {
		return gateway.Identity{}, err
	}
	return gateway.Identity{Account: id.Account, Encoded: id.Encoded()}, nil
}

// Who implements the Door of the gateway.
func (d door) Who(r *http.Request) (gateway.Identity, error) {
	id, err := d.identify(r, false)
	if err != nil || id == nil {
		return gateway.Identity{}, err
	}
	return gateway.Identity{Account: id.Account, Encoded: id.Encoded()}, nil
}

// identifyToken returns who a token of a NATS request proves to ask.
func (d door) identifyToken(token string) (string, error) {
	ctx, cancel := context.WithTimeout(d.h.ctx, recheckTimeout)
	defer cancel()
	id, err := d.h.authority().Verify(ctx, token)
	return id.Encoded(), err
}

// Cookie implements the Door of the gateway.
func (d door) Cookie() string { return auth.CookieName }

// mayCall returns an error if an identity may not call a function: a rule decides, and
// where there is none, the function itself.
func (d door) mayCall(id *auth.Identity, function, endpoint string, leave manifest.Leave) error {
	resource := "function:" + function
	if endpoint != "" {
		resource += ":" + endpoint
	}
	v := d.h.authority().Decide(id, d.h.name, resource)
	switch {
	case v.Decided && v.Allowed:
		return nil
	case v.Decided:
	case leave.Public || d.h.cfg.Public:
		return nil
	case id != nil && (id.Namespace == auth.Everywhere || id.Namespace == d.h.name) && slices.ContainsFunc(leave.Scopes, func(s string) bool { return slices.Contains(id.Scopes, s) }):
		return nil
	}
	if id == nil {
		in := ""
		if d.h.name != admin.DefaultNamespace { // or the rule would be about all
			in = " -n " + d.h.name
		}
		return wire.Errorf(wire.Unauthorized, "this wants to know who asks: send a token (Authorization: Bearer …). Who runs the host lets anybody in by `public: true` in %s of the function, or by `fnhost rule add %s --scope public%s`", manifest.FileName, resource, in)
	}
	return auth.Refused(id, d.h.name, resource)
}

// asksWho reports whether the gateway lets nobody call a function of whom neither a rule nor
// the manifest says anything.
func (h *Namespace) asksWho(function string, m *manifest.Manifest) bool {
	a := h.authority()
	if a == nil || h.cfg.Public || m == nil || m.Public || len(m.Scopes) > 0 {
		return false
	}
	return !a.Decide(nil, h.name, "function:"+function).Allowed
}

// adminDoor is the door of the management API.
type adminDoor struct{ h *Host }

// Enter implements [admin.Door].
func (d adminDoor) Enter(r *http.Request, namespace, resource string) (string, error) {
	a := d.h.authority()
	id, err := door{d.h.first}.identify(r, false)
	if err != nil {
		return "", err
	}
	if id == nil {
		return "", auth.Refused(nil, namespace, resource)
	}
	if resource == "" {
		return id.Account, nil
	}
	return id.Account, a.Allow(id, namespace, resource)
}
