package host_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/auth/rules"
	"github.com/fnhost/fnhost/host/bus"
)

// machine makes a token of an account of its own with some scopes.
func machine(t *testing.T, f *fixture, name string, scopes ...string) (token, id string) {
	t.Helper()
	if _, err := f.Auth().CreateAccount(t.Context(), auth.NewAccount{Name: name, Kind: auth.Service, Scopes: scopes}); err != nil {
		t.Fatal(err)
	}
	made, secret, err := f.Auth().CreateToken(t.Context(), auth.NewToken{Name: "nats", Account: name})
	if err != nil {
		t.Fatal(err)
	}
	return secret, made.ID
}

func TestNATSClientsAreHeldToTheRules(t *testing.T) {
	f, _ := startAsking(t, nil)
	for _, r := range []rules.Rule{
		{Resource: "function:who", Scope: "caller", Access: rules.Grant},
		{Resource: "subject:publish:orders.>", Scope: "caller", Access: rules.Grant},
		{Resource: "subject:subscribe:news.*", Scope: "caller", Access: rules.Grant},
	} {
		if _, err := f.Auth().AddRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	token, id := machine(t, f, "shop", "caller")
	url := f.Info().NATS
	for what, option := range map[string]nats.Option{
		"nothing":         nats.Name("x"),
		"a wrong token":   nats.Token("fnhost_wrong"),
		"a wrong login":   nats.UserInfo("shop", "wrong"),
		"the host's name": nats.UserInfo(bus.ControlAccount, "x"),
	} {
		if c, err := nats.Connect(url, option); err == nil {
			c.Close()
			t.Errorf("let in with %s", what)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("with %s: %v", what, err)
		}
	}
	violations := make(chan error, 10)
	c, err := nats.Connect(url, nats.UserInfo("shop", token), nats.CustomInboxPrefix(bus.Inbox("shop")), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if m, err := c.Request("fn.who", nil, 10*time.Second); err != nil || !strings.Contains(string(m.Data), "Account") {
		t.Errorf("its function: %v, %v", m, err)
	}
	ask := nats.NewMsg("fn.who")
	ask.Header.Set("Authorization", "Bearer "+token)
	if m, err := c.RequestMsg(ask, 10*time.Second); err != nil || !strings.Contains(string(m.Data), `"Account":"shop","Header":""`) {
		t.Errorf("with its token: %s, %v", m.Data, err)
	}
	ask.Header.Set("Authorization", "Bearer fnhost_wrong")
	if m, err := c.RequestMsg(ask, 10*time.Second); err != nil || m.Header.Get("Fn-Error") != "unauthorized" {
		t.Errorf("with a wrong token: %v, %v", m, err)
	}
	if _, err := f.Conn().Subscribe("orders.1", func(m *nats.Msg) { m.Respond([]byte("got it")) }); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Request("orders.1", nil, 10*time.Second); err != nil || string(m.Data) != "got it" {
		t.Errorf("its subject: %v, %v", m, err)
	}
	for _, subject := range []string{"fn.relay", "fn.public", "news.1", "$JS.API.STREAM.NAMES", "$SYS.REQ.SERVER.PING"} {
		if err := c.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("it may publish on %s", subject)
		}
	}
	ended := make(chan struct{}, 10)
	c.SetDisconnectErrHandler(func(*nats.Conn, error) { ended <- struct{}{} })
	begin := time.Now()
	if err := f.Auth().RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Logf("a revoked token ended its connection after %v", time.Since(begin))
	case <-time.After(20 * time.Second):
		t.Error("the connection of a revoked token goes on")
	}
}

func TestRootIsLetInOverNATS(t *testing.T) {
	f, _ := startAsking(t, nil)
	c, err := nats.Connect(f.Info().NATS, nats.Token(f.FreshToken()), nats.CustomInboxPrefix(bus.Inbox("root")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Request("fn.relay", nil, 10*time.Second); err != nil {
		t.Error(err)
	}
	js, err := c.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Error(err)
	}
}

func TestNATSOfOtherMachinesWantsTLS(t *testing.T) {
	if _, err := host.New(host.Config{Dir: t.TempDir(), NATS: "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), "has no TLS") {
		t.Errorf("without: %v", err)
	}
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	made := httptest.NewTLSServer(http.NotFoundHandler())
	made.Close()
	private, err := x509.MarshalPKCS8PrivateKey(made.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate().Raw})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for name, data := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := start(t, nil, func(c *host.Config) { c.Watch, c.NATS, c.TLSCert, c.TLSKey = nil, "0.0.0.0:0", cert, key })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(f.Info().NATS, "nats://"))
	url := "tls://127.0.0.1:" + port
	trust := nats.Secure(&tls.Config{InsecureSkipVerify: true})
	if c, err := nats.Connect(url, trust); err == nil {
		c.Close()
		t.Error("let in without a token")
	}
	c, err := nats.Connect(url, trust, nats.Token(f.FreshToken()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if state, err := c.TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Errorf("no TLS: %v", err)
	}
}
