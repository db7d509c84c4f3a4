package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	files := map[string]string{
		"hello.go": "package hello\n", "empty": "", "run.sh*": "#!/bin/sh\n", "a/b/c.txt": strings.Repeat("x", 100_000), "a.b": "sorts between a and a/b",
		"latest@": "a/b", "a/up@": "../hello.go", "a/self@": ".", "dangling@": "not/there", "through@": "latest/../../run.sh",
		"Grüße/übung.go": "ü", strings.Repeat("long/", 40) + strings.Repeat("n", 200): "long", "a b\n\"c\"": "odd", "gone/": "",
	}
	src := writeTree(t, files)
	data, sent := pack(t, src)
	dir := filepath.Join(t.TempDir(), "new")
	got, err := Unpack(t.Context(), bytes.NewReader(data), dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	delete(files, "gone/")
	if tree := readTree(t, dir); !maps.Equal(tree, files) {
		t.Errorf("tree is %q", tree)
	}
	if sent.LeftOut != nil || got.Digest != sent.Digest || got.Bytes != sent.Bytes || !slices.Equal(got.Entries, sent.Entries) {
		t.Errorf("unpacked %+v\npacked   %+v", got, sent)
	}
	for _, d := range []string{src, dir} {
		if s, err := Inspect(t.Context(), d, Limits{}); err != nil || s.Digest != sent.Digest {
			t.Errorf("Inspect: digest %s, %v, want %s", s.Digest, err, sent.Digest)
		}
	}
}

func TestSummary(t *testing.T) {
	dir := writeTree(t, map[string]string{"b": "12345", "a*": "123", "l@": "b", ".gitignore": "*.log\n", "x.log": ""})
	_, s := pack(t, dir)
	want := []Entry{{Path: ".gitignore", Size: 6}, {Path: "a", Size: 3, Executable: true}, {Path: "b", Size: 5}, {Path: "l", Link: "b"}}
	for i := range s.Entries {
		s.Entries[i].sum = [32]byte{}
	}
	if !slices.Equal(s.Entries, want) || s.Bytes != 14 {
		t.Errorf("entries %+v of %d bytes, want %+v", s.Entries, s.Bytes, want)
	}
	if want := []Omission{{"x.log", ".gitignore:1: *.log"}}; !slices.Equal(s.LeftOut, want) {
		t.Errorf("left out %+v, want %+v", s.LeftOut, want)
	}
	// Stored digests must stay what they are.
	if want := "7ff20bc684a2f87a02f1a4f4b286dc9e43e41831db8a48cc629b9fb652ac6089"; s.Digest != want {
		t.Errorf("digest %s, want %s", s.Digest, want)
	}
}

// What is printable changes with Unicode; the digest does not.
func TestDigestOfOtherScripts(t *testing.T) {
	_, s := pack(t, writeTree(t, map[string]string{"ü": "", "l@": "ü"}))
	if want := "2ee9cf7b254bc86a5a1f456009b6c1adf8df7b1f1e6fc0c4eb51eaa14ab953ce"; s.Digest != want {
		t.Errorf("digest %s, want %s", s.Digest, want)
	}
}

func TestEqualTreesGiveEqualBytes(t *testing.T) {
	files := map[string]string{"a/b": "1", "c*": "2", "d@": "c"}
	one, two := writeTree(t, files), writeTree(t, files)
	for name, mode := range map[string]os.FileMode{"a/b": 0o600, "c": 0o700, "a": 0o700} {
		if err := os.Chmod(filepath.Join(two, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(two, "c"), time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	a, s := pack(t, one)
	b, _ := pack(t, two)
	if !bytes.Equal(a, b) {
		t.Error("bundles of equal trees differ")
	}
	changes := map[string]func() error{
		"contents": func() error { return os.WriteFile(filepath.Join(two, "a/b"), []byte("3"), 0o644) },
		"mode":     func() error { return os.Chmod(filepath.Join(two, "a/b"), 0o755) },
		"name":     func() error { return os.Rename(filepath.Join(two, "c"), filepath.Join(two, "e")) },
		"link": func() error {
			return errors.Join(os.Remove(filepath.Join(two, "d")), os.Symlink("a", filepath.Join(two, "d")))
		},
	}
	seen := map[string]bool{s.Digest: true}
	for what, change := range changes {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, s := pack(t, two); seen[s.Digest] {
			t.Errorf("the digest does not depend on the %s", what)
		} else {
			seen[s.Digest] = true
		}
	}
}

func TestWhatIsLeftOut(t *testing.T) {
	repo := writeTree(t, map[string]string{
		".gitignore": "*.log\n/fn/secret\ngen/\n", ".fnhostignore": "*.md\n!keep.log\n", ".git/": "",
		"fn/.gitignore": "docs/\n!important.md\n", "fn/.fnhostignore": "!gen/\n/data/*\n!/data/seed\n",
		"fn/main.go": "", "fn/x.log": "", "fn/keep.log": "", "fn/secret": "", "fn/gen/api.go": "", "fn/docs/a": "",
		"fn/important.md": "", "fn/sub/secret": "", "fn/data/seed": "", "fn/data/big": "",
		"fn/inner/.git/config": "", "fn/sub/.git": "gitdir: x", "fn/.hg/x": "", "fn/.SVN/x": "", "fn/node_modules/x": "", "fn/sub/node_modules@": "..", "fn/.fnhost/x": "",
		"fn/a~": "", "fn/.main.go.swp": "", "fn/#main.go#": "", "fn/.#main.go@": "me@host.1", "fn/4913": "", "fn/.DS_Store": "",
	})
	if err := syscall.Mkfifo(filepath.Join(repo, "fn/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, s := pack(t, filepath.Join(repo, "fn"))
	want := []string{".fnhostignore", ".gitignore", "data/seed", "gen/api.go", "keep.log", "main.go", "sub/secret"}
	if got := paths(s); !slices.Equal(got, want) {
		t.Errorf("packed %q, want %q", got, want)
	}
	rules := make(map[string]string)
	for _, o := range s.LeftOut {
		rules[o.Path] = o.Rule
	}
	for path, rule := range map[string]string{
		"x.log": "../.gitignore:1: *.log", "secret": "../.gitignore:2: /fn/secret", "important.md": "../.fnhostignore:1: *.md", "docs/": ".gitignore:1: docs/",
		"data/big": ".fnhostignore:2: /data/*", "inner/.git/": "always: version control", "sub/.git": "always: version control", ".SVN/": "always: version control", "fifo": "always: not a regular file",
		"node_modules/": "always: dependencies of a package manager", ".fnhost/": "always: data of fnhost", "a~": "always: left by an editor or file manager",
	} {
		if rules[path] != rule {
			t.Errorf("%s: rule %q, want %q", path, rules[path], rule)
		}
	}
	if len(rules) != 19 {
		t.Errorf("%d left out: %v", len(rules), rules)
	}
}

func TestPackRefuses(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		limits Limits
		kind   error
		parts  []string
	}{
		{"link up", map[string]string{"d/l@": "../../x"}, Limits{}, ErrUnsafe, []string{`"d/l"`, `"../../x"`, "leaves the tree"}},
		{"link to a place in the tree by way of outside", map[string]string{"l@": "../x/a", "a": ""}, Limits{}, ErrUnsafe, []string{`"l"`}},
		{"absolute link", map[string]string{"l@": "/etc/passwd"}, Limits{}, ErrUnsafe, []string{`"l"`, "make it relative"}},
		{"link through a link", map[string]string{"d/e/x": "", "up@": "d/e", "l@": "up/../../../x"}, Limits{}, ErrUnsafe, []string{`"l"`}},
		{"links in a circle", map[string]string{"a@": "b", "b@": "a"}, Limits{}, ErrUnsafe, []string{"circle"}},
		{"backslash", map[string]string{`a\b`: ""}, Limits{}, ErrUnsafe, []string{"backslash", `"a\\b"`}},
		{"not UTF-8", map[string]string{"a\xff": ""}, Limits{}, ErrUnsafe, []string{"UTF-8"}},
		{"one file", map[string]string{"d/f": "12345"}, Limits{FileBytes: 4}, ErrTooLarge, []string{`"d/f"`, "5 bytes", "limit is 4"}},
		{"all files", map[string]string{"a": "123", "b": "123"}, Limits{Bytes: 5}, ErrTooLarge, []string{`"b"`, "5 bytes"}},
		{"entries", map[string]string{"a/b/c": "", "d": ""}, Limits{Entries: 3}, ErrTooLarge, []string{`"d"`, "more than 3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeTree(t, test.files)
			_, err := Pack(t.Context(), dir, io.Discard, test.limits)
			wantError(t, err, test.kind, append(test.parts, dir)...)
			_, err = Inspect(t.Context(), dir, test.limits)
			wantError(t, err, test.kind, test.parts...)
			// What is left out may be anything.
			writeFiles(t, dir, map[string]string{".fnhostignore": "*\n"})
			if _, err := Pack(t.Context(), dir, io.Discard, test.limits); err != nil {
				t.Errorf("with all left out: %v", err)
			}
		})
	}
}

func TestLimitsAreReachedExactly(t *testing.T) {
	dir := writeTree(t, map[string]string{"a/b/c": "12345", "a/b/d": "123"})
	var buf bytes.Buffer
	limits := Limits{Bytes: 8, FileBytes: 5, Entries: 4}
	if _, err := Pack(t.Context(), dir, &buf, limits); err != nil {
		t.Error(err)
	}
	if _, err := Unpack(t.Context(), &buf, t.TempDir(), limits); err != nil {
		t.Error(err)
	}
}

// onWrite calls a function at the first write.
type onWrite struct {
	bytes.Buffer
	do func()
}

func (w *onWrite) Write(p []byte) (int, error) {
	if w.do != nil {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

// The first write is gzip's header, with the header of the first entry: the
// tree was looked through before that.
func TestFilesThatChangeMeanwhile(t *testing.T) {
	changes := map[string]func(path string) error{
		"grown":   func(p string) error { return os.WriteFile(p, []byte("1234567"), 0o644) },
		"shorter": func(p string) error { return os.Truncate(p, 2) },
		"removed": os.Remove,
		"other contents": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("54321"), 0o644), os.Chtimes(p, time.Unix(1, 0), time.Unix(1, 0)))
		},
		"a link out":          func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"a link to a sibling": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("a", p)) },
		"a fifo":              func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"a": "12345", "b": "12345"})
			w := &onWrite{do: func() {
				if err := change(filepath.Join(dir, "b")); err != nil {
					t.Error(err)
				}
			}}
			_, err := Pack(t.Context(), dir, w, Limits{})
			if name != "a link out" { // refused by the root itself
				wantError(t, err, ErrChanged, `"b"`, "try again")
			} else if err == nil {
				t.Error("no error")
			}
			_, err = Unpack(t.Context(), &w.Buffer, t.TempDir(), Limits{})
			wantError(t, err, ErrDamaged)
		})
	}
}

func TestPackEndsWithItsContext(t *testing.T) {
	dir := writeTree(t, map[string]string{"a": "12345", "b": "12345"})
	ctx, cancel := context.WithCancel(t.Context())
	w := &onWrite{do: cancel}
	if _, err := Pack(ctx, dir, w, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestPackReportsOtherErrors(t *testing.T) {
	dir := writeTree(t, map[string]string{"a": ""})
	if _, err := Pack(t.Context(), dir, failing{}, Limits{}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("error of the writer: %v", err)
	}
	for _, name := range []string{"nothing", "a"} {
		if _, err := Pack(t.Context(), filepath.Join(dir, name), io.Discard, Limits{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTreeByALink(t *testing.T) {
	dir := writeTree(t, map[string]string{"repo/.git/": "", "repo/.gitignore": "x", "repo/fn/x": "", "repo/fn/y": "", "link@": "repo/fn"})
	if _, s := pack(t, filepath.Join(dir, "link")); !slices.Equal(paths(s), []string{"y"}) {
		t.Errorf("packed %q", paths(s))
	}
}

func TestIgnoreFilesThatAreNone(t *testing.T) {
	// As for git, links to ignore files and directories of that name say nothing.
	dir := writeTree(t, map[string]string{".gitignore@": "rules", "rules": "*\n", "d/.fnhostignore/x": "", "d/y": ""})
	if _, s := pack(t, dir); !slices.Equal(paths(s), []string{".gitignore", "d/.fnhostignore/x", "d/y", "rules"}) {
		t.Errorf("packed %q", paths(s))
	}
	writeFiles(t, dir, map[string]string{"e/.gitignore": strings.Repeat("a\n", maxIgnoreFile/2) + "b"})
	_, err := Inspect(t.Context(), dir, Limits{})
	wantError(t, err, ErrTooLarge, `"e/.gitignore"`)
}

func TestAnEmptyTree(t *testing.T) {
	data, sent := pack(t, t.TempDir())
	got, err := Unpack(t.Context(), bytes.NewReader(data), t.TempDir(), Limits{})
	if err != nil || got.Digest != sent.Digest || len(got.Entries) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
