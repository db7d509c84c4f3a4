package bus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// ofBucket is what a client needs for one bucket.
func ofBucket(name string) *Grant {
	s := "KV_" + name
	return &Grant{Account: "ada", Namespace: DefaultAccount, Inbox: Inbox("ada"), Publish: []string{
		"fn.>", "$KV." + name + ".>", "$JS.API.STREAM.INFO." + s, "$JS.API.DIRECT.GET." + s + ".>", "$JS.API.DIRECT.GET." + s, "$JS.API.CONSUMER.CREATE." + s, "$JS.API.CONSUMER.CREATE." + s + ".>", "$JS.API.CONSUMER.DELETE." + s + ".>",
	}}
}

func TestABucketIsUsedThroughTheGuard(t *testing.T) {
	b, _, _ := openDoor(t, map[string]*Grant{"ada": ofBucket("mine")})
	bucketOf(t, b.Conn(), "mine")
	bucketOf(t, b.Conn(), "other")
	js := jetstreamOf(t, dial(t, b, "ada", nats.CustomInboxPrefix(Inbox("ada"))))
	kv, err := js.KeyValue(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	put(t, kv, "key")
	large := bytes.Repeat([]byte("x"), 1<<20)
	if _, err := kv.Put(t.Context(), "large", large); err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "large"); err != nil || !bytes.Equal(e.Value(), large) {
		t.Errorf("get: %v", err)
	}
	w, err := kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"key", "large"} {
		select {
		case e := <-w.Updates():
			if e == nil || e.Key() != want {
				t.Errorf("watch: %v, want %s", e, want)
			}
		case <-time.After(patience):
			t.Fatal("a watcher gets nothing")
		}
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if err := kv.Delete(t.Context(), "key"); err != nil {
		t.Error(err)
	}
}

// What is refused here the server itself lets through: TestTheServerAsksNothingOfReplies.
func TestNothingIsPublishedForAClientOutsideOfItsInbox(t *testing.T) {
	b, _, said := openDoor(t, map[string]*Grant{"ada": ofBucket("mine")})
	mine, other := bucketOf(t, b.Conn(), "mine"), bucketOf(t, b.Conn(), "other")
	if _, err := mine.PutString(t.Context(), "key", "stolen"); err != nil {
		t.Fatal(err)
	}
	put(t, other, "keep")
	if _, err := b.Conn().Subscribe("fn.echo", func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	b.Conn().Flush()
	const push = `{"stream_name":"KV_mine","config":{"deliver_subject":"$KV.other.pushed","name":"c","ack_policy":"none"}}`
	elsewhere := []struct{ name, subject, reply, body string }{
		{"a function's answer", "fn.echo", "$KV.other.echo", "x"},
		{"a function's answer to JetStream", "fn.echo", "$JS.API.STREAM.PURGE.KV_other", ""},
		{"a value", "$JS.API.DIRECT.GET.KV_mine.$KV.mine.key", "$KV.other.got", ""},
		{"what was stored", "$KV.mine.key2", "$KV.other.stored", "x"},
		{"what was stored, to a purge", "$KV.mine.key2", "$JS.API.STREAM.PURGE.KV_other", "x"},
		{"another inbox", "fn.echo", "_INBOX.adax.y", "x"},
		{"a prefix alone", "fn.echo", "_INBOX.ada", "x"},
		{"a wildcard", "fn.echo", "_INBOX.ada.>", "x"},
		{"a consumer that delivers", "$JS.API.CONSUMER.CREATE.KV_mine.c", "_INBOX.ada.y", push},
		{"one with other letters", "$JS.API.CONSUMER.CREATE.KV_mine.c", "_INBOX.ada.y", strings.ReplaceAll(push, "deliver_subject", "Deliver_SUBJECT")},
		{"one that is said twice", "$JS.API.CONSUMER.CREATE.KV_mine.c", "_INBOX.ada.y", `{"config":{"deliver_subject":"_INBOX.ada.z"}}` + push},
		{"no request", "$JS.API.CONSUMER.CREATE.KV_mine.c", "_INBOX.ada.y", "{"},
	}
	for _, test := range elsewhere {
		for _, header := range []nats.Header{nil, {"X": {"y"}}} {
			c := dial(t, b, "ada")
			if err := c.PublishMsg(&nats.Msg{Subject: test.subject, Reply: test.reply, Header: header, Data: []byte(test.body)}); err != nil {
				t.Fatal(err)
			}
			if !refusedTo(t, c, "_REPLY_.needs.--inbox-prefix=_INBOX.ada") {
				t.Errorf("%s, header %v: it is not refused: %v", test.name, header, c.LastError())
			}
			if err := c.Publish("fn.other", nil); err != nil || c.FlushTimeout(patience) != nil {
				t.Errorf("%s: the connection cannot go on: %v", test.name, err)
			}
		}
	}
	b.Conn().Flush()
	if keys, err := other.Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("the other bucket has %v %v", keys, err)
	}
	if s := said.String(); !strings.Contains(s, "--inbox-prefix=_INBOX.ada") {
		t.Errorf("the log: %s", s)
	}
}

// It is why there is a guard. When this fails, the server has learned to ask.
func TestTheServerAsksNothingOfReplies(t *testing.T) {
	b := open(t, Config{})
	kv := bucketOf(t, b.Conn(), "test")
	key := "key"
	v := &visit{decided: make(chan struct{}), login: Login{Remote: &net.TCPAddr{}}}
	b.door.authenticate = func(Login) (*Grant, error) {
		return &Grant{Namespace: DefaultAccount, Publish: []string{"fn.echo"}}, nil
	}
	b.door.mu.Lock()
	b.door.visits[key] = v
	b.door.mu.Unlock()
	c, err := nats.Connect("", nats.InProcessServer(b.srv), nats.UserInfo(visitor, key))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := b.Conn().Subscribe("fn.echo", func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	b.Conn().Flush()
	c.PublishRequest("fn.echo", "$KV.test.forged", []byte("x"))
	c.Flush()
	waitFor(t, "the host publishes for a client", func() bool {
		_, err := kv.Get(t.Context(), "forged")
		return err == nil
	})
}

func TestWhoDoesNotKeepToTheProtocolIsSentAway(t *testing.T) {
	b, _, said := openDoor(t, map[string]*Grant{"ada": ofBucket("mine"), "all": {Namespace: DefaultAccount, All: true}})
	heard, err := b.Conn().SubscribeSync("fn.>")
	if err != nil {
		t.Fatal(err)
	}
	b.Conn().Flush()
	const connect = `CONNECT {"auth_token":"ada","verbose":false}` + "\r\n"
	tests := map[string]string{
		"nothing of itself":      "PING\r\n",
		"a message first":        "PUB fn.x 0\r\n\r\n" + connect,
		"no JSON":                "CONNECT {\r\n",
		"a wrong proof":          "CONNECT {\"auth_token\":\"eve\"}\r\nPUB fn.x 0\r\n\r\n",
		"the guard's own words":  "CONNECT {\"user\":\"visitor\",\"pass\":\"x\"}\r\nPUB fn.x 0\r\n\r\n",
		"a long line":            connect + "PUB fn." + strings.Repeat("x", maxLine) + " 0\r\n\r\n",
		"a long beginning":       "CONNECT {\"auth_token\":\"ada\",\"name\":\"" + strings.Repeat("x", maxLine) + "\"}\r\n",
		"again":                  connect + "CONNECT {\"auth_token\":\"all\"}\r\nPUB fn.x 0\r\n\r\n",
		"again, in small":        connect + "connect {\"auth_token\":\"all\"}\r\nPUB fn.x 0\r\n\r\n",
		"a size that is none":    connect + "PUB fn.x x\r\n\r\n",
		"a negative size":        connect + "PUB fn.x -1\r\n\r\n",
		"a signed size":          connect + "PUB fn.x +1\r\nx\r\n",
		"a size out of bounds":   connect + fmt.Sprintf("PUB fn.x %d\r\n", maxPayload+1),
		"a size beyond numbers":  connect + "PUB fn.x 99999999999999999999\r\n",
		"headers beyond the all": connect + "HPUB fn.x 20 10\r\n" + strings.Repeat("x", 20) + "\r\n",
		"less than said":         connect + "PUB fn.x 10\r\nx\r\nPUB fn.y 0\r\n\r\n",
		"more than said":         connect + "PUB fn.y _INBOX.x 1\r\nxPUB fn.x $KV.a 0\r\n\r\n",
		"too many words":         connect + "PUB fn.x a b 0\r\n\r\n",
		"too few":                connect + "PUB fn.x\r\n",
		"none":                   connect + "\r\n",
		"what servers send":      connect + "MSG fn.x 1 0\r\n\r\n",
		"what routes send":       connect + "RMSG default fn.x 0\r\n\r\n",
		"a line in a line":       connect + "SUB a\rPUB fn.x 0 1\r\n",
	}
	for name, send := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			go io.WriteString(c, send+"PING\r\n")
			r := bufio.NewReader(c)
			for {
				line, err := r.ReadString('\n')
				if errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") {
					return
				}
				if err != nil || strings.HasPrefix(line, "PONG") {
					t.Fatalf("it goes on: %q %v", line, err)
				}
			}
		})
	}
	b.Conn().Flush()
	if m, err := heard.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("heard %q", m.Subject)
	}
	if s := said.String(); strings.Contains(s, "level=ERROR") {
		t.Errorf("the log: %s", s)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"PUB a 1\r\nx\r\n", "PUB a _INBOX.ada.x 0\r\n\r\n", "PUB a b 2\r\nxx\r\nPING\r\n", "HPUB a $JS.API 12 13\r\nNATS/1.0\r\n\r\nx\r\n", "SUB a q 1\r\nUNSUB 1\r\n",
		"pub a\t_INBOX.ada.x   1\nx\r\n", "PUB $JS.API.CONSUMER.CREATE.S _INBOX.ada.x 2\r\n{}\r\n", "PUB a\u00a0b 1\r\nx\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		(&filter{in: bufio.NewReaderSize(bytes.NewReader(sent), maxLine), out: w, inbox: "_INBOX.ada"}).run()
		w.Flush()
		checkFiltered(t, out.Bytes())
	})
}

// checkFiltered reads what the server would, as strictly as can be.
func checkFiltered(t *testing.T, b []byte) {
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		if !ok {
			return // the client has gone in the middle of something
		}
		words := strings.Split(string(line), " ")
		switch words[0] {
		case "SUB", "UNSUB", "PING", "PONG":
			b = rest
		case "PUB", "HPUB":
			sizes := 1
			if words[0] == "HPUB" {
				sizes = 2
			}
			if len(words) == 3+sizes && !strings.HasPrefix(words[2], "_INBOX.ada.") {
				t.Fatalf("a reply elsewhere: %q", line)
			}
			var n int
			if _, err := fmt.Sscanf(words[len(words)-1], "%d", &n); err != nil || n < 0 {
				t.Fatalf("a size: %q", line)
			}
			if len(rest) < n+2 {
				return
			}
			if string(rest[n:n+2]) != "\r\n" {
				t.Fatalf("no end: %q", rest)
			}
			b = rest[n+2:]
		default:
			t.Fatalf("a line: %q", line)
		}
	}
}

func TestTheGuardEndsWithTheBus(t *testing.T) {
	b, err := Start(Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Authenticate: func(Login) (*Grant, error) {
		return &Grant{Namespace: DefaultAccount, Publish: []string{"x"}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	address := b.Addr()
	silent, err := net.Dial("tcp", address) // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	in := dial(t, b, "")
	// Who takes nothing of what is sent to it holds up nobody.
	if err := in.Publish("x", nil); err != nil || in.FlushTimeout(patience) != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("connections are taken after the end")
	}
	in.Close()
}

func BenchmarkPublish(b *testing.B) {
	for name, grant := range map[string]*Grant{"server": nil, "all": {Namespace: DefaultAccount, All: true}, "filtered": {Namespace: DefaultAccount, Publish: []string{"x.*"}}} {
		b.Run(name, func(b *testing.B) {
			cfg := Config{StoreDir: b.TempDir(), Listen: "127.0.0.1:0"}
			if grant != nil {
				cfg.Authenticate = func(Login) (*Grant, error) { return grant, nil }
			}
			bus, err := Start(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer bus.Close()
			c, err := nats.Connect("nats://" + bus.Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			data := make([]byte, 100)
			for b.Loop() {
				c.Publish("x.y", data)
			}
			c.Flush()
		})
	}
}

func TestManyComeAndGoWhileGrantsChange(t *testing.T) {
	b, g, _ := openDoor(t, map[string]*Grant{"x": {ID: "x", Namespace: DefaultAccount, Publish: []string{"a"}}})
	b.door.violated.log = slog.New(slog.DiscardHandler)
	b.door.refused.log = b.door.violated.log
	openAccount(t, b, "acme", AccountLimits{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				c, err := nats.Connect("nats://"+b.Addr(), nats.Token("x"), nats.Timeout(patience), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
				if err != nil {
					continue // refused, or ended
				}
				c.PublishRequest("a", "elsewhere", nil)
				c.Publish("b", nil)
				c.FlushTimeout(patience)
				c.Close()
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			now := &Grant{ID: "x", Namespace: []string{DefaultAccount, "acme"}[i%2], Publish: []string{"a"}}
			g.set("x", now)
			if err := b.Recheck(t.Context(), func(*Grant) *Grant { return now }); err != nil {
				t.Error(err)
			}
			if err := b.LimitAccount("acme", AccountLimits{Connections: 1 + i}); err != nil {
				t.Error(err)
			}
		}
		if err := b.RemoveAccount("acme"); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	g.set("x", &Grant{Namespace: DefaultAccount})
	c := dial(t, b, "x")
	if err := c.PublishRequest("a", "elsewhere", nil); err != nil || !refusedTo(t, c, "_REPLY_.without.an.inbox") {
		t.Errorf("a reply without an inbox: %v %v", err, c.LastError())
	}
	waitFor(t, "the others are gone", func() bool { return b.srv.NumClients() == 3 })
}
