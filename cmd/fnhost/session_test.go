package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/admin"
)

// refresher is a host that gives tokens for the last refresh token, and ends the login for
// any other one.
type refresher struct {
	mu    sync.Mutex
	given int
	ended bool
}

func (h *refresher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var req admin.RefreshRequest
	json.NewDecoder(r.Body).Decode(&req)
	w.Header().Set("Fn-Api", admin.APIVersion)
	if h.ended || req.Refresh != fmt.Sprint("refresh-", h.given) {
		h.ended = true
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(admin.Problem{Code: "unauthorized", Detail: "the login has ended: `fnhost login` begins a new one"})
		return
	}
	h.given++
	json.NewEncoder(w).Encode(admin.Login{Account: "ada", Access: fmt.Sprint("access-", h.given), Refresh: fmt.Sprint("refresh-", h.given), Expires: time.Now().Add(time.Hour)})
}

// loggedIn returns the sessions of commands that have read the file at the same time, before
// the first refresh.
func loggedIn(t *testing.T, commands int) (*refresher, []*session) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	h := &refresher{}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	err := changeServers(t.Context(), func(list *servers) error {
		list.Servers["prod"] = server{URL: srv.URL, Login: &keptLogin{Account: "ada", Access: "access-0", Refresh: "refresh-0", Expires: time.Now()}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []*session
	for range commands {
		read, err := loadServers()
		if err != nil {
			t.Fatal(err)
		}
		s := read.Servers["prod"]
		list = append(list, newSession(&s))
	}
	return h, list
}

func TestOneCommandRenewsForAll(t *testing.T) {
	h, list := loggedIn(t, 8)
	var wg sync.WaitGroup
	for _, s := range list {
		wg.Go(func() {
			if token, err := s.token(t.Context(), ""); token != "access-1" || err != nil {
				t.Errorf("token %q, %v", token, err)
			}
		})
	}
	wg.Wait()
	for _, s := range list {
		wg.Go(func() {
			if token, err := s.token(t.Context(), "access-1"); token != "access-2" || err != nil {
				t.Errorf("after a refusal token %q, %v", token, err)
			}
		})
	}
	wg.Wait()
	if h.given != 2 || h.ended {
		t.Errorf("%d refreshes, ended: %v, want 2", h.given, h.ended)
	}
}

func TestALoginThatHasEndedIsKeptAsThat(t *testing.T) {
	h, list := loggedIn(t, 2)
	h.ended = true
	for _, s := range list {
		token, err := s.token(t.Context(), "")
		if token != "" || err == nil || !strings.Contains(err.Error(), "the login of ada to prod has ended") || !strings.Contains(err.Error(), "`fnhost login prod`") {
			t.Errorf("token %q, %v", token, err)
		}
	}
	kept, err := loadServers()
	if err != nil {
		t.Fatal(err)
	}
	if l := kept.Servers["prod"].Login; l == nil || l.Refresh != "" || l.Access != "" || l.Account != "ada" {
		t.Errorf("kept: %+v", l)
	}
}

func TestALogoutElsewhereEndsTheSession(t *testing.T) {
	h, list := loggedIn(t, 1)
	err := changeServers(t.Context(), func(list *servers) error {
		s := list.Servers["prod"]
		s.Login = nil
		list.Servers["prod"] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list[0].token(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "has logged ada out of prod") || h.given != 0 {
		t.Errorf("%v after %d refreshes", err, h.given)
	}
}
