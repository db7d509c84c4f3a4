package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
)

// gatekeeper is a host that takes one token, and counts.
type gatekeeper struct {
	mu     sync.Mutex
	good   string
	asked  []string // method, path and token of each request
	bodies []string // of those that were let in
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.asked = append(g.asked, r.Method+" "+r.URL.Path+" "+token)
	w.Header().Set(versionHeader, APIVersion)
	if token != g.good {
		w.Header().Set("WWW-Authenticate", "Bearer")
		fail(w, wire.Errorf(wire.Unauthorized, "the token has expired"))
		return
	}
	if r.Method == http.MethodPatch {
		fail(w, wire.Errorf(wire.Unauthorized, "wrong account or password"))
		return
	}
	b, _ := io.ReadAll(r.Body)
	g.bodies = append(g.bodies, string(b))
	io.WriteString(w, "{}\n")
}

// renewing returns a client whose first token is old, and whose next one new.
func renewing(t *testing.T, next string) (*Client, *gatekeeper, *[]string) {
	t.Helper()
	g := &gatekeeper{good: "new"}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	current, refusals := "old", new([]string)
	c, err := NewClient(srv.URL, ClientOptions{Fresh: func(_ context.Context, refused string) (string, error) {
		if refused != "" {
			*refusals = append(*refusals, refused)
			if next == "" {
				return "", errLoggedOut
			}
			current = next
		}
		return current, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c, g, refusals
}

var errLoggedOut = errors.New("the login has ended")

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	c, g, refusals := renewing(t, "new")
	if _, err := c.CreateAccount(t.Context(), AccountRequest{Name: "ada"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{`{"name":"ada"}`}; !slices.Equal(g.bodies, want) {
		t.Errorf("the host got %q, want %q", g.bodies, want)
	}
	if want := []string{"POST /v1/accounts old", "POST /v1/accounts new"}; !slices.Equal(g.asked, want) || !slices.Equal(*refusals, []string{"old"}) {
		t.Errorf("requests %q, refused %q, want %q", g.asked, *refusals, want)
	}
}

func TestWhatIsSentOnceIsSentWithAGoodToken(t *testing.T) {
	c, g, _ := renewing(t, "new")
	for range 2 {
		body := io.NopCloser(strings.NewReader("a stream"))
		if _, err := c.do(t.Context(), http.MethodPut, "/v1/deploys/x", nil, body); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"GET /v1/whoami old", "GET /v1/whoami new", "PUT /v1/deploys/x new", "PUT /v1/deploys/x new"}
	if !slices.Equal(g.asked, want) {
		t.Errorf("requests %q, want %q", g.asked, want)
	}
}

func TestTokensThatStayRefused(t *testing.T) {
	tests := []struct {
		name, next string
		asked      int
		want       error
	}{
		{"there is no other", "old", 1, &wire.Error{Code: wire.Unauthorized}},
		{"the other is refused, too", "older", 2, &wire.Error{Code: wire.Unauthorized}},
		{"there is none any more", "", 1, errLoggedOut},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, g, _ := renewing(t, test.next)
			if _, err := c.Accounts(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if len(g.asked) != test.asked {
				t.Errorf("%d requests, want %d: %q", len(g.asked), test.asked, g.asked)
			}
		})
	}
}

// A wrong password is no reason for another token, and another guess.
func TestAWrongPasswordIsNotSentTwice(t *testing.T) {
	c, g, refusals := renewing(t, "newer")
	g.good = "old"
	_, err := c.ChangeAccount(t.Context(), "ada", AccountRequest{Current: "wrong"})
	if !errors.Is(err, &wire.Error{Code: wire.Unauthorized}) || len(g.asked) != 1 || len(*refusals) != 0 {
		t.Errorf("%v after requests %q, refused %q", err, g.asked, *refusals)
	}
}

// Tokens and passwords do not go to other machines in the clear.
func TestSecretsWantTLS(t *testing.T) {
	fresh := func(context.Context, string) (string, error) { return "x", nil }
	if _, err := NewClient("http://192.0.2.1:8081", ClientOptions{Fresh: fresh}); err == nil || !strings.Contains(err.Error(), "in the clear") {
		t.Errorf("a login: %v", err)
	}
	c, err := NewClient("http://192.0.2.1:8081", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login(t.Context(), "ada", "secret"); err == nil || !strings.Contains(err.Error(), "in the clear") {
		t.Errorf("a password: %v", err)
	}
}
