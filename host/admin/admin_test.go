package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
)

// echo is a host whose functions answer with the headers that they see.
type echo struct {
	Steerer // nobody asks for
	Events
	RunKeeper
	SecretKeeper
	BucketKeeper
	BlobKeeper
	Configurer
	Auditor
	hub *logs.Hub
}

func (e echo) Info() Info { return Info{Version: "test"} }

func (e echo) Backup(_ context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, "the begin"); err != nil {
		return err
	}
	return errors.New("the disk is\nfull")
}

func (e echo) Functions() []Function { return []Function{{Name: "hello"}} }

func (e echo) Function(name string) (Function, error) {
	if name != "hello" {
		return Function{}, wire.Errorf(wire.NoFunction, "no function %q", name)
	}
	return Function{Name: name}, nil
}

func (e echo) ReadLogs(ctx context.Context, q logs.Query, yield func(logs.Record) error) error {
	return e.hub.Read(ctx, q, yield)
}

func (e echo) Await(_ context.Context, name, _ string) (*trigger.Function, error) {
	_, err := e.Function(name)
	return &trigger.Function{Name: name}, err
}

func (e echo) Invoke(_ context.Context, inv *trigger.Invocation) (*trigger.Result, error) {
	var b strings.Builder
	for key, value := range inv.Header.All() {
		b.WriteString(key + "=" + value + "\n")
	}
	return &trigger.Result{Version: "v1", Payload: []byte(b.String())}, nil
}

func serve(t *testing.T) (*Client, *Server, echo) {
	t.Helper()
	backend := echo{hub: logs.NewHub(0)}
	api := NewServer(backend, Options{Logger: slog.New(slog.DiscardHandler)})
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c, api, backend
}

func TestInvokePassesHeadersThatAreMeantForTheFunction(t *testing.T) {
	c, _, _ := serve(t)
	header := http.Header{"X-Color": {"blue", "red"}, "Content-Type": {"text/css"}, "X-Fn-Version": {"forged"}}
	r, err := c.Invoke(t.Context(), "hello", header, nil, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if want := "Content-Type=text/css\nX-Color=blue\nX-Color=red\n"; err != nil || string(got) != want {
		t.Errorf("the function sees %q, %v, want %q", got, err, want)
	}
}

func TestRequestTellsMethodAndURI(t *testing.T) {
	c, _, _ := serve(t)
	r, err := c.Request(t.Context(), "hello", "GET", "/x?width=10", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if want := ":method=GET\n:uri=/x?width=10\n:query=width=10\n"; err != nil || string(got) != want {
		t.Errorf("the function sees %q, %v, want %q", got, err, want)
	}
}

func TestInvokeTakesPlainContentType(t *testing.T) {
	c, _, _ := serve(t)
	resp, err := http.Post(c.URL()+"/v1/invoke/hello", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "Content-Type=application/json\n" {
		t.Errorf("the function sees %q, %v", got, err)
	}
}

// A page whose name a stranger's DNS server has made to mean this machine sends
// that name.
func TestForeignHostNamesAreRefused(t *testing.T) {
	c, _, _ := serve(t)
	tests := []struct {
		host string
		want int
	}{
		{"localhost", 200}, {"localhost:8081", 200}, {"127.0.0.1:8081", 200}, {"[::1]:8081", 200}, {"app.localhost", 200},
		{"evil.example", 403}, {"evil.example:8081", 403}, {"localhost.evil.example", 403}, {"127.0.0.1.evil.example", 403},
	}
	for _, test := range tests {
		req, err := http.NewRequest(http.MethodGet, c.URL()+"/v1/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = test.host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("Host: %s is answered with %d, want %d", test.host, resp.StatusCode, test.want)
		}
	}
}

// Those who follow logs must not hold up the end of the host.
func TestCloseEndsFollowing(t *testing.T) {
	c, api, backend := serve(t)
	backend.hub.Add(logs.Record{Function: "hello", Message: "first"})
	ended := make(chan error, 1)
	read := make(chan struct{})
	go func() {
		ended <- c.Logs(t.Context(), logs.Query{Follow: true}, func(logs.Record) error { close(read); return nil })
	}()
	<-read
	api.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("following ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("following goes on after Close")
	}
}

func TestClientErrors(t *testing.T) {
	c, _, _ := serve(t)
	if _, err := c.Function(t.Context(), "nope"); !errors.Is(err, &wire.Error{Code: wire.NoFunction}) {
		t.Errorf("a name that is not there: %v", err)
	}
	nobody, err := NewClient("127.0.0.1:1", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.Info(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	breaks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer breaks.Close()
	broken, err := NewClient(breaks.URL, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Info(t.Context()); err == nil || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "went away") {
		t.Errorf("the host goes away: %v", err)
	}
	for name, handler := range map[string]http.Handler{
		"something else": http.NotFoundHandler(),
		"a gateway":      http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fail(w, wire.Errorf(wire.NoFunction, "no function")) }),
	} {
		other := httptest.NewServer(handler)
		defer other.Close()
		stranger, err := NewClient(other.URL, ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "no admin address: try port 8081") {
			t.Errorf("%s answers: %v", name, err)
		}
	}
	for _, bad := range []string{"", "ftp://x", "http://", "::"} {
		if _, err := NewClient(bad, ClientOptions{}); err == nil {
			t.Errorf("%q is taken for the URL of a host", bad)
		}
	}
}
