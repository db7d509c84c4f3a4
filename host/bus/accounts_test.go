package bus

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host/disktest"
)

func openAccount(t *testing.T, b *Bus, name string, l AccountLimits) *nats.Conn {
	t.Helper()
	conn, err := b.OpenAccount(name, l)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func bucketOf(t *testing.T, conn *nats.Conn, name string) jetstream.KeyValue {
	t.Helper()
	kv, err := jetstreamOf(t, conn).CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func jetstreamOf(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestAccountsDoNotSeeEachOther(t *testing.T) {
	b := open(t, Config{})
	conns := map[string]*nats.Conn{"acme": openAccount(t, b, "acme", AccountLimits{}), "zeta": openAccount(t, b, "zeta", AccountLimits{}), DefaultAccount: b.Conn()}
	for name, conn := range conns {
		if _, err := conn.Subscribe("who", func(m *nats.Msg) { m.Respond([]byte(name)) }); err != nil {
			t.Fatal(err)
		}
		put(t, bucketOf(t, conn, "shared"), name)
		if again := openAccount(t, b, name, AccountLimits{}); again != conn {
			t.Errorf("%s: a second connection", name)
		}
	}
	for name, conn := range conns {
		answers, err := conn.SubscribeSync(nats.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		conn.PublishRequest("who", answers.Subject, nil)
		if m, err := answers.NextMsg(patience); err != nil || string(m.Data) != name {
			t.Errorf("%s is answered by %v %v", name, m, err)
		}
		conn.Flush()
		if n, _, _ := answers.Pending(); n != 0 {
			t.Errorf("%s is answered by %d others, too", name, n)
		}
		kv, err := jetstreamOf(t, conn).KeyValue(t.Context(), "shared")
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := kv.Keys(t.Context()); err != nil || len(keys) != 1 || keys[0] != name {
			t.Errorf("%s has %v %v", name, keys, err)
		}
	}
	if _, err := jetstreamOf(t, b.Control()).KeyValue(t.Context(), "shared"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("the host's own account: %v", err)
	}
}

func TestAnAccountKeepsItsStreamsOverARestart(t *testing.T) {
	const plain = "known plain text of a namespace"
	tests := map[string]Config{
		"plain":     {},
		"encrypted": {StoreKey: "0123456789abcdef0123456789abcdef"},
		"power":     {Durability: Power},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			cfg.StoreDir = t.TempDir()
			for round := range 3 {
				b, err := Start(cfg)
				if err != nil {
					t.Fatal(err)
				}
				kv := bucketOf(t, openAccount(t, b, "acme", AccountLimits{Storage: 1 << 20}), "test")
				if round == 0 {
					if _, err := kv.PutString(t.Context(), "key", plain); err != nil {
						t.Fatal(err)
					}
				} else if e, err := kv.Get(t.Context(), "key"); err != nil || string(e.Value()) != plain {
					t.Errorf("after a restart: %v", err)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if found := contains(t, cfg.StoreDir, plain); found != (cfg.StoreKey == "") {
				t.Errorf("the value is found on the disk: %v", found)
			}
		})
	}
}

func contains(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAccountLimits(t *testing.T) {
	b := open(t, Config{Listen: "127.0.0.1:0", Authenticate: func(Login) (*Grant, error) { return &Grant{Namespace: "acme", All: true}, nil }})
	conn := openAccount(t, b, "acme", AccountLimits{Storage: 1 << 20, Memory: 1 << 20, Connections: 2, Streams: 2})
	kv := bucketOf(t, conn, "test")
	err := fill(t, kv)
	if err == nil || !strings.Contains(err.Error(), "resource limits exceeded for account") {
		t.Errorf("beyond the limit of storage: %v", err)
	}
	js := jetstreamOf(t, conn)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = js.Publish(t.Context(), "m", make([]byte, 100_000))
	}
	if !strings.Contains(err.Error(), "resource limits exceeded for account") {
		t.Errorf("beyond the limit of memory: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err == nil || !strings.Contains(err.Error(), "maximum number of streams reached") {
		t.Errorf("beyond the limit of streams: %v", err)
	}
	// Others are not concerned.
	put(t, bucketOf(t, b.Conn(), "test"), "key")

	first, second := dial(t, b, ""), dial(t, b, "")
	if c, err := nats.Connect("nats://"+b.Addr(), nats.Timeout(patience)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("beyond the limit of connections: %v", err)
		c.Close()
	}
	second.Close()
	waitFor(t, "the place is free", func() bool {
		c, err := nats.Connect("nats://"+b.Addr(), nats.Timeout(patience))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if !first.IsConnected() {
		t.Error("who was there is not any more")
	}
	for _, l := range []AccountLimits{{Storage: 4 << 20}, {}} {
		if err := b.LimitAccount("acme", l); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "more", make([]byte, 200_000)); err != nil {
			t.Errorf("with the limit at %d: %v", l.Storage, err)
		}
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	// Lower than what is there: it stays, and is read.
	if err := b.LimitAccount("acme", AccountLimits{Storage: 1000}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "more"); err != nil {
		t.Error(err)
	}
	if err := fill(t, kv); err == nil {
		t.Error("a lower limit does not hold")
	}
}

// fill puts until that fails, or 4 MB are put.
func fill(t *testing.T, kv jetstream.KeyValue) error {
	t.Helper()
	for i := range 40 {
		if _, err := kv.Put(t.Context(), "fill"+string(rune('a'+i)), make([]byte, 100_000)); err != nil {
			return err
		}
	}
	return nil
}

func TestLimitsTogetherMayBeMoreThanTheDisk(t *testing.T) {
	b := open(t, Config{})
	_, size := statfs(b.dir)
	for _, name := range []string{"a", "b", "c"} {
		conn := openAccount(t, b, name, AccountLimits{Storage: size})
		put(t, bucketOf(t, conn, "test"), "key")
	}
	put(t, bucketOf(t, openAccount(t, b, "d", AccountLimits{Storage: 1 << 62}), "test"), "key")
	if _, err := b.OpenAccount("e", AccountLimits{Memory: 1 << 50}); err == nil || !strings.Contains(err.Error(), "choose a lower limit") {
		t.Errorf("more memory than there is: %v", err)
	}
	if err := b.LimitAccount("a", AccountLimits{Memory: 1 << 50}); err == nil || !strings.Contains(err.Error(), "choose a lower limit") {
		t.Errorf("more memory than there is: %v", err)
	}
	put(t, bucketOf(t, openAccount(t, b, "a", AccountLimits{}), "test"), "key2")
}

func TestARemovedAccountLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{StoreDir: dir, Listen: "127.0.0.1:0", Authenticate: func(l Login) (*Grant, error) { return &Grant{Namespace: l.Token, All: true}, nil }})
	for round := range 3 {
		conn := openAccount(t, b, "acme", AccountLimits{Storage: 10 << 20, Streams: 3})
		if n := countStreams(t, conn); n != 0 {
			t.Fatalf("round %d: %d streams are there", round, n)
		}
		kv := bucketOf(t, conn, "test")
		put(t, kv, "key")
		put(t, bucketOf(t, openAccount(t, b, "other", AccountLimits{}), "test"), "key")
		ended := make(chan bool)
		client := dial(t, b, "acme", nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(ended) }))
		sub, err := jetstreamOf(t, client).CreateOrUpdateConsumer(t.Context(), "KV_test", jetstream.ConsumerConfig{Durable: "c"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Next(jetstream.FetchMaxWait(patience)); err != nil {
			t.Fatal(err)
		}
		if round == 2 { // without a server that takes part
			conn.Close()
		}
		if err := b.RemoveAccount("acme"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("a client is still connected")
		}
		if _, err := os.Stat(filepath.Join(dir, "jetstream", "acme")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directory: %v", err)
		}
		if _, err := nats.Connect("nats://"+b.Addr(), nats.Token("acme"), nats.Timeout(patience)); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("after the removal: %v", err)
		}
		if !conn.IsClosed() {
			t.Error("the host's connection is open")
		}
		if err := b.LimitAccount("acme", AccountLimits{}); !errors.Is(err, ErrNoAccount) {
			t.Errorf("LimitAccount: %v", err)
		}
		if err := b.RemoveAccount("acme"); err != nil {
			t.Errorf("removed again: %v", err)
		}
	}
	if e, err := bucketOf(t, openAccount(t, b, "other", AccountLimits{}), "test").Get(t.Context(), "key"); err != nil || e.Key() != "key" {
		t.Errorf("another account has lost its streams: %v", err)
	}
}

func countStreams(t *testing.T, conn *nats.Conn) int {
	t.Helper()
	n, list := 0, jetstreamOf(t, conn).StreamNames(t.Context())
	for range list.Name() {
		n++
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return n
}

func TestAnAccountThatIsNotOpenIsRemovedFromTheDisk(t *testing.T) {
	dir := t.TempDir()
	b, err := Start(Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	put(t, bucketOf(t, openAccount(t, b, "acme", AccountLimits{}), "test"), "key")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, Config{StoreDir: dir})
	if err := b.RemoveAccount("acme"); err != nil {
		t.Fatal(err)
	}
	if n := countStreams(t, openAccount(t, b, "acme", AccountLimits{})); n != 0 {
		t.Errorf("%d streams are there", n)
	}
}

func TestAccountsWhoseNameOrLimitsAreNotTaken(t *testing.T) {
	b := open(t, Config{})
	for _, name := range []string{"", ControlAccount, "$SYS", "$G", "a.b", "a/b", "..", "A", "a b", "*", ">", "a\n", strings.Repeat("a", 65)} {
		if _, err := b.OpenAccount(name, AccountLimits{}); err == nil {
			t.Errorf("OpenAccount(%q)", name)
		}
		if err := b.RemoveAccount(name); err == nil {
			t.Errorf("RemoveAccount(%q)", name)
		}
		if err := b.LimitAccount(name, AccountLimits{}); err == nil {
			t.Errorf("LimitAccount(%q)", name)
		}
	}
	if err := b.RemoveAccount(DefaultAccount); err == nil {
		t.Error("the default namespace is removed")
	}
	if _, err := b.OpenAccount("acme", AccountLimits{Storage: -1}); err == nil {
		t.Error("a negative limit")
	}
	if err := b.LimitAccount("acme", AccountLimits{}); !errors.Is(err, ErrNoAccount) {
		t.Errorf("not open: %v", err)
	}
}

func TestAccountsAreForTheEmbeddedServer(t *testing.T) {
	b := open(t, Config{Listen: "127.0.0.1:0"})
	other := open(t, Config{URL: "nats://" + b.Addr()})
	_, err := other.OpenAccount("acme", AccountLimits{})
	for what, err := range map[string]error{
		"open": err, "limit": other.LimitAccount("acme", AccountLimits{}), "remove": other.RemoveAccount("acme"),
		"export": other.ExportSubject("a", "b", "x"), "unexport": other.UnexportSubject("a", "b", "x"),
	} {
		if !errors.Is(err, ErrExternal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := other.Recheck(t.Context(), func(*Grant) *Grant { return nil }); err != nil || !other.Conn().IsConnected() {
		t.Errorf("Recheck: %v", err)
	}
}

func TestAccountsAreOpenedAndRemovedByMany(t *testing.T) {
	b := open(t, Config{})
	var wg sync.WaitGroup
	for i, name := range []string{"a", "a", "b", "b", "c", "d"} {
		wg.Go(func() {
			for range 5 {
				conn, err := b.OpenAccount(name, AccountLimits{})
				if err != nil {
					t.Error(err)
					return
				}
				if i >= 4 { // that nobody else removes
					js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(patience))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
						t.Error(err)
					}
				}
				if err := b.RemoveAccount(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"a", "b", "c", "d"} {
		if _, err := os.Stat(filepath.Join(b.dir, "jetstream", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllAccountsStoreAgainWhenThereIsRoom(t *testing.T) {
	disktest.Run(t, 64, func(t *testing.T, dir string) {
		b := open(t, Config{StoreDir: dir})
		kvs := map[string]jetstream.KeyValue{DefaultAccount: bucketOf(t, b.Conn(), "test"), "fnhost": bucketOf(t, b.Control(), "test")}
		for _, name := range []string{"acme", "zeta"} {
			kvs[name] = bucketOf(t, openAccount(t, b, name, AccountLimits{Storage: 1 << 20}), "test")
		}
		if err := b.LimitAccount("acme", AccountLimits{Storage: 2 << 20}); err != nil {
			t.Fatal(err)
		}
		openAccount(t, b, "gone", AccountLimits{})
		if err := b.RemoveAccount("gone"); err != nil {
			t.Fatal(err)
		}
		for _, kv := range kvs {
			put(t, kv, "before")
		}
		restored := b.Restored()
		free := disktest.Fill(t, dir)
		putUntilItFails(t, b, kvs[DefaultAccount], 0)
		if _, err := b.OpenAccount("late", AccountLimits{}); !errors.Is(err, ErrStorage) {
			t.Errorf("a new account on a full disk: %v", err)
		}
		free()
		select {
		case <-restored:
		case <-time.After(time.Minute):
			t.Fatal("storage is not back")
		}
		for name, kv := range kvs {
			if _, err := kv.Get(t.Context(), "before"); err != nil {
				t.Errorf("%s has lost what it had: %v", name, err)
			}
			put(t, kv, "after")
		}
		// The limits are those of before, the changed one as well.
		for name, want := range map[string]int{"acme": 2 << 20, "zeta": 1 << 20} {
			n := 0
			for ; n < 40; n++ {
				if _, err := kvs[name].Put(t.Context(), "k"+string(rune('a'+n)), make([]byte, 100_000)); err != nil {
					break
				}
			}
			if got := n * 100_000; got > want || got < want-300_000 {
				t.Errorf("%s stores %d bytes, limit %d", name, got, want)
			}
		}
		openAccount(t, b, "late", AccountLimits{})
	})
}
