package gitpush

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// add puts an entry into the index of the clone, whatever the file system holds.
func (c *clone) add(mode, name, content string) {
	c.t.Helper()
	cmd := c.command("hash-object", "-w", "--stdin")
	cmd.Stdin = strings.NewReader(content)
	id, err := cmd.Output()
	if err != nil {
		c.t.Fatal(err)
	}
	c.git("update-index", "--add", "--cacheinfo", mode+","+strings.TrimSpace(string(id))+","+name)
}

func TestPushedTrees(t *testing.T) {
	type file struct{ mode, name, content string }
	link := func(name, target string) file { return file{modeLink, name, target} }
	tests := []struct {
		name  string
		files []file
		tree  string // what is deployed, or
		want  string // why it is not
	}{
		{"links that stay", []file{{"100644", "a/b/f", "x"}, link("a/l", "b/f"), link("l", "a/b"), link("m", "l/../../a/l"), link("dangling", "nowhere/x")},
			"644 a/b/f: x\nlink a/l -> b/f\nlink dangling -> nowhere/x\nlink l -> a/b\nlink m -> l/../../a/l\n", ""},
		{"an absolute link", []file{link("l", "/etc/passwd")}, "", `l is a symbolic link to "/etc/passwd", which leaves the tree`},
		{"a link upwards", []file{link("a/l", "../../x")}, "", `a/l is a symbolic link to "../../x", which leaves the tree`},
		{"a link upwards by another", []file{{"100644", "a/b/f", "x"}, link("a/b/up", "../.."), link("l", "a/b/up/../../x")}, "", "which leaves the tree"},
		{"a link to itself", []file{link("l", "l"), link("m", "n"), link("n", "m")}, "link l -> l\nlink m -> n\nlink n -> m\n", ""},
		{"a long link", []file{link("l", strings.Repeat("x", 2000))}, "", `"l" is a link to a path of more than 1024 bytes`},
		{"a submodule", []file{{"100644", "f", "x"}, {modeSubmodule, "sub", ""}}, "644 f: x\n", "remote: Note: sub is a submodule"},
		{"capitals", []file{{"100644", "F", "x"}, {"100644", "f", "y"}}, "644 F: x\n644 f: y\n", ""},
		{"odd names", []file{{"100644", "a b/\tc\nd\"é", "x"}, {"100644", "-n", "y"}, {"100644", "git", "z"}},
			"644 -n: y\n644 a b/\tc\nd\"é: x\n644 git: z\n", ""},
		{"a name that is too long", []file{{"100644", strings.Repeat("n", 300), "x"}}, "", "is no name for the host's file system"},
		{"a path that is too long", []file{{"100644", strings.Repeat("n/", 600) + "f", "x"}}, "", "a path in the tree has more than 1024 bytes"},
		{"a path that is much too long", []file{{"100644", strings.Repeat("n/", 2000) + "f", "x"}}, "", "a path in the tree has more than 1024 bytes"},
		{"attributes", []file{{"100644", ".gitattributes", "* filter=evil export-subst text eol=crlf ident\nsecret export-ignore"}, {"100644", "secret", "$Format:%H$\n$Id$"}},
			"644 .gitattributes: * filter=evil export-subst text eol=crlf ident\nsecret export-ignore\n644 secret: $Format:%H$\n$Id$\n", ""},
		{"LFS", []file{{"100644", ".gitattributes", "* filter=lfs diff=lfs merge=lfs"}, {"100644", "f", "version https://git-lfs.github.com/spec/v1"}},
			"644 .gitattributes: * filter=lfs diff=lfs merge=lfs\n644 f: version https://git-lfs.github.com/spec/v1\n", ""},
		{"a mailmap", []file{{"100644", ".mailmap", "Eve <eve@example.com> <ada@example.com>"}}, "644 .mailmap: Eve <eve@example.com> <ada@example.com>\n", ""},
		{"nothing", nil, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := serve(t, Config{})
			c := newClone(t, r.url+"hello.git")
			c.git("config", "core.ignoreCase", "false")
			for _, f := range test.files {
				if f.mode == modeSubmodule {
					c.git("update-index", "--add", "--cacheinfo", f.mode+","+strings.Repeat("1", 40)+","+f.name)
				} else {
					c.add(f.mode, f.name, f.content)
				}
			}
			c.git("commit", "-q", "--allow-empty", "-m", "tree")
			out, err := c.try("push", "fnhost", "main")
			wantAll(t, out, test.want)
			accept := test.tree != "" || test.want == ""
			if (err == nil) != accept || len(r.deployed()) > 0 != accept {
				t.Fatalf("push: %v, %d deploys\n%s", err, len(r.deployed()), out)
			}
			if accept {
				if p, tree := r.last(); tree != test.tree || p.Author != "Ada <ada@example.com>" {
					t.Errorf("tree %q, want %q, author %s", tree, test.tree, p.Author)
				}
			}
		})
	}
}

// rawTree writes a tree that git would not make itself.
func (c *clone) rawTree(entries ...string) string {
	c.t.Helper()
	cmd := c.command("hash-object", "-t", "tree", "-w", "--literally", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(entries, ""))
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("hash-object: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// rawEntry is an entry of a tree as git stores it.
func rawEntry(mode, name, id string) string {
	var b []byte
	fmt.Sscanf(id, "%x", &b)
	return mode + " " + name + "\x00" + string(b)
}

func TestHostileTrees(t *testing.T) {
	for _, name := range []string{".git", ".GIT", "..", ".", "", "a/b", "git~1", ".g\u200cit"} {
		for _, fsck := range []bool{true, false} {
			t.Run(fmt.Sprintf("%q, fsck %t", name, fsck), func(t *testing.T) {
				r := serve(t, Config{})
				c := newClone(t, r.url+"hello.git")
				c.commit("f", "x", "one")
				blob := c.git("rev-parse", "HEAD:f")
				inner := c.rawTree(rawEntry("100644", "config", blob))
				tree := c.rawTree(rawEntry("40000", name, inner))
				commit := c.git("commit-tree", "-m", "hostile", tree)
				if fsck {
					c.fails([]string{"push", "fnhost", commit + ":refs/heads/main"})
					if len(r.deployed()) > 0 || r.repos.exists("hello") && len(r.objects("hello")) > 0 {
						t.Error("something was accepted")
					}
					return
				}
				// What fsck finds is also found without.
				_, err := r.list(t.Context(), filepath.Join(c.dir, ".git"), nil, commit, os.Stderr)
				if err == nil && name != "git~1" && name != "a/b" && !strings.HasPrefix(name, ".g") {
					t.Error("no error")
				}
			})
		}
	}
}

// Ten trees that hold each other ten times are ten thousand million files.
func TestAnEndlessTree(t *testing.T) {
	r := serve(t, Config{})
	c := newClone(t, r.url+"hello.git")
	c.commit("f", "x", "one")
	mode, id := "100644", c.git("rev-parse", "HEAD:f")
	for range 10 {
		var entries []string
		for i := range 10 {
			entries = append(entries, rawEntry(mode, fmt.Sprint("f", i), id))
		}
		mode, id = "40000", c.rawTree(entries...)
	}
	commit := c.git("commit-tree", "-m", "bomb", id)
	c.fails([]string{"push", "fnhost", commit + ":refs/heads/main"}, "the tree has more than 20000 files")
}

func TestLinksAreNotWrittenThrough(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	id := strings.Repeat("1", 40)
	_, err = writeFiles(bufio.NewReader(strings.NewReader(id+" blob 1\nx\n")), []entry{{"100644", id, 1, "d/f"}}, root)
	if left := listing(t, outside); err == nil || left != "" {
		t.Errorf("error %v, outside: %s", err, left)
	}
}

func TestNamesThatDifferByCaseOnly(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	id := strings.Repeat("1", 40)
	// The file system of this test may tell F from f; one that does not acts so.
	_, err = writeFiles(bufio.NewReader(strings.NewReader(strings.Repeat(id+" blob 1\nx\n", 2))), []entry{{"100644", id, 1, "f"}, {"100644", id, 1, "f"}}, root)
	if err == nil || !strings.Contains(err.Error(), "f is in the tree twice") {
		t.Errorf("error %v", err)
	}
}

func FuzzParseEntry(f *testing.F) {
	id := strings.Repeat("a", 40)
	f.Add("100644 blob " + id + "      12\tdir/file")
	f.Add("160000 commit " + id + "       -\tsub")
	f.Add("120000 blob " + id + " 9999999999999999999\t../x")
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parseEntry(line)
		if err != nil {
			return
		}
		if !filepath.IsLocal(e.path) || e.size < 0 || !isID(e.id) || len(e.path) > maxPath || strings.Contains("/"+strings.ToLower(e.path)+"/", "/.git/") {
			t.Errorf("%q is read as %+v", line, e)
		}
	})
}

func FuzzWriteFiles(f *testing.F) {
	id := strings.Repeat("1", 40)
	f.Add(id+" blob 3\nabc\n", "d/f", int64(3), modeLink)
	f.Add(id+" blob 3\nabc", "f", int64(3), "100644")
	f.Add(id+" missing\n", "f", int64(0), modeExecutable)
	f.Fuzz(func(t *testing.T, stream, name string, size int64, mode string) {
		if checkPath(name) != nil || size < 0 || strings.Contains(name, "\x00") {
			return
		}
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		links, err := writeFiles(bufio.NewReader(strings.NewReader(stream)), []entry{{mode, id, size, name}}, root)
		if err != nil || len(links) == 0 {
			return
		}
		if err := writeLinks(links, root); err == nil {
			if _, err := root.Stat(name); err != nil && strings.Contains(err.Error(), "escapes") {
				t.Errorf("link %+v is accepted: %v", links, err)
			}
		}
	})
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain é 世": "plain é 世", "a\x1b[31mb\u009bc\r\nd": "a[31mbcd", "bad\xffend": "bad�end",
		strings.Repeat("é", 600): strings.Repeat("é", 500) + "…",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
