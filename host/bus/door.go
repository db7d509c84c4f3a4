package bus

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Login is what a client that connects to an embedded server shows of itself.
// User, Password and Token may hold secrets, each of them.
type Login struct {
	User, Password string // as in nats://USER:PASSWORD@HOST
	Token          string // as in nats://TOKEN@HOST, or --token
	Name           string // of the connection, as its client says
	Remote         net.Addr
	TLS            *tls.ConnectionState // nil without TLS
}

// Grant is what a connection may do.
type Grant struct {
	// ID is that of the proof, such as a token's: [Bus.Recheck] asks about it.
	ID string
	// Account is who has connected, for the log: no account of NATS.
	Account string
	// Namespace is [DefaultAccount], or another that [Bus.OpenAccount] has opened.
	Namespace string
	// All allows everything in the namespace, its streams included. The lists are
	// not looked at then.
	All bool
	// Publish and Subscribe list the subjects that are allowed, with wildcards; an
	// empty list allows none. A list with a wildcard at its first place, or with what
	// is no subject, is refused with the connection: > holds the namespace's streams,
	// and what others are answered. In Subscribe a list that has a.* cannot have a.b.c beside it:
	// a.* is left out then, and the log says so. Who may subscribe to anything may also send to
	// inboxes, which is how a service answers.
	Publish, Subscribe []string
	// Inbox is the prefix of the connection's own inbox, and what [Inbox] returns: it
	// may subscribe to what is below. Stock clients are given it: nats
	// --inbox-prefix=PREFIX, nats.CustomInboxPrefix. Without it a client cannot make
	// requests: everybody's inbox is below _INBOX, and so that is allowed to nobody.
	// Default: none.
	Inbox string
	// Expires is when the connection ends. Default: never.
	Expires time.Time
}

const inboxes = "_INBOX."

// Inbox returns the prefix for the inboxes of an account or a token. It is the same
// each time, and no secret.
func Inbox(id string) string {
	plain := id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if !plain {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:16])
	}
	return inboxes + id
}

// door decides who is let in, to which namespace, and with what permissions. The
// host itself comes through a pipe and names the namespace and the secret of this
// run; who comes over the network is announced by the guard.
type door struct {
	secret       string
	authenticate func(Login) (*Grant, error) // nil: everybody, to everything in the default namespace
	srv          *server.Server
	refused      *sparingLog
	violated     *sparingLog

	mu       sync.Mutex
	accounts map[string]*account
	visits   map[string]*visit // who is about to connect, by key
	rechecks int
	guests   guests
}

// guest is a client of the network that was let in.
type guest struct {
	*Grant
	remote string
}

// guests are those who are in, by the server's number. The server logs with locks of its own, and what it
// logs is looked up here: the lock is held for nothing else, and the server is not called with it.
type guests struct {
	mu    sync.Mutex
	in    map[uint64]*guest
	prune int // how many it takes to look which are gone
}

func (g *guests) get(id uint64) *guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.in[id]
}

func (g *guests) set(id uint64, to *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in[id] = to
}

func (g *guests) drop(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.in, id)
}

func (g *guests) all() map[uint64]*guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.in)
}

// forgetGone drops the connections that have ended, of which the server does not
// tell, whenever there are twice as many as there were.
func (g *guests) forgetGone(srv *server.Server) {
	g.mu.Lock()
	due := len(g.in) >= g.prune
	g.mu.Unlock()
	if !due {
		return
	}
	for id := range g.all() {
		if srv.GetClient(id) == nil {
			g.drop(id)
		}
	}
	g.mu.Lock()
	g.prune = max(64, 2*len(g.in))
	g.mu.Unlock()
}

var errRefused = errors.New("who may connect is not known: nothing was granted")

// Check is called by the server for each client that connects.
func (d *door) Check(c server.ClientAuthentication) bool {
	addr := c.RemoteAddress()
	if addr == nil || c.Kind() != server.CLIENT {
		return false
	}
	opts := c.GetOpts()
	if addr.Network() != "pipe" { // there is no guard, as everybody may do everything
		return d.authenticate == nil && d.admit(c, Login{Remote: addr}) != nil
	}
	if opts.Username != visitor {
		return d.admitHost(c, opts)
	}
	v := d.takeVisit(opts.Password)
	if v == nil {
		return false
	}
	defer close(v.decided)
	v.grant = d.admit(c, v.login)
	return v.grant != nil
}

// claimed is who a login says it is, for the log. A user without a password may be
// a token in the wrong place.
func claimed(l Login) string {
	if l.Password == "" || len(l.User) > 64 || l.User == l.Password {
		return ""
	}
	return l.User
}

func (d *door) admitHost(c server.ClientAuthentication, opts *server.ClientOpts) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[opts.Username]
	if a == nil || subtle.ConstantTimeCompare([]byte(opts.Password), []byte(d.secret)) != 1 {
		return false
	}
	c.RegisterUser(&server.User{Username: "host", Account: a.acc})
	return true
}

// admit lets a client of the network in, and returns what it may do, or nil.
func (d *door) admit(c server.ClientAuthentication, login Login) *Grant {
	g, err := d.tryAdmit(c, login)
	if err != nil {
		d.refused.info("NATS: a connection was refused: "+err.Error(), "remote", login.Remote.String(), "account", claimed(login))
		return nil
	}
	return g
}

func (d *door) tryAdmit(c server.ClientAuthentication, login Login) (*Grant, error) {
	for range 3 {
		d.mu.Lock()
		rechecks := d.rechecks
		d.mu.Unlock()
		g, err := d.ask(login)
		if err != nil {
			return nil, err
		}
		if again, err := d.enter(c, &guest{g, login.Remote.String()}, rechecks); !again {
			return g, err
		}
	}
	return nil, errors.New("what is granted changes all the time: connect again")
}

func (d *door) ask(login Login) (*Grant, error) {
	if d.authenticate == nil {
		return &Grant{Namespace: DefaultAccount, All: true}, nil
	}
	g, err := d.authenticate(login)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, errRefused
	}
	return g.clone(), nil
}

// enter registers a client with the server. It returns again if what is granted
// may have changed while it was asked for: a revocation must not miss who comes in.
func (d *door) enter(c server.ClientAuthentication, g *guest, rechecks int) (again bool, err error) {
	user, err := g.user()
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rechecks != rechecks {
		return true, nil
	}
	id := c.GetID()
	if d.guests.get(id) != nil && d.authenticate != nil {
		return false, errors.New("it has connected already: a connection shows its proof once")
	}
	a := d.accounts[g.Namespace]
	if a == nil || g.Namespace == ControlAccount {
		return false, fmt.Errorf("there is no namespace %q", g.Namespace)
	}
	if most := a.limits.Connections; most > 0 && a.acc.NumLocalConnections()-1 >= most { // one is the host's
		return false, fmt.Errorf("namespace %q has all of the %d connections that it may have", g.Namespace, most)
	}
	user.Account = a.acc
	c.RegisterUser(user)
	if _, _, out := g.subscriptions(); len(out) > 0 && !g.All {
		d.violated.info(fmt.Sprintf("NATS: the subscription to %q is left out, as the server would take what is deeper as well, of which a part is granted: choose subjects that do not overlap", out[0]),
			"account", g.Account)
	}
	d.guests.forgetGone(d.srv)
	d.guests.set(id, g)
	return false, nil
}

// user returns a grant as the server takes it, without the account.
func (g *Grant) user() (*server.User, error) {
	if !g.Expires.IsZero() && !g.Expires.After(time.Now()) {
		return nil, fmt.Errorf("its proof has ended at %s", g.Expires.UTC().Format(time.RFC3339))
	}
	u := &server.User{Username: g.Account, ConnectionDeadline: g.Expires}
	if u.Username == "" {
		u.Username = "-" // what the client has given is not for the log
	}
	if g.All {
		return u, nil
	}
	for _, s := range slices.Concat(g.Publish, g.Subscribe) {
		if err := allowable(s); err != nil {
			return nil, err
		}
	}
	publish := append([]string{}, g.Publish...)
	subscribe, deny, _ := g.subscriptions()
	// A service answers. The server's own way, allow_responses, would let a client
	// that may send to itself choose any reply, and then publish there.
	if len(subscribe) > 0 {
		publish = append(publish, inboxes+">", "_R_.>") // _R_: who asks is in another namespace
	}
	if g.Inbox != "" {
		if rest, ok := strings.CutPrefix(g.Inbox, inboxes); !ok || !server.IsValidPublishSubject(rest) {
			return nil, fmt.Errorf("inbox %q is granted: want what bus.Inbox returns", g.Inbox)
		}
		subscribe = append(subscribe, g.Inbox+".>")
	}
	u.Permissions = &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe, Deny: deny}}
	if len(subscribe) == 0 { // which the server takes for: everything
		u.Permissions.Subscribe = &server.SubjectPermission{Deny: []string{">"}}
	}
	return u, nil
}

// subscriptions returns lists for the server that allow what a grant does. The
// server lets who may subscribe to a.* subscribe to a.> as well, and so what is deeper
// must be denied. Where that would deny something else that is granted, a.* is left out.
func (g *Grant) subscriptions() (allow, deny, out []string) {
	for _, s := range g.Subscribe {
		if !strings.HasSuffix(s, ".*") || slices.ContainsFunc(g.Subscribe, func(o string) bool { return o != s && server.SubjectMatchesFilter(s, o) && strings.HasSuffix(o, ">") }) {
			allow = append(allow, s)
			continue
		}
		deeper := s + ".>"
		if slices.ContainsFunc(g.Subscribe, func(o string) bool { return server.SubjectsCollide(o, deeper) }) {
			out = append(out, s)
			continue
		}
		allow, deny = append(allow, s), append(deny, deeper)
	}
	return allow, deny, out
}

// allowable refuses what the server would take for more than it says, or leave out.
func allowable(subject string) error {
	if !server.IsValidSubject(subject) || strings.ContainsAny(subject, " \t\r\n") {
		return fmt.Errorf("%q is granted, which is no subject", subject)
	}
	first, _, _ := strings.Cut(subject, ".")
	if first == "*" || first == ">" {
		return fmt.Errorf("%q is granted, which holds streams and inboxes: grant all, or name the first part", subject)
	}
	if strings.HasPrefix(first, "_") {
		return fmt.Errorf("%q is granted, which is for answers: set the inbox", subject)
	}
	return nil
}

func (g *Grant) clone() *Grant {
	c := *g
	c.Publish, c.Subscribe = slices.Sorted(slices.Values(g.Publish)), slices.Sorted(slices.Values(g.Subscribe))
	return &c
}

func (g *Grant) same(o *Grant) bool {
	return g.ID == o.ID && g.Account == o.Account && g.Namespace == o.Namespace && g.All == o.All && g.Inbox == o.Inbox &&
		g.Expires.Equal(o.Expires) && slices.Equal(g.Publish, o.Publish) && slices.Equal(g.Subscribe, o.Subscribe)
}

// Recheck ends the network connections whose grant has changed: still is asked about
// the grant of each, and returns what it is now, nil for nothing. Clients of NATS connect
// again by themselves, and have then what is granted now. It is called when tokens
// are revoked or rules change; who is connecting meanwhile is asked again. still
// gets a copy, and must not call the Bus. If ctx ends before all were asked about,
// the rest is ended as well, and the error says how many those are.
//
// Without Config.Authenticate, or with a server elsewhere, it does nothing.
func (b *Bus) Recheck(ctx context.Context, still func(g *Grant) *Grant) error {
	if b.door == nil || b.door.authenticate == nil {
		return nil
	}
	blind := 0
	for id, g := range b.door.recheck() {
		if ctx.Err() != nil {
			blind++
		} else if now := still(g.clone()); now != nil && now.clone().same(g.Grant) {
			continue
		}
		b.door.end(id)
	}
	if blind > 0 {
		return fmt.Errorf("bus: %d connections were ended without a look at what they may do: %w", blind, ctx.Err())
	}
	return nil
}

// recheck returns the connections, and has those who come in at the moment asked again.
func (d *door) recheck() map[uint64]*guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rechecks++
	return d.guests.all()
}

// end ends a connection, if it has not ended.
func (d *door) end(id uint64) {
	_ = d.srv.DisconnectClientByID(id) // an error: it is gone
	d.guests.drop(id)
}
