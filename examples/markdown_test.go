package examples_test

import (
	"os"
	"strings"
	"testing"
)

func testMarkdown(t *testing.T, r *running) {
	source, err := os.ReadFile("markdown/page.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/markdown", "/markdown/"} {
		a := r.http(t, "GET", path, nil)
		a.want(t, 200, "<h1>A page from a function</h1>")
		a.want(t, 200, "<strong>embedded</strong>")
		a.want(t, 200, "<li>the watcher sees the change\n<li>")
		a.want(t, 200, `<a href="/markdown/source">`)
		if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("Content-Type = %q", got)
		}
	}
	r.http(t, "GET", "/markdown/source", nil).want(t, 200, string(source))
	r.http(t, "GET", "/markdown/elsewhere", nil).want(t, 404, "not found")
	if m := r.nats(t, "fn.markdown", nil); !strings.Contains(string(m.Data), "<h1>A page from a function</h1>") {
		t.Errorf("NATS: %s", m.Data)
	}
}
