package examples_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/host"
)

func testCounter(t *testing.T, r *running) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { r.http(t, "POST", "/counter", []byte(fmt.Sprint("/page/", i%3))).want(t, 200, `"visits":`) })
	}
	wg.Wait()
	r.http(t, "POST", "/counter", []byte("/page/2")).want(t, 200, `{"page":"/page/2","visits":7}`)
	r.http(t, "POST", "/counter", []byte("/page/2")).want(t, 200, `{"page":"/page/2","visits":8}`)
	r.http(t, "GET", "/counter/top", nil).want(t, 200, `[{"page":"/page/2","visits":8},{"page":"/page/`)
	r.http(t, "POST", "/counter", nil).want(t, 400, "name a page")
}

func testSessions(t *testing.T, r *running) {
	ada := []byte(`{"name":"ada","password":"correct horse"}`)
	r.http(t, "POST", "/sessions/register", []byte(`{"name":"ada","password":"short"}`)).want(t, 422, "8 or more")
	r.http(t, "POST", "/sessions/register", ada).want(t, 204, "")
	r.http(t, "POST", "/sessions/register", ada).want(t, 409, `a user \"ada\"`)
	r.http(t, "POST", "/login", []byte(`{"name":"ada","password":"wrong horse"}`)).want(t, 401, "no user")
	r.http(t, "POST", "/login", []byte(`{"name":"eve","password":"correct horse"}`)).want(t, 401, "no user")
	r.http(t, "GET", "/me", nil, "Cookie", "session=made-up").want(t, 401, "log in first")

	login := func() string {
		a := r.http(t, "POST", "/login", ada)
		a.want(t, 204, "")
		cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
		return cookie
	}
	ended := func(how string) string {
		b, err := r.Bucket(t.Context(), "sessions-ended")
		if err != nil {
			t.Fatal(err)
		}
		e, _ := b.Get(t.Context(), how)
		return string(e.Value)
	}
	cookie := login()
	r.http(t, "GET", "/me", nil, "Cookie", cookie).want(t, 200, `{"name":"ada","since":"`)
	r.http(t, "POST", "/logout", nil, "Cookie", cookie).want(t, 204, "")
	r.http(t, "GET", "/me", nil, "Cookie", cookie).want(t, 401, "log in first")
	await(t, "the logout is counted", func() bool { return ended("delete") == "1" })

	layer := host.ConfigLayer{Function: "sessions"}
	if _, err := r.SetConfig(t.Context(), layer, "ada", "sessions.ttl", "half an hour"); err == nil || !strings.Contains(err.Error(), "sessions.ttl") {
		t.Errorf("a time that is none: %v", err)
	}
	if _, err := r.SetConfig(t.Context(), layer, "ada", "sessions.ttl", "1s"); err != nil {
		t.Fatal(err)
	}
	await(t, "a session ends by itself", func() bool {
		login() // the change may not have reached the worker that took the one before
		return ended("expire") != ""
	})
}
