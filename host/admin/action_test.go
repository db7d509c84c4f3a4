package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
)

func TestRequestsHaveNamesForTheAudit(t *testing.T) {
	tests := []struct{ pattern, path, action, resource string }{
		{"POST /v1/functions/{name}/release", "/v1/functions/orders/release", "functions.release", "function:orders"},
		{"DELETE /v1/functions/{name}", "/v1/functions/orders", "functions.remove", "function:orders"},
		{"PUT /v1/deploys/{id}", "/v1/deploys/abc", "deploy", "deploy:abc"},
		{"POST /v1/invoke/{name...}", "/v1/invoke/orders/create", "invoke", "function:orders/create"},
		{"PUT /v1/secrets/{name...}", "/v1/secrets/db/password", "secrets.set", "secret:db/password"},
		{"POST /v1/master-key/rotate", "/v1/master-key/rotate", "master-key.rotate", "master-key"},
		{"DELETE /v1/buckets/{bucket}/keys/{key}", "/v1/buckets/carts/keys/a%2Fb", "buckets.keys.remove", "bucket:carts:a/b"},
		{"POST /v1/buckets", "/v1/buckets", "buckets.add", "bucket"},
		{"PUT /v1/config", "/v1/config", "config.set", "config"},
		{"POST /v1/events/{subject}", "/v1/events/orders.paid", "events", "subject:orders.paid"},
		{"POST /v1/dead/{id}/redrive", "/v1/dead/7/redrive", "dead.redrive", "dead-letter:7"},
		{"GET /v1/backup", "/v1/backup", "backup.read", "backup"},
		{"/git/", "/git/orders.git/git-receive-pack", "git.push", "function:orders"},
		{"/git/", "/git/@acme/orders/git-receive-pack", "git.push", "function:orders"},
	}
	for _, test := range tests {
		if action, resource := ActionOf(test.pattern), ResourceOf(test.pattern, test.path); action != test.action || resource != test.resource {
			t.Errorf("%s %s is %s of %s, want %s of %s", test.pattern, test.path, action, resource, test.action, test.resource)
		}
	}
}

func TestChangesAndRefusalsAreToldOfAndReadsAreNot(t *testing.T) {
	var told []string
	api := NewServer(echo{hub: logs.NewHub(0)}, Options{
		Door: headerDoor{},
		Git:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { NoteOutcome(r.Context(), errors.New("rejected"), "") }),
		Audit: func(r *http.Request, pattern string, status int, err error) {
			told = append(told, strings.Join(strings.Fields(pattern+" "+http.StatusText(status)+" "+codeOf(err)+" "+AccountOf(r)), " "))
		},
	})
	for _, test := range []struct{ method, path, token, want string }{
		{"GET", "/v1/info", "x", ""},
		{"GET", "/v1/functions", "", ""},
		{"POST", "/v1/invoke/hello", "x", "POST /v1/invoke/{name...} OK x"},
		{"POST", "/v1/invoke/nobody", "x", "POST /v1/invoke/{name...} Not Found no_function x"},
		{"POST", "/v1/invoke/hello", "", "POST /v1/invoke/{name...} Unauthorized unauthorized"},
		{"POST", "/v1/invoke/hello", "viewer", "POST /v1/invoke/{name...} Forbidden forbidden viewer"},
		{"PUT", "/v1/nothing", "", ""},
		{"GET", "/v1/backup", "x", "GET /v1/backup OK internal x"},
		{"GET", "/git/orders/info/refs", "x", ""},
		{"POST", "/git/orders/git-upload-pack", "x", ""},
		{"POST", "/git/orders/git-receive-pack", "x", "/git/ OK internal x"},
	} {
		told = nil
		r := httptest.NewRequest(test.method, test.path, nil)
		if test.token != "" {
			r.Header.Set("Authorization", test.token)
		}
		func() {
			defer func() { recover() }() // an answer that was broken off
			api.ServeHTTP(httptest.NewRecorder(), r)
		}()
		if want := slices.DeleteFunc([]string{test.want}, func(s string) bool { return s == "" }); !slices.Equal(told, want) {
			t.Errorf("%s %s: told %q, want %q", test.method, test.path, told, want)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return string(wire.AsError(err).Code)
}

// Answers that stream must not be held back by who listens.
func TestAnAuditedAnswerIsFlushed(t *testing.T) {
	release := make(chan bool)
	api := NewServer(echo{hub: logs.NewHub(0)}, Options{
		Audit: func(*http.Request, string, int, error) {},
		Git: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "begin")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-release
		}),
	})
	srv := httptest.NewServer(api)
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/git/orders/git-receive-pack", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "begin" {
		t.Errorf("%q, %v", b, err)
	}
	close(release)
}

func TestAllAnswersKeepToThemselves(t *testing.T) {
	api := NewServer(echo{hub: logs.NewHub(0)}, Options{Git: http.NotFoundHandler()})
	for _, path := range []string{"/healthz", "/v1/info", "/v1/nothing", "/git/x/info/refs"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := w.Result().Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// headerDoor lets everybody in who has a header, which names them, but for the viewer.
type headerDoor struct{}

func (headerDoor) Enter(r *http.Request, _, _ string) (string, error) {
	switch who := r.Header.Get("Authorization"); who {
	case "":
		return "", wire.Errorf(wire.Unauthorized, "no token")
	case "viewer":
		return who, wire.Errorf(wire.Forbidden, "%s may not", who)
	default:
		return who, nil
	}
}
