package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/bus"
)

// natsDoor lets clients of NATS in: by a token, as the password or as a token, and held to
// the rules. Who belongs to all namespaces says by the user name which one is meant,
// "ada@acme"; without that it is the default one.
type natsDoor struct {
	h *Host

	mu     sync.Mutex
	tokens map[string]string // of those who are connected, by the ID of their grant
}

// errNotOpen is for who comes before the host knows anybody.
var errNotOpen = errors.New("the host is starting")

// authenticate implements [bus.Config].Authenticate.
func (d *natsDoor) authenticate(l bus.Login) (*bus.Grant, error) {
	token := l.Token
	if token == "" {
		token = l.Password
	}
	_, namespace, _ := strings.Cut(l.User, "@")
	g, err := d.grant(token, namespace)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.tokens == nil {
		d.tokens = make(map[string]string)
	}
	d.tokens[g.ID] = token
	d.mu.Unlock()
	return g, nil
}

// grant returns what a token allows in a namespace, "" for its own.
func (d *natsDoor) grant(token, namespace string) (*bus.Grant, error) {
	a := d.h.authority()
	if a == nil {
		return nil, errNotOpen
	}
	ctx, cancel := context.WithTimeout(context.Background(), recheckTimeout)
	defer cancel()
	id, err := a.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	switch {
	case namespace == "" && id.Namespace == auth.Everywhere:
		namespace = bus.DefaultAccount
	case namespace == "":
		namespace = id.Namespace
	}
	ns, err := d.h.Namespace(namespace)
	if err != nil {
		return nil, err
	}
	p := a.Permissions(id, ns.name)
	sum := sha256.Sum256([]byte(token))
	return &bus.Grant{
		ID: hex.EncodeToString(sum[:12]) + "@" + ns.name, Account: id.Account, Namespace: ns.name, All: slices.Contains(p.Publish, ">"),
		// p.Watch is left out: who makes a consumer may name one of a kv trigger.
		Publish: p.Publish, Subscribe: p.Subscribe, Inbox: bus.Inbox(id.Account), Expires: id.Expires,
	}, nil
}

const (
	recheckTimeout = 5 * time.Second
	recheckPause   = 100 * time.Millisecond // many changes at once are one
)

// recheck ends the connections of those who may not do any more what they could, each time
// something has changed.
func (d *natsDoor) recheck(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		within, cancel := context.WithTimeout(ctx, recheckTimeout)
		seen := make(map[string]bool)
		err := d.h.bus.Recheck(within, func(g *bus.Grant) *bus.Grant {
			d.mu.Lock()
			token := d.tokens[g.ID]
			d.mu.Unlock()
			now, err := d.grant(token, g.Namespace)
			if err != nil {
				return nil
			}
			seen[g.ID] = true
			return now
		})
		cancel()
		if err != nil && ctx.Err() == nil {
			d.h.log.Warn("not all NATS clients could be looked at: " + err.Error())
		}
		d.forget(seen)
		select {
		case <-ctx.Done():
			return
		case <-time.After(recheckPause):
		}
	}
}

// forget drops the tokens of those who have gone. Who has come meanwhile may be among
// them: then a change later on ends her connection, and she connects again.
func (d *natsDoor) forget(seen map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.tokens {
		if !seen[id] {
			delete(d.tokens, id)
		}
	}
}
