package host_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
)

// within fails the test if fn does not return in time.
func within[T any](t *testing.T, what string, fn func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- fn() }()
	select {
	case v := <-done:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
		panic("unreachable")
	}
}

func newHost(t *testing.T, cfg host.Config) *host.Host {
	t.Helper()
	cfg.Dir = t.TempDir()
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestRunOfAClosedHostReturnsAtOnce(t *testing.T) {
	h := newHost(t, host.Config{HTTP: "127.0.0.1:0"})
	h.Close()
	err := within(t, "Run", func() error { return h.Run(t.Context()) })
	if !errors.Is(err, host.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if err := h.Listen(); !errors.Is(err, host.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
}

func TestCloseEndsRun(t *testing.T) {
	for name, cfg := range map[string]host.Config{"no listeners": {}, "listeners": {HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0"}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, cfg)
			if err := h.Listen(); err != nil {
				t.Fatal(err)
			}
			begun, release := make(chan bool), make(chan bool)
			if err := h.Handle("slow", func() string { begun <- true; <-release; return "whole" }); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- h.Run(context.Background()) }()
			answer := make(chan string, 1)
			if cfg.HTTP != "" {
				go func() { answer <- get(h.Info().HTTP + "/slow") }()
				<-begun
			}
			time.Sleep(50 * time.Millisecond) // Run is at it
			second := within(t, "a second Run", func() error { return h.Run(context.Background()) })
			if second == nil || !strings.Contains(second.Error(), "runs already") {
				t.Errorf("a second Run: %v", second)
			}
			closed := make(chan error, 1)
			go func() { closed <- h.Close() }()
			time.Sleep(50 * time.Millisecond)
			close(release)
			if cfg.HTTP != "" {
				if got := within(t, "answer", func() string { return <-answer }); got != "whole" {
					t.Errorf("the request in progress: %s", got)
				}
			}
			for what, c := range map[string]chan error{"Run": ended, "Close": closed} {
				if err := within(t, what, func() error { return <-c }); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// get returns the body of an answer, or why there is none.
func get(url string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestInvokeOfAClosedHost(t *testing.T) {
	f := newHost(t, host.Config{Watch: []string{tree(t, map[string]string{"built/b.go": constant("built", "there")})}})
	if err := f.Handle("known", func() string { return "there" }); err != nil {
		t.Fatal(err)
	}
	if out, err := f.Invoke(t.Context(), "built", nil); err != nil || string(out) != "there" {
		t.Fatalf("%q %v", out, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"known", "known/endpoint", "built", "unknown"} {
		_, err := f.Invoke(t.Context(), name, nil)
		var e *functions.Error
		if !errors.Is(err, host.ErrClosed) || !errors.As(err, &e) || e.Code != functions.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
