package bundle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Git says what is right.
func TestPatternsMeanWhatGitSays(t *testing.T) {
	names := []string{
		"a", "b", "ab", "ab.log", "a ", "#a", "!a", "a]", "-", "é", "*", "A", "1",
		"d/a", "d/e/a", "d/e/ab.log", "foobar", "foox/bar", "foo/bar", "foo/x/bar", "x/y/bar", "d/.env",
	}
	lists := []string{
		"a", "a\n", "a\r\n", "\ufeffa\n", "a ", "a\\ ", "a\\ \\", "a b", "#a", "\\#a", "!a", "\\!a", "*\n!a", "!!a", "a\t", "a\\", "\\a", "/", "//", "/a", "/a/", "a/", "d/", "!d/\nd/", "d\n!d/a",
		"d/*\n!d/a", "d/**\n!d/e/\n", "/d/a", "d/a", "d/e", "d/e/", "d/e/*", "d/*/a", "*/a", "**/a", "**/e/a", "d/**", "d/**/a", "/**", "**", "**/", "***/a", "d/**/**/a", "a**", "**a", "d**/a", "d/a**",
		"foo**/bar", "/foo**", "/foo**bar", "f?o**/bar", "x/**/bar", "**/bar\n!x/**/bar", "x**bar", "x/**bar", "/*\n!/foo\n/foo/*\n!/foo/bar", "/*\n!/foo/", "/*/\n!/foo/", "foo/\n!foo/bar",
		"?", "??", "[a-z]", "[!a-z]", "[^a-z]", "[a", "[]a]", "[!]a]", "[]", "[!]", "[a-]", "[-a]", "[a\\-z]", "[\\]]", "[[]", "[[:alpha:]]", "[![:alnum:]]", "[[:nothing:]]", "[[:alpha:", "[[:alpha:]_-]", "[[:]", "[z-a]", "[a-[:digit:]]",
		"[[:upper:]]", "[[:punct:]]", "[\\a-c]", "[a-\\c]", "[a\\", "d[/]a", "d[!x]a", "d[--0]a", "d\\/a", "**\\/a", "\\**", "\\*", "*.log", "*b*", "a*b*", ".*", "*.*", "*", "!*", "*/", "!*/", "*\n!*/\n!*.log", ".env\n!d/.env", "é", "é?", "[é]", "??*",
	}
	repo := t.TempDir()
	git(t, repo, "init", "-q", "--template=")
	for _, name := range names {
		writeOne(t, filepath.Join(repo, name), "")
	}
	for _, list := range lists {
		writeOne(t, filepath.Join(repo, ".gitignore"), list)
		compare(t, repo, []string{repo})
	}
}

// Random patterns of few characters, so that they match something, in ignore
// files of all levels, also above what is packed.
func TestSelectionIsThatOfGit(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	compareRandom(t, rand.New(rand.NewPCG(seed, 0)), 25)
}

func compareRandom(t testing.TB, r *rand.Rand, trees int) {
	t.Helper()
	repo := t.TempDir()
	git(t, repo, "init", "-q", "--template=")
	// The cases themselves are never ignored: git would not look into them.
	writeOne(t, filepath.Join(repo, ".gitignore"), randomPatterns(r)+"!/[0-9]/\n!/[0-9]/[0-9]*/\n")
	var all []string
	for i := range trees {
		group := filepath.Join(repo, fmt.Sprint(i%5))
		if i < 3 {
			writeOne(t, filepath.Join(group, ".gitignore"), randomPatterns(r)+"!/[0-9]*/\n")
		}
		dir := filepath.Join(group, fmt.Sprint(i))
		for range 10 {
			writeOne(t, filepath.Join(dir, randomPath(r)), "")
		}
		for _, sub := range []string{".", "a", "a/b", "b"} {
			if info, err := os.Stat(filepath.Join(dir, sub)); err == nil && info.IsDir() && r.IntN(3) > 0 {
				writeOne(t, filepath.Join(dir, sub, ".gitignore"), randomPatterns(r))
			}
		}
		all = append(all, dir)
	}
	compare(t, repo, all)
}

// compare holds what would be packed of each directory against git.
func compare(t testing.TB, repo string, dirs []string) {
	t.Helper()
	want := gitFiles(t, repo)
	for _, dir := range dirs {
		s, err := Inspect(t.Context(), dir, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(repo, dir)
		if err != nil {
			t.Fatal(err)
		}
		var theirs []string
		for _, path := range want {
			if name, ok := strings.CutPrefix(path, rel+"/"); ok || rel == "." {
				theirs = append(theirs, name)
			}
		}
		if got := paths(s); !slices.Equal(got, theirs) {
			t.Errorf("%s\n got %q\nwant %q", describeRules(t, repo, dir), got, theirs)
		}
	}
}

// describeRules shows the ignore files that matter for dir.
func describeRules(t testing.TB, repo, dir string) string {
	t.Helper()
	var b strings.Builder
	for d := filepath.Dir(dir); strings.HasPrefix(d, repo); d = filepath.Dir(d) {
		if data, err := os.ReadFile(filepath.Join(d, ".gitignore")); err == nil {
			fmt.Fprintf(&b, "above: %q\n", data)
		}
	}
	for name, content := range readTree(t, dir) {
		if filepath.Base(name) == ".gitignore" {
			fmt.Fprintf(&b, "%s: %q\n", name, content)
		}
	}
	return b.String()
}

// writeOne writes a file, unless a file is where its directory must be or the reverse.
func writeOne(t testing.TB, path, content string) {
	t.Helper()
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		os.WriteFile(path, []byte(content), 0o644)
	}
}

func randomPath(r *rand.Rand) string {
	parts := make([]string, 1+r.IntN(4))
	for i := range parts {
		parts[i] = []string{"a", "b", "ab", "ba", "aa", "a.b", "[a", "!", "é"}[min(r.IntN(9), r.IntN(9))]
	}
	return strings.Join(parts, "/")
}

func randomPatterns(r *rand.Rand) string {
	tokens := []string{"a", "b", "/", "*", "**", "a", "/", "**/", "/**", "?", "[ab]", "[!a]", "[^b]", "!", "\\", ".", "\\/", "[", "]", "[[:alpha:]]", "é", " ", "#"}
	var b strings.Builder
	for range 1 + r.IntN(3) {
		if r.IntN(3) == 0 {
			b.WriteString("!")
		}
		for range 1 + r.IntN(6) {
			b.WriteString(tokens[min(r.IntN(len(tokens)), r.IntN(len(tokens)))])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// FuzzSelectionIsThatOfGit looks for patterns that git reads in another way.
func FuzzSelectionIsThatOfGit(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compareRandom(t, rand.New(rand.NewPCG(seed, 0)), 5) })
}
