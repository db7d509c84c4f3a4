package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

func TestEveryErrorHasItsStatus(t *testing.T) {
	f := start(t, nil, function("f", ""))
	tests := []struct {
		err    error
		status int
		code   wire.Code
	}{
		{&wire.Error{Code: wire.BadRequest}, 400, wire.BadRequest},
		{&wire.Error{Code: wire.Unauthorized}, 401, wire.Unauthorized},
		{&wire.Error{Code: wire.Forbidden}, 403, wire.Forbidden},
		{&wire.Error{Code: wire.NotFound}, 404, wire.NotFound},
		{&wire.Error{Code: wire.NoMethod}, 405, wire.NoMethod},
		{&wire.Error{Code: wire.Conflict}, 409, wire.Conflict},
		{&wire.Error{Code: wire.TooLarge}, 413, wire.TooLarge},
		{&wire.Error{Code: wire.Unprocessed}, 422, wire.Unprocessed},
		{&wire.Error{Code: wire.TooMany}, 429, wire.TooMany},
		{&wire.Error{Code: wire.HeaderLarge}, 431, wire.HeaderLarge},
		{&wire.Error{Code: wire.Canceled}, 499, wire.Canceled},
		{&wire.Error{Code: wire.Internal}, 500, wire.Internal},
		{&wire.Error{Code: wire.Panicked}, 500, wire.Panicked},
		{&wire.Error{Code: wire.Crashed}, 502, wire.Crashed},
		{&wire.Error{Code: wire.Unavailable}, 503, wire.Unavailable},
		{&wire.Error{Code: wire.Overloaded}, 503, wire.Overloaded},
		{&wire.Error{Code: wire.Timeout}, 504, wire.Timeout},
		{&wire.Error{Code: wire.Loop}, 508, wire.Loop},
		{&wire.Error{Code: "of_a_later_version"}, 500, "of_a_later_version"},
		{errors.New("plain"), 500, wire.Internal},
		{fmt.Errorf("wrapped: %w", &wire.Error{Code: wire.Conflict, Message: "taken"}), 409, wire.Conflict},
		{context.DeadlineExceeded, 504, wire.Timeout},
		{context.Canceled, 499, wire.Canceled},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.err), func(t *testing.T) {
			f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) { return nil, test.err }
			resp, body := f.get(t, "/f")
			p := checkProblem(t, resp, body, test.status, test.code)
			if p.Detail != test.err.Error() || p.Invocation != "i1" || resp.Header.Get("X-Fn-Invocation") != "i1" {
				t.Errorf("problem %+v, invocation %q", p, resp.Header.Get("X-Fn-Invocation"))
			}
			retry := ""
			if test.status == 503 || test.status == 429 {
				retry = "1"
			}
			if got := resp.Header.Get("Retry-After"); got != retry {
				t.Errorf("Retry-After %q, want %q", got, retry)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
}

func TestStackOfAPanicStaysHere(t *testing.T) {
	f := start(t, nil, function("f", ""))
	f.run = func(context.Context, *trigger.Invocation) (*trigger.Result, error) {
		return nil, &wire.Error{Code: wire.Panicked, Message: "boom \xff\"<", Stack: "secret.go:1"}
	}
	resp, body := f.get(t, "/f")
	checkProblem(t, resp, body, 500, wire.Panicked)
	if strings.Contains(body, "secret.go") {
		t.Errorf("body %s", body)
	}
}

func TestNotReadyPage(t *testing.T) {
	f := start(t, nil)
	detail := "main.go:3:1: <script>alert(1)</script> \"&'"
	f.await = func(_ context.Context, name string) (*trigger.Function, error) {
		return nil, fmt.Errorf("first build: %w", &trigger.NotReady{Function: name, Title: "bad", Detail: detail, Problem: "does not build"})
	}
	for accept, html := range map[string]bool{
		"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8": true,
		"application/json, text/html":                     true,
		"text/html;q=0, */*":                              false,
		"*/*":                                             false,
		"application/json":                                false,
		"text/htmlx, ;;":                                  false,
		"":                                                false,
	} {
		resp, body := f.get(t, "/hello", "Accept", accept)
		if resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: headers %v", accept, resp.Header)
		}
		if !html {
			p := checkProblem(t, resp, body, 503, wire.Unavailable)
			if p.Function != "hello" || p.Detail != detail {
				t.Errorf("%q: problem %+v", accept, p)
			}
			continue
		}
		if resp.StatusCode != 503 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%q: status %d, %q", accept, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;alert(1)") || !strings.Contains(body, "hello does not build") {
			t.Errorf("%q: page %s", accept, body)
		}
	}
	// Any other error is a problem document for browsers, too.
	f.await = nil
	resp, body := f.get(t, "/hello", "Accept", "text/html")
	checkProblem(t, resp, body, 404, wire.NoFunction)
}

func TestHEADOfAnError(t *testing.T) {
	f := start(t, nil)
	resp, body := f.do(t, f.request(t, "HEAD", "/nobody", nil))
	if resp.StatusCode != 404 || body != "" || resp.ContentLength <= 0 {
		t.Errorf("status %d, body %q, length %d", resp.StatusCode, body, resp.ContentLength)
	}
}

func TestNotReadyPageShowsFaults(t *testing.T) {
	f := start(t, nil)
	tests := []struct {
		err        trigger.NotReady
		want, none []string
	}{
		{trigger.NotReady{Problem: "does not start", Detail: "exit status 2"}, []string{"<h1>f does not start</h1>", "<pre>exit status 2</pre>"}, []string{"source\""}},
		{trigger.NotReady{Detail: "later"}, []string{"<h1>f is not ready</h1>"}, nil},
		{trigger.NotReady{Problem: "does not build", Detail: "all of it", Faults: []trigger.Fault{{Message: "a.go:1: <b>", Excerpt: "    1 | x"}, {Message: "none"}}},
			[]string{"<pre>a.go:1: &lt;b&gt;</pre><pre class=\"source\">    1 | x</pre></div>", "<div><pre>none</pre></div>"}, []string{"all of it"}},
	}
	for _, test := range tests {
		f.await = func(context.Context, string) (*trigger.Function, error) { return nil, &test.err }
		test.err.Function = "f"
		_, body := f.get(t, "/f", "Accept", "text/html")
		for _, want := range test.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s, want %s in it", body, want)
			}
		}
		for _, none := range test.none {
			if strings.Contains(body, none) {
				t.Errorf("%s, want no %s in it", body, none)
			}
		}
	}
}
