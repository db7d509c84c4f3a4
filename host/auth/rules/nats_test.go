package rules

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long what must come may take.
const patience = 20 * time.Second

// door is a server with one namespace, whose clients have what rules grant them.
type door struct {
	t    *testing.T
	srv  *server.Server
	host *nats.Conn // may do everything
	js   jetstream.JetStream
}

// open starts the server, for the host and users.
func (d *door) open(users []*server.User, account *server.Account) {
	d.t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: d.t.TempDir(), Accounts: []*server.Account{account}, Users: users}
	srv, err := server.NewServer(opts)
	if err != nil {
		d.t.Fatal(err)
	}
	srv.Start()
	d.srv = srv
	d.t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		d.t.Fatal("the server does not start")
	}
	own, err := srv.LookupAccount("shop")
	if err != nil {
		d.t.Fatal(err)
	}
	if err := own.EnableJetStream(nil, nil); err != nil {
		d.t.Fatal(err)
	}
	d.host = d.connect("host").Conn
	if d.js, err = jetstream.New(d.host); err != nil {
		d.t.Fatal(err)
	}
}

// client is a connection that keeps what the server refused it.
type client struct {
	*nats.Conn
	mu      sync.Mutex
	refused []string
}

func (d *door) connect(name string) *client {
	d.t.Helper()
	c := new(client)
	conn, err := nats.Connect(d.srv.ClientURL(), nats.UserInfo(name, name), nats.CustomInboxPrefix("_INBOX."+name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = append(c.refused, err.Error())
	}))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(conn.Close)
	c.Conn = conn
	return c
}

// takeRefused returns what was refused so far. The server has said so before it answers
// to a flush, but the handler runs a little later.
func (c *client) takeRefused(t *testing.T, want int) []string {
	t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		list := slices.Clone(c.refused)
		if len(list) >= want || time.Now().After(end) {
			c.refused = nil
			c.mu.Unlock()
			return list
		}
		c.mu.Unlock()
	}
}

// user is a client with what a principal may, and its own inbox; watches says whether the
// door lets it watch.
func user(t *testing.T, s *Set, name string, p *Principal, account *server.Account, watches bool) *server.User {
	t.Helper()
	got := s.Permissions(p, "shop")
	publish, subscribe := got.Publish, append(got.Subscribe, "_INBOX."+name+".>")
	if watches {
		publish = append(publish, got.Watch...)
	}
	return &server.User{Username: name, Password: name, Account: account, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}}
}

func openDoor(t *testing.T) *door {
	t.Helper()
	s := compile(t, "clerk grant bucket:b:*", "clerk grant subject:publish:orders.>", "clerk grant subject:subscribe:news.*", "clerk grant function:echo",
		"reader grant bucket:b:read", "admin grant >")
	account := server.NewAccount("shop")
	d := &door{t: t}
	d.open([]*server.User{
		{Username: "host", Password: "host", Account: account},
		user(t, s, "clerk", &Principal{Account: "clerk", Namespace: "shop", Scopes: []string{"clerk"}}, account, true),
		user(t, s, "reader", &Principal{Account: "reader", Namespace: "shop", Scopes: []string{"reader"}}, account, false),
		user(t, s, "admin", &Principal{Account: "admin", Namespace: "shop", Scopes: []string{"admin"}}, account, false),
		user(t, s, "nobody", nil, account, true),
	}, account)
	for _, name := range []string{"a", "b"} {
		kv, err := d.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name, History: 5})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"k1", "k2", "deep.k3"} {
			if _, err := kv.PutString(t.Context(), key, "v"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d
}

// bucket is one as a client sees it.
func (c *client) bucket(t *testing.T, name string) (jetstream.KeyValue, error) {
	t.Helper()
	js, err := jetstream.New(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return js.KeyValue(ctx, name)
}

func TestAClientUsesItsBucketAsUsual(t *testing.T) {
	d := openDoor(t)
	c := d.connect("clerk")
	kv, err := c.bucket(t, "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	revision, err := kv.Put(ctx, "k1", []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "k1"); err != nil || string(e.Value()) != "new" {
		t.Errorf("Get: %v, %v", e, err)
	}
	if e, err := kv.GetRevision(ctx, "k1", revision); err != nil || string(e.Value()) != "new" {
		t.Errorf("GetRevision: %v, %v", e, err)
	}
	if _, err := kv.Create(ctx, "k1", nil); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("Create of a key that exists: %v", err)
	}
	if _, err := kv.Update(ctx, "k1", []byte("newer"), revision); err != nil {
		t.Errorf("Update: %v", err)
	}
	if err := kv.Delete(ctx, "k2"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := kv.Purge(ctx, "k2"); err != nil {
		t.Errorf("Purge: %v", err)
	}
	if keys, err := kv.Keys(ctx); err != nil || strings.Join(keys, " ") != "deep.k3 k1" {
		t.Errorf("Keys: %v, %v", keys, err)
	}
	if all, err := kv.History(ctx, "k1"); err != nil || len(all) != 3 {
		t.Errorf("History: %v, %v", all, err)
	}
	if s, err := kv.Status(ctx); err != nil || s.History() != 5 {
		t.Errorf("Status: %v, %v", s, err)
	}
	for _, filters := range [][]string{{"k*", "k1"}, {"deep.>"}, {"k1", "deep.>"}} {
		w, err := kv.WatchFiltered(ctx, filters)
		if err != nil {
			t.Fatalf("Watch %v: %v", filters, err)
		}
		for e := range w.Updates() {
			if e == nil {
				break
			}
		}
		if _, err := kv.PutString(ctx, "deep.k3", "again"); err != nil {
			t.Fatal(err)
		}
		if filters[len(filters)-1] == "deep.>" {
			select {
			case e := <-w.Updates():
				if e.Key() != "deep.k3" || string(e.Value()) != "again" {
					t.Errorf("watched %v", e)
				}
			case <-ctx.Done():
				t.Fatal("nothing is watched")
			}
		}
		if err := w.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if refused := c.takeRefused(t, 0); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
}

func TestAClientThatMayOnlyReadGetsValues(t *testing.T) {
	d := openDoor(t)
	c := d.connect("reader")
	kv, err := c.bucket(t, "b")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "deep.k3"); err != nil || string(e.Value()) != "v" {
		t.Errorf("Get: %v, %v", e, err)
	}
	if err := c.Publish("$KV.b.k1", []byte("no")); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("$JS.API.CONSUMER.CREATE.KV_b.x.$KV.b.>", []byte(`{"stream_name":"KV_b","config":{"name":"x","deliver_subject":"fn.echo","filter_subject":"$KV.b.>"}}`)); err != nil {
		t.Fatal(err)
	}
	if refused := c.takeRefused(t, 2); len(refused) != 2 {
		t.Errorf("refused: %q", refused)
	}
	own, err := d.js.KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := own.Get(t.Context(), "k1"); err != nil || string(e.Value()) != "v" {
		t.Errorf("a reader has written: %v, %v", e, err)
	}
}

func TestAClientPublishesSubscribesAndCalls(t *testing.T) {
	d := openDoor(t)
	c := d.connect("clerk")
	for _, subject := range []string{"fn.echo", "fn.echo.>", "$SRV.PING"} {
		if _, err := d.host.Subscribe(subject, func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
			t.Fatal(err)
		}
	}
	orders, err := d.host.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	news, err := c.SubscribeSync("news.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*nats.Conn{d.host, c.Conn} {
		if err := conn.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{"fn.echo", "fn.echo.loud", "$SRV.PING"} {
		if m, err := c.Request(subject, []byte("hello"), patience); err != nil || string(m.Data) != "hello" {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
	if err := c.Publish("orders.new", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := orders.NextMsg(patience); err != nil {
		t.Errorf("orders.new: %v", err)
	}
	if err := d.host.Publish("news.today", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := news.NextMsg(patience); err != nil {
		t.Errorf("news.today: %v", err)
	}
	if refused := c.takeRefused(t, 0); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
}

func TestAClientIsRefusedTheRest(t *testing.T) {
	d := openDoor(t)
	publish := []string{
		"orders", "orders2.new", "news.today", "fn.other", "fn.other.x", "fn", "hello",
		"$KV.a.k1", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.KV_a", "$JS.API.STREAM.MSG.GET.KV_a",
		"$JS.API.DIRECT.GET.KV_a", "$JS.API.DIRECT.GET.KV_a.$KV.a.k1", "$JS.API.DIRECT.GET.KV_b.$KV.a.k1",
		"$JS.API.STREAM.DELETE.KV_a", "$JS.API.STREAM.DELETE.KV_b", "$JS.API.STREAM.PURGE.KV_b", "$JS.API.STREAM.UPDATE.KV_b", "$JS.API.STREAM.CREATE.x",
		"$JS.API.STREAM.MSG.DELETE.KV_b", "$JS.API.STREAM.SNAPSHOT.KV_b", "$JS.API.STREAM.RESTORE.x",
		"$JS.API.CONSUMER.CREATE.KV_a", "$JS.API.CONSUMER.CREATE.KV_a.x.$KV.a.>", "$JS.API.CONSUMER.CREATE.KV_b", "$JS.API.CONSUMER.DURABLE.CREATE.KV_b.x",
		"$JS.API.CONSUMER.MSG.NEXT.KV_b.x", "$JS.API.CONSUMER.LIST.KV_b", "$JS.API.CONSUMER.PAUSE.KV_b.x", "$JS.ACK.KV_b.x.1.1.1.1.1",
		"$SYS.REQ.SERVER.PING", "$SRV.OTHER", "$FN.call.x", "_INBOX.host.x",
	}
	subscribe := []string{"news", "news.a.b", "orders.>", ">", "*", "*.*", "_INBOX.>", "_INBOX.host.>", "_INBOX.*.*", "$KV.b.>", "fn.echo", "fn.>", "$SRV.>", "$JS.>", "$SYS.>", "dead.>"}
	for _, name := range []string{"clerk", "nobody"} {
		c := d.connect(name)
		for _, subject := range publish {
			if err := c.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			if refused := c.takeRefused(t, 1); len(refused) != 1 {
				t.Errorf("%s: publish to %s was not refused", name, subject)
			}
		}
		for _, subject := range subscribe {
			if _, err := c.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			if refused := c.takeRefused(t, 1); len(refused) != 1 {
				t.Errorf("%s: subscribe to %s was not refused", name, subject)
			}
		}
		if _, err := c.QueueSubscribeSync("fn.echo", "fn"); err != nil {
			t.Fatal(err)
		}
		if refused := c.takeRefused(t, 1); len(refused) != 1 {
			t.Errorf("%s: a place among the nodes was not refused", name)
		}
	}
	names := d.js.StreamNames(t.Context())
	n := 0
	for range names.Name() {
		n++
	}
	if n != 2 || names.Err() != nil {
		t.Errorf("%d streams are left, %v", n, names.Err())
	}
}

func TestAnAdminOfTheNamespaceHasAll(t *testing.T) {
	d := openDoor(t)
	c := d.connect("admin")
	js, err := jetstream.New(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}}); err != nil {
		t.Error(err)
	}
	if _, err := c.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	if refused := c.takeRefused(t, 0); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
}
