package gitpush

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is fetched is what was committed, attributes and filters or not.
func TestFetch(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"source.git")
	c.write(".gitattributes", "*.txt text eol=crlf export-ignore\n")
	commit := c.commit("hello.txt", "one\ntwo\n", "first")
	c.git("push", "-q", "fnhost", "HEAD:main")
	for _, ref := range []string{"", "main", "refs/heads/main"} {
		dir := t.TempDir()
		f, err := r.Fetch(t.Context(), r.url+"source.git", ref, dir, os.Stderr)
		if err != nil {
			t.Fatalf("%q: %v", ref, err)
		}
		if f.Commit != commit || f.Subject != "first" || !strings.Contains(f.Author, "@") {
			t.Errorf("%q: %+v, want commit %s", ref, f, commit)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "hello.txt")); err != nil || string(b) != "one\ntwo\n" {
			t.Errorf("%q: %q, %v", ref, b, err)
		}
	}
	left, err := os.ReadDir(r.path("tmp"))
	if err != nil || len(left) != 1 { // the empty repository
		t.Errorf("%d entries are left, %v", len(left), err)
	}
}

func TestFetchRejects(t *testing.T) {
	r := serve(t, Config{})
	secret := strings.Replace(r.url, "://", "://user:secret@", 1) + "nothing.git"
	for _, test := range [][2]string{
		{"file:///etc", ""}, {"/etc", ""}, {"ext::sh -c true", ""}, {"--upload-pack=true", ""}, {"git@host:path", ""},
		{secret, ""}, {r.url + "nothing.git", "--upload-pack=true"}, {r.url + "nothing.git", "a b"}, {r.url + "nothing.git", "main:main"},
	} {
		_, err := r.Fetch(t.Context(), test[0], test[1], t.TempDir(), os.Stderr)
		if !errors.Is(err, ErrRejected) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", test, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Fetch(ctx, r.url+"/nothing.git", "", t.TempDir(), os.Stderr); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
}
