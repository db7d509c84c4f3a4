package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
)

// answering returns a client of a host that gives one answer to everything.
func answering(t *testing.T, status int, header http.Header, body string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for key, values := range header {
			w.Header()[key] = values
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnOlderHostIsToldOf(t *testing.T) {
	const problem = `{"title":"Not Found","status":404,"detail":"PUT /v1/deploys/x is not part of it","code":"not_found"}`
	tests := []struct {
		name    string
		version []string
		want    string
	}{
		{"older", []string{"1.0"}, "speaks version 1.0 of the management API, and this needs " + APIVersion + ": update fnhost there"},
		{"untold", nil, "speaks version 1.0 of the management API"},
		{"the same", []string{APIVersion}, "is not part of it"},
		{"newer", []string{"1.99"}, "is not part of it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Content-Type": {"application/problem+json"}}
			if test.version != nil {
				header[versionHeader] = test.version
			}
			c := answering(t, 404, header, problem)
			_, err := c.Deploy(t.Context(), DeployRequest{ID: "abcdefgh"}, strings.NewReader("x"), func(DeployEvent) {})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if old := test.name == "older" || test.name == "untold"; old == errors.Is(err, &wire.Error{Code: wire.NotFound}) {
				t.Errorf("error %v: something is missing there, or here", err)
			}
		})
	}
}

// What is not found on an older host because it is not there is said as it is.
func TestAnOlderHostKnowsWhatItHas(t *testing.T) {
	c := answering(t, 404, http.Header{versionHeader: {"1.0"}}, `{"status":404,"detail":"no function \"x\"","code":"no_function"}`)
	if _, err := c.Function(t.Context(), "x"); !errors.Is(err, &wire.Error{Code: wire.NoFunction}) {
		t.Errorf("error %v", err)
	}
}

func TestDeployEvents(t *testing.T) {
	const event = `{"function":"hello","step":"build"}` + "\n"
	tests := []struct {
		name, body string
		want       error
		events     int
	}{
		{"whole", event + `{"result":[{"function":"hello","version":"v1"}]}` + "\n", nil, 2},
		{"problem", event + `{"error":{"status":422,"code":"unprocessable","detail":"no"}}` + "\n", &wire.Error{Code: wire.Unprocessed}, 2},
		{"broken off", event, ErrBrokenOff, 1},
		{"broken off within a line", event + `{"result":`, ErrBrokenOff, 1},
		{"nothing", "", ErrBrokenOff, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := answering(t, 200, nil, test.body)
			events := 0
			list, err := c.FollowDeploy(t.Context(), "abcdefgh", func(DeployEvent) { events++ })
			if !errors.Is(err, test.want) || events != test.events || (len(list) == 1) != (test.want == nil) {
				t.Errorf("%+v, %v after %d events", list, err, events)
			}
		})
	}
}

func TestATokenIsNotSentInTheClear(t *testing.T) {
	for base, want := range map[string]bool{
		"http://127.0.0.1:8081": true, "http://[::1]:8081": true, "localhost": true, "https://fn.example": true,
		"http://fn.example": false, "fn.example:8081": false, "http://127.0.0.1.example": false, "http://10.0.0.1": false,
	} {
		if _, err := NewClient(base, ClientOptions{Token: "secret"}); (err == nil) != want || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", base, err)
		}
	}
}
