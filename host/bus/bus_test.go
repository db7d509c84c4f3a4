package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg Config) *Bus {
	t.Helper()
	if cfg.StoreDir == "" {
		cfg.StoreDir = t.TempDir()
	}
	b, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestClientsFromOutsideAreInTheDefaultAccount(t *testing.T) {
	b := open(t, Config{Listen: "127.0.0.1:0"})
	client, err := nats.Connect("nats://" + b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hello, err := b.Conn().SubscribeSync("hello")
	if err != nil {
		t.Fatal(err)
	}
	control, err := b.Control().SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	b.Conn().Flush()
	b.Control().Flush()
	client.Publish("hello", []byte("x"))
	if _, err := hello.NextMsg(5 * time.Second); err != nil {
		t.Errorf("default account: %v", err)
	}
	if m, err := control.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("the control account sees %q", m.Subject)
	}
	// Who names the control account does not get into it without this run's secret.
	forged, err := nats.Connect("nats://"+b.Addr(), nats.UserInfo(ControlAccount, "guess"))
	if err != nil {
		t.Fatal(err)
	}
	defer forged.Close()
	forged.Publish("forged", nil)
	forged.Flush()
	if m, err := control.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("the control account sees %q", m.Subject)
	}
}

func TestStreamsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		b, err := Start(Config{StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(b.Control())
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := kv.Put(t.Context(), "key", []byte("value")); err != nil {
				t.Fatal(err)
			}
		} else if e, err := kv.Get(t.Context(), "key"); err != nil || string(e.Value()) != "value" {
			t.Errorf("after the restart: %v %v", e, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServerElsewhere(t *testing.T) {
	b := open(t, Config{Listen: "127.0.0.1:0"})
	other := open(t, Config{URL: "nats://" + b.Addr()})
	sub, err := b.Conn().SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	b.Conn().Flush()
	if err := other.Conn().Publish("x", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Error(err)
	}
	if other.Control() != other.Conn() {
		t.Error("a second connection for control")
	}
}

func TestStartErrors(t *testing.T) {
	b := open(t, Config{Listen: "127.0.0.1:0"})
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"port in use", Config{Listen: b.Addr()}, "address already in use"},
		{"no port", Config{Listen: "127.0.0.1"}, "missing port"},
		{"no number", Config{Listen: "127.0.0.1:x"}, "not a number"},
		{"durability", Config{Durability: "forever"}, `want "process" or "power"`},
		{"nobody there", Config{URL: "nats://user:secret@127.0.0.1:1"}, "user:xxxxx@127.0.0.1:1"},
		{"nobody there, without a scheme", Config{URL: "127.0.0.1:1"}, "connect to 127.0.0.1:1: nats: no servers available for connection: start a NATS server there"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.StoreDir = t.TempDir()
			if _, err := Start(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Start = %v, want %q in it", err, test.want)
			}
		})
	}
}
