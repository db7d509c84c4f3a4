package bus

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const patience = 30 * time.Second

// grants authenticate by token.
type grants struct {
	mu sync.Mutex
	m  map[string]*Grant
}

func (g *grants) authenticate(l Login) (*Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := g.m[l.Token]; got != nil {
		return got, nil
	}
	return nil, errors.New("the token is not known")
}

func (g *grants) set(token string, to *Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to == nil {
		delete(g.m, token)
	} else {
		g.m[token] = to
	}
}

func openDoor(t *testing.T, m map[string]*Grant) (*Bus, *grants, *record) {
	t.Helper()
	g, said := &grants{m: m}, &record{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said.String())
		}
	})
	b := open(t, Config{Listen: "127.0.0.1:0", Authenticate: g.authenticate, Logger: slog.New(slog.NewTextHandler(said, nil))})
	return b, g, said
}

func dial(t *testing.T, b *Bus, token string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{nats.Token(token), nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)
	c, err := nats.Connect("nats://"+b.Addr(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// refusedTo reports whether the server has refused what was done last.
func refusedTo(t *testing.T, c *nats.Conn, subject string) bool {
	t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	err := c.LastError()
	return err != nil && strings.Contains(strings.ToLower(err.Error()), "permissions violation") && strings.Contains(err.Error(), fmt.Sprintf("%q", subject))
}

func TestWhatAGrantAllows(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{
		"all":     {Namespace: DefaultAccount, All: true},
		"nothing": {Namespace: DefaultAccount},
		"inbox":   {Namespace: DefaultAccount, Inbox: Inbox("ada")},
		"publish": {Namespace: DefaultAccount, Publish: []string{"orders.*", "fn.>"}},
		"reader":  {Namespace: DefaultAccount, Subscribe: []string{"orders.*", "lines.*.new"}, Inbox: Inbox("bob")},
		"stream":  {Namespace: DefaultAccount, Publish: []string{"$JS.API.STREAM.INFO.S"}, Inbox: Inbox("eve")},
	})
	tests := []struct {
		token, publish, subscribe string // which are allowed, and those below not
		noPublish, noSubscribe    string
	}{
		{"all", "orders.new > $JS.API.INFO $SYS.REQ.USER.INFO", "> _INBOX.> orders.>", "", ""},
		{"nothing", "", "", "orders _INBOX.x $JS.API.INFO $JS.API.STREAM.NAMES $KV.b.k $SYS.REQ.USER.INFO _R_.x fn.x", "> * orders _INBOX.> _INBOX.x.* $JS.> $SYS.>"},
		{"inbox", "", "_INBOX.ada.> _INBOX.ada.x.* _INBOX.ada.*", "_INBOX.x orders $JS.API.INFO", "_INBOX.> _INBOX.* _INBOX.*.x _INBOX.adax.* _INBOX.bob.x _INBOX.ada > *.ada.x orders"},
		{"publish", "orders.new fn.x fn.x.y", "", "orders orders.a.b fn other $JS.API.INFO $JS.ACK.S.C _INBOX.x", "orders.new fn.x > _INBOX.x"},
		{"reader", "_INBOX.x _INBOX.x.y _R_.x.y", "orders.new orders.* lines.a.new lines.*.new _INBOX.bob.x", "orders.new $JS.API.INFO _INBOX", "orders orders.*.x lines.> lines.a.> lines.*.* > _INBOX.ada.x _INBOX.>"},
		{"stream", "$JS.API.STREAM.INFO.S", "_INBOX.eve.>", "$JS.API.STREAM.INFO.T $JS.API.STREAM.NAMES $JS.API.STREAM.DELETE.S $JS.API.INFO", "$JS.API.STREAM.INFO.S $JS.API.>"},
	}
	for _, test := range tests {
		t.Run(test.token, func(t *testing.T) {
			c := dial(t, b, test.token)
			for i, list := range []string{test.publish, test.noPublish} {
				for s := range strings.FieldsSeq(list) {
					if err := c.Publish(s, nil); err != nil {
						t.Fatal(err)
					}
					if refused := refusedTo(t, c, s); refused != (i == 1) {
						t.Errorf("publish to %q: refused: %v", s, refused)
					}
				}
			}
			for i, list := range []string{test.subscribe, test.noSubscribe} {
				for s := range strings.FieldsSeq(list) {
					for _, queue := range []string{"", "queue"} {
						if _, err := c.QueueSubscribeSync(s, queue); err != nil {
							t.Fatal(err)
						}
						if refused := refusedTo(t, c, s); refused != (i == 1) {
							t.Errorf("subscribe to %q, queue %q: refused: %v", s, queue, refused)
						}
					}
				}
			}
		})
	}
}

func TestGrantsThatAreMoreThanTheySayLetNobodyIn(t *testing.T) {
	b, g, said := openDoor(t, map[string]*Grant{})
	b.door.refused.log = slog.New(slog.NewTextHandler(said, nil))
	tests := []struct {
		name  string
		grant *Grant
		want  string
	}{
		{"everything by a list", &Grant{Namespace: DefaultAccount, Publish: []string{">"}}, "name the first part"},
		{"a wildcard first", &Grant{Namespace: DefaultAccount, Subscribe: []string{"*.x"}}, "name the first part"},
		{"all inboxes", &Grant{Namespace: DefaultAccount, Subscribe: []string{"_INBOX.>"}}, "set the inbox"},
		{"no subject", &Grant{Namespace: DefaultAccount, Publish: []string{"a..b"}}, "no subject"},
		{"a queue", &Grant{Namespace: DefaultAccount, Subscribe: []string{"a b"}}, "no subject"},
		{"an empty one", &Grant{Namespace: DefaultAccount, Publish: []string{""}}, "no subject"},
		{"an inbox elsewhere", &Grant{Namespace: DefaultAccount, Inbox: "orders"}, "bus.Inbox"},
		{"an inbox of everybody", &Grant{Namespace: DefaultAccount, Inbox: "_INBOX.*"}, "bus.Inbox"},
		{"no inbox at all", &Grant{Namespace: DefaultAccount, Inbox: "_INBOX."}, "bus.Inbox"},
		{"the host's own account", &Grant{Namespace: ControlAccount, All: true}, "no namespace"},
		{"a system account", &Grant{Namespace: "$SYS", All: true}, "no namespace"},
		{"no namespace", &Grant{All: true}, "no namespace"},
		{"one that is not open", &Grant{Namespace: "acme", All: true}, "no namespace"},
		{"ended", &Grant{Namespace: DefaultAccount, All: true, Expires: time.Now().Add(-time.Second)}, "has ended"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g.set("t", test.grant)
			b.door.refused.last = time.Time{} // each is told of here
			c, err := nats.Connect("nats://"+b.Addr(), nats.Token("t"), nats.Timeout(patience))
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Fatalf("connect: %v", err)
			}
			if c != nil {
				c.Close()
			}
			if s := said.String(); !strings.Contains(s, test.want) {
				t.Errorf("the log does not say %q: %s", test.want, s)
			}
		})
	}
}

func TestARefusalTellsNothingAndIsLoggedWithoutSecrets(t *testing.T) {
	b, _, said := openDoor(t, map[string]*Grant{"known": nil})
	for _, how := range []nats.Option{
		nats.Token("t0ps3cret"), nats.UserInfo("ada", "t0ps3cret"), nats.UserInfo("t0ps3cret", ""), nats.UserInfo("t0ps3cret", "t0ps3cret"), nats.Token("known"), nats.Name("x"),
	} {
		_, err := nats.Connect("nats://"+b.Addr(), how, nats.Timeout(patience))
		if err == nil || !strings.EqualFold(err.Error(), nats.ErrAuthorization.Error()) {
			t.Errorf("connect: %v", err)
		}
	}
	s := said.String()
	if strings.Contains(s, "t0ps3cret") || strings.Contains(s, "level=ERROR") {
		t.Errorf("the log: %s", s)
	}
	if !strings.Contains(s, "level=INFO") || !strings.Contains(s, "remote=127.0.0.1:") || !strings.Contains(s, "the token is not known") {
		t.Errorf("the log does not tell of the first one: %s", s)
	}
}

func TestSparingLogSaysOneLineASecondAndCountsTheRest(t *testing.T) {
	var said record
	l := &sparingLog{log: slog.New(slog.NewTextHandler(&said, nil)), last: time.Now().Add(time.Hour)}
	for range 5 {
		l.info("x")
	}
	if said.String() != "" {
		t.Errorf("said: %s", said.String())
	}
	l.last = time.Now().Add(-time.Minute)
	l.info("y", "a", 1)
	if s := said.String(); !strings.Contains(s, "msg=y a=1 unsaid=5") || strings.Count(s, "\n") != 1 {
		t.Errorf("said: %s", s)
	}
}

func TestTheHostsOwnWayInIsNotOpenToTheNetwork(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{})
	for _, account := range []string{ControlAccount, DefaultAccount} {
		// Even the secret of this run, which a client cannot know, is of no use.
		c, err := nats.Connect("nats://"+b.Addr(), nats.UserInfo(account, b.door.secret), nats.Timeout(patience))
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", account, err)
		}
		if c != nil {
			c.Close()
		}
	}
	// And without the secret the pipe is of none.
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	for _, opts := range []server.ClientOpts{{Username: ControlAccount, Password: "guess"}, {Username: "acme", Password: b.door.secret}, {Token: b.door.secret}, {}} {
		if b.door.Check(&stranger{opts: opts, addr: pipe.RemoteAddr()}) {
			t.Errorf("through the pipe: %+v is let in", opts)
		}
	}
	host := &stranger{opts: server.ClientOpts{Username: ControlAccount, Password: b.door.secret}, addr: pipe.RemoteAddr()}
	if !b.door.Check(host) || host.user.Account.Name != ControlAccount {
		t.Error("the host itself is not let in")
	}
	host.addr = nil
	if b.door.Check(host) {
		t.Error("a connection from nowhere is let in")
	}
}

// stranger is a client that stands at the door.
type stranger struct {
	server.ClientAuthentication
	opts server.ClientOpts
	addr net.Addr
	user *server.User
}

func (v *stranger) GetOpts() *server.ClientOpts    { return &v.opts }
func (v *stranger) RemoteAddress() net.Addr        { return v.addr }
func (v *stranger) Kind() int                      { return server.CLIENT }
func (v *stranger) RegisterUser(user *server.User) { v.user = user }

func TestAWildcardAtTheEndIsOnePart(t *testing.T) {
	b, _, said := openDoor(t, map[string]*Grant{
		"one":  {Namespace: DefaultAccount, Subscribe: []string{"orders.*"}},
		"more": {Namespace: DefaultAccount, Subscribe: []string{"orders.*", "orders.>"}},
		"both": {Namespace: DefaultAccount, Subscribe: []string{"orders.*", "orders.a.b", "lines.x"}},
		"deep": {Namespace: DefaultAccount, Subscribe: []string{"orders.*", "orders.*.*"}},
	})
	tests := []struct{ token, subscribe, want string }{
		{"one", "orders.>", "orders.a"},
		{"one", "orders.*", "orders.a"},
		{"more", "orders.>", "orders.a orders.a.b orders.a.b.c"},
		{"both", "orders.a.b", "orders.a.b"},
		{"both", "orders.>", ""},
		{"deep", "orders.*.*", "orders.a.b"},
		{"deep", "orders.*.>", "orders.a.b"},
	}
	for _, test := range tests {
		for _, queue := range []string{"", "q"} {
			t.Run(test.token+" "+test.subscribe+" "+queue, func(t *testing.T) {
				c := dial(t, b, test.token)
				got := make(chan string, 10)
				if _, err := c.QueueSubscribe(test.subscribe, queue, func(m *nats.Msg) { got <- m.Subject }); err != nil {
					t.Fatal(err)
				}
				c.Flush()
				for _, s := range []string{"orders", "orders.a", "orders.a.b", "orders.a.b.c"} {
					b.Conn().Publish(s, nil)
				}
				b.Conn().Flush()
				c.Flush() // what was delivered before has arrived
				c.Drain()
				waitFor(t, "what has arrived is handled", c.IsClosed)
				close(got)
				var all []string
				for s := range got {
					all = append(all, s)
				}
				if strings.Join(all, " ") != test.want {
					t.Errorf("got %q, want %q", all, test.want)
				}
			})
		}
	}
	if s := said.String(); !strings.Contains(s, `\"orders.*\" is left out`) {
		t.Errorf("the log: %s", s)
	}
}

func TestRequestsAndAnswersWithoutHearingOthers(t *testing.T) {
	b, _, said := openDoor(t, map[string]*Grant{
		"ada":     {Account: "ada", Namespace: DefaultAccount, Publish: []string{"fn.>", "svc.>"}, Inbox: Inbox("ada")},
		"service": {Account: "service", Namespace: DefaultAccount, Subscribe: []string{"svc.>"}, Inbox: Inbox("service")},
	})
	if _, err := b.Conn().Subscribe("fn.hello", func(m *nats.Msg) { m.Respond([]byte("hello " + string(m.Data))) }); err != nil {
		t.Fatal(err)
	}
	service := dial(t, b, "service")
	if _, err := service.QueueSubscribe("svc.echo", "q", func(m *nats.Msg) {
		for range 3 { // of which a request takes the first
			m.Respond(m.Data)
		}
	}); err != nil {
		t.Fatal(err)
	}
	service.Flush()
	b.Conn().Flush()
	ada := dial(t, b, "ada", nats.CustomInboxPrefix(Inbox("ada")))
	for subject, want := range map[string]string{"fn.hello": "hello x", "svc.echo": "x"} {
		if m, err := ada.Request(subject, []byte("x"), patience); err != nil || string(m.Data) != want {
			t.Errorf("%s: %v %v", subject, m, err)
		}
	}
	// The host is answered as well.
	if m, err := b.Conn().Request("svc.echo", []byte("y"), patience); err != nil || string(m.Data) != "y" {
		t.Errorf("the host's request: %v %v", m, err)
	}
	// A client that was not told of its inbox is, in the log.
	plain := dial(t, b, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !strings.Contains(said.String(), "--inbox-prefix=_INBOX.ada") && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	time.AfterFunc(patience, cancel)
	if _, err := plain.RequestWithContext(ctx, "fn.hello", nil); err == nil {
		t.Error("a request was answered to an inbox that everybody may read")
	}
	if s := said.String(); !strings.Contains(s, "--inbox-prefix=_INBOX.ada") {
		t.Errorf("the log: %s", s)
	}
}

func TestAClientCannotAllowItselfASubjectByAReply(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{
		"both": {Namespace: DefaultAccount, Publish: []string{"chat.>"}, Subscribe: []string{"chat.>"}, Inbox: Inbox("x")},
	})
	c := dial(t, b, "both")
	sub, err := c.SubscribeSync("chat.a")
	if err != nil {
		t.Fatal(err)
	}
	c.Flush()
	// Another one may send what the guard does not see.
	if err := b.Conn().PublishRequest("chat.a", "$JS.API.STREAM.NAMES", nil); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	m.Respond(nil)
	if !refusedTo(t, c, "$JS.API.STREAM.NAMES") {
		t.Error("a client has published where it may not, as an answer")
	}
}

func TestOnlyWhoMayDoAllHasStreams(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{
		"all":  {Namespace: DefaultAccount, All: true},
		"some": {Namespace: DefaultAccount, Publish: []string{"orders.>"}, Inbox: Inbox("some")},
	})
	js, err := jetstream.New(dial(t, b, "all"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	js, err = jetstream.New(dial(t, b, "some", nats.CustomInboxPrefix(Inbox("some"))), jetstream.WithDefaultTimeout(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.KeyValue(t.Context(), "b"); err == nil {
		t.Error("who was granted no bucket has one")
	}
	if err := js.DeleteStream(t.Context(), "KV_b"); err == nil {
		t.Error("who was granted no stream has deleted one")
	}
}

func TestRecheckEndsConnectionsWhoseGrantHasChanged(t *testing.T) {
	b, g, _ := openDoor(t, map[string]*Grant{
		"stays":   {ID: "1", Namespace: DefaultAccount, Publish: []string{"a", "b"}},
		"revoked": {ID: "2", Namespace: DefaultAccount, All: true},
		"less":    {ID: "3", Namespace: DefaultAccount, Publish: []string{"a", "b"}},
	})
	ended := make(chan string, 10)
	conns := make(map[string]*nats.Conn)
	for _, token := range []string{"stays", "revoked", "less"} {
		conns[token] = dial(t, b, token, nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1),
			nats.DisconnectErrHandler(func(*nats.Conn, error) { ended <- token }))
	}
	g.set("revoked", nil)
	g.set("less", &Grant{ID: "3", Namespace: DefaultAccount, Publish: []string{"a"}})
	var asked []string
	err := b.Recheck(t.Context(), func(now *Grant) *Grant {
		asked = append(asked, now.ID)
		now.Publish = append(now.Publish, "mine") // of a copy
		switch now.ID {
		case "1":
			return &Grant{ID: "1", Namespace: DefaultAccount, Publish: []string{"b", "a"}}
		case "3":
			return &Grant{ID: "3", Namespace: DefaultAccount, Publish: []string{"a"}}
		}
		return nil
	})
	if slices.Sort(asked); err != nil || !slices.Equal(asked, []string{"1", "2", "3"}) {
		t.Fatalf("asked about %v: %v", asked, err)
	}
	for range 2 {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("connections have not ended")
		}
	}
	waitFor(t, "the one is refused", conns["revoked"].IsClosed) // the client gives up after the second refusal
	waitFor(t, "the other is back", conns["less"].IsConnected)
	if conns["less"].Publish("b", nil); !refusedTo(t, conns["less"], "b") {
		t.Error("who may do less since may do what it did")
	}
	if n := conns["stays"].Stats().Reconnects; n != 0 || !conns["stays"].IsConnected() {
		t.Errorf("who may do the same has connected %d times again", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Recheck(ctx, func(g *Grant) *Grant { return g }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	waitFor(t, "what could not be looked at is ended", func() bool { return conns["stays"].Stats().Reconnects == 1 })
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting in vain: %s", what)
		}
	}
}

func TestWhoComesInDuringARecheckIsAskedAgain(t *testing.T) {
	in, on := make(chan bool), make(chan bool)
	var mu sync.Mutex
	calls := 0
	b := open(t, Config{Listen: "127.0.0.1:0", Authenticate: func(Login) (*Grant, error) {
		mu.Lock()
		calls++
		n := calls
		mu.Unlock()
		if n > 1 {
			return nil, errors.New("revoked meanwhile")
		}
		in <- true
		<-on
		return &Grant{Namespace: DefaultAccount, All: true}, nil
	}})
	done := make(chan error, 1)
	go func() {
		c, err := nats.Connect("nats://"+b.Addr(), nats.Timeout(patience))
		if c != nil {
			c.Close()
		}
		done <- err
	}()
	<-in
	if err := b.Recheck(t.Context(), func(*Grant) *Grant { return nil }); err != nil {
		t.Fatal(err)
	}
	on <- true
	if err := <-done; !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect: %v", err)
	}
}

func TestAConnectionEndsWhenItsProofDoes(t *testing.T) {
	asked := false
	b := open(t, Config{Listen: "127.0.0.1:0", Authenticate: func(Login) (*Grant, error) {
		if asked {
			return nil, errors.New("it has ended")
		}
		asked = true
		return &Grant{Namespace: DefaultAccount, All: true, Expires: time.Now().Add(2 * time.Second)}, nil
	}})
	ended := make(chan bool)
	dial(t, b, "", nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(ended) }))
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the connection has not ended")
	}
}

func TestAProofIsShownOnce(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{
		"one": {Namespace: DefaultAccount}, "two": {Namespace: DefaultAccount, All: true},
	})
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	fmt.Fprintf(c, "CONNECT {\"auth_token\":\"one\",\"verbose\":false}\r\nPING\r\n")
	for line := ""; !strings.HasPrefix(line, "PONG"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(c, "CONNECT {\"auth_token\":\"two\"}\r\nPING\r\n")
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("after a second proof: %q", line)
	}
}

func TestConnectionsOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	encrypted := make(chan bool, 1)
	cfg := Config{Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	t.Run("for everybody", func(t *testing.T) { testTLS(t, open(t, cfg), roots) })
	cfg.Authenticate = func(l Login) (*Grant, error) {
		encrypted <- l.TLS != nil && l.TLS.HandshakeComplete
		return &Grant{Namespace: DefaultAccount, All: true}, nil
	}
	t.Run("by grants", func(t *testing.T) { testTLS(t, open(t, cfg), roots) })
	if !<-encrypted {
		t.Error("Login has no state of TLS")
	}
}

func testTLS(t *testing.T, b *Bus, roots *x509.CertPool) {
	c, err := nats.Connect("tls://"+b.Addr(), nats.Secure(&tls.Config{RootCAs: roots}), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.FlushTimeout(patience); err != nil {
		t.Error(err)
	}
	if err := b.Conn().FlushTimeout(patience); err != nil {
		t.Errorf("the host's own connection: %v", err)
	}
	// Who does not encrypt is not let in, and shows its proof to nobody.
	raw, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(raw, "CONNECT {}\r\nPING\r\n")
	r := bufio.NewReader(raw)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		if strings.HasPrefix(line, "PONG") {
			t.Fatal("a connection without TLS was let in")
		}
	}
}

func TestEndedConnectionsAreForgotten(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{"x": {Namespace: DefaultAccount}})
	for range 80 {
		c := dial(t, b, "x")
		c.Close()
	}
	waitFor(t, "the server has noticed", func() bool { return b.srv.NumClients() == 2 })
	c := dial(t, b, "x")
	b.door.guests.prune = 0
	b.door.guests.forgetGone(b.srv)
	n := len(b.door.guests.all())
	if n != 1 || !c.IsConnected() {
		t.Errorf("%d connections are kept", n)
	}
}

func TestInboxIsOneTokenForEachAccount(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{"ada", "Ada", "a.b", "a>b", "*", ">", "", "ä", "a b", strings.Repeat("x", 65), strings.Repeat("x", 64)} {
		got := Inbox(id)
		if rest := strings.TrimPrefix(got, "_INBOX."); rest == got || rest == "" || strings.ContainsAny(rest, ".*> ") || len(rest) > 64 {
			t.Errorf("Inbox(%q) = %q", id, got)
		}
		if other, dup := seen[got]; dup {
			t.Errorf("%q and %q have one inbox", id, other)
		}
		seen[got] = id
	}
}
