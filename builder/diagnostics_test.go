package builder

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFailingBuildNamesPlaceAndReason(t *testing.T) {
	const module = "module example.com/m\n\ngo 1.26.0\n"
	const sync = "package f\n\nimport _ \"golang.org/x/sync/errgroup\"\n\nfunc Handle() {}\n"
	const missing = "package f\n\nimport _ \"example.com/nowhere/x\"\n\nfunc Handle() {}\n"
	tests := []struct {
		name  string
		files map[string]string
		want  string // diagnostics with paths relative to the tree, DIR for the tree itself
	}{
		{"type errors", map[string]string{
			"f.go": "package f\n\nimport \"os\"\n\nvar a int = \"x\"\n\nfunc g() (int, string) { return 1 }\n\nfunc Handle() { nothing() }\n",
			"g.go": "package f\n\nfunc g() {}\n",
		}, "f.go:3:8: \"os\" imported and not used\n" +
			"f.go:5:13: cannot use \"x\" (untyped string constant) as int value in variable declaration\n" +
			"f.go:7:33: not enough return values\n\thave (number)\n\twant (int, string)\n" +
			"f.go:9:17: undefined: nothing\n" +
			"g.go:3:6: g redeclared in this block\n\t./f.go:7:6: other declaration of g"},
		{"too many errors", map[string]string{"f.go": trivial + strings.Repeat("var _ = nothing\n", 20)},
			"f.go:4:9: undefined: nothing\nf.go:5:9: undefined: nothing\nf.go:6:9: undefined: nothing\nf.go:7:9: undefined: nothing\n" +
				"f.go:8:9: undefined: nothing\nf.go:9:9: undefined: nothing\nf.go:10:9: undefined: nothing\nf.go:11:9: undefined: nothing\n" +
				"f.go:12:9: undefined: nothing\nf.go:13:9: undefined: nothing\nf.go:13:9: too many errors"},
		{"a message that quotes a limit", map[string]string{"f.go": trivial + "var x int = \"file too large\"\n"},
			"f.go:4:13: cannot use \"file too large\" (untyped string constant) as int value in variable declaration"},
		{"function without body", map[string]string{"f.go": "package f\n\nfunc f()\n\nfunc Handle() { f() }\n"}, "f.go:3:6: missing function body"},
		{"package main", map[string]string{"f.go": "package main\n\nfunc Handle() { nothing() }\n"}, "f.go:3:17: undefined: nothing"},
		{"main of its own", map[string]string{"f.go": "package main\n\nimport \"github.com/fnhost/fnhost/functions\"\n\nfunc main() { functions.Serve(nothing) }\n"},
			"f.go:5:31: undefined: nothing"},
		{"another package of the module", map[string]string{"go.mod": module, "lib/l.go": "package lib\n\nvar X int = nothing\n",
			"f.go": "package f\n\nimport _ \"example.com/m/lib\"\n\nfunc Handle() {}\n"}, "lib/l.go:3:13: undefined: nothing"},
		{"syntax error in another package", map[string]string{"go.mod": module, "lib/l.go": "package lib\n\nvar X = = 1\n",
			"f.go": "package f\n\nimport _ \"example.com/m/lib\"\n\nfunc Handle() {}\n"}, "lib/l.go:3:9: syntax error: unexpected =, expected expression"},
		{"embedded file that is not there", map[string]string{"f.go": "package f\n\nimport _ \"embed\"\n\n//go:embed data\nvar x string\n\nfunc Handle() {}\n"},
			"f.go:5:12: pattern data: no matching files found"},
		{"dependency without go.mod", map[string]string{"f.go": missing},
			"f.go:3:8: no required module provides package example.com/nowhere/x; DIR has no go.mod: run `go mod init BASE && go mod tidy` there"},
		{"dependency that go.mod does not name", map[string]string{"f.go": missing, "go.mod": module},
			"f.go:3:8: no required module provides package example.com/nowhere/x; run `go get example.com/nowhere/x` in DIR"},
		{"dependency that go.sum does not name", map[string]string{"f.go": sync, "go.mod": module + "\nrequire golang.org/x/sync v0.24.0\n"},
			"f.go:3:8: missing go.sum entry for module providing package golang.org/x/sync/errgroup (imported by example.com/m); to add:\n\tgo get example.com/m"},
		{"dependency that needs a later go line", map[string]string{"f.go": sync, "go.sum": withSum(t), "go.mod": "module example.com/m\n\ngo 1.24\n\nrequire golang.org/x/sync v0.24.0\n"},
			"go: updates to go.mod needed, disabled by -mod=readonly; to update it:\n\tgo mod tidy"},
		{"go.mod with an unknown directive", map[string]string{"f.go": trivial, "go.mod": module + "\nnonsense\n"}, "go.mod:5:1: unknown directive: nonsense"},
		{"go.mod without module", map[string]string{"f.go": trivial, "go.mod": "go 1.26\n"}, "go.mod: no module line"},
		{"go.mod without go line", map[string]string{"f.go": trivial, "go.mod": "module example.com/m\n"}, "go.mod:1: functions need `go 1.23` or later here"},
		{"go.mod with an old go line", map[string]string{"f.go": trivial, "go.mod": "module example.com/m\n\ngo 1.20\n"}, "go.mod:3: functions need `go 1.23` or later here"},
		{"go.mod with a go line of the future", map[string]string{"f.go": trivial, "go.mod": "module example.com/m\n\ngo 1.999\n"}, "go.mod:3: it requires go >= 1.999 (running "},
		{"line directive", map[string]string{"f.go": trivial + "//line elsewhere.go:7\nvar x = nothing\n"}, "elsewhere.go:7: undefined: nothing"},
	}
	b := newBuilder(t, Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := writeTree(t, test.files)
			before := listing(t, dir)
			_, err := b.Build(t.Context(), Source{Dir: dir})
			list := diagnosticsOf(t, err)
			want := strings.NewReplacer("DIR", dir, "BASE", filepath.Base(dir)).Replace(test.want)
			if got := places(list, dir); got != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(got, want)) {
				t.Errorf("diagnostics:\n%s\nwant:\n%s", got, want)
			}
			for _, d := range list {
				if d.File != "" && !filepath.IsAbs(d.File) {
					t.Errorf("relative path %s", d.File)
				}
				if d.Line > 0 && d.Excerpt == "" && test.name != "line directive" {
					t.Errorf("no excerpt for %s", d)
				}
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the tree of the user has changed, from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestALineDirectiveQuotesNoFileOfTheHost(t *testing.T) {
	outside := writeTree(t, map[string]string{"secret.go": "package secret\n\nconst Key = 1234\n"})
	for name, text := range map[string]string{
		"type error": trivial + "//line " + outside + "/secret.go:3\nvar x = nothing\n",
		"handler":    "package f\n\n//line " + outside + "/secret.go:3\nfunc Handle(a, b int) {}\n",
		"package":    trivial + "//line " + outside + "/secret.go:2\nvar x = = 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"f.go": text})
			_, err := newBuilder(t, Config{}).Build(t.Context(), Source{Dir: dir})
			for _, d := range diagnosticsOf(t, err) {
				if strings.Contains(d.Excerpt, "1234") {
					t.Errorf("%s\n%s", d, d.Excerpt)
				}
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	const text = "one\r\n\ttwo\r\nthrée x\nfour"
	tests := []struct {
		name         string
		line, column int
		want         string
	}{
		{"first line", 1, 2, "    1 | one\n      |  ^\n"},
		{"tabs stay tabs", 2, 2, "    1 | one\n    2 | \ttwo\n      | \t^\n"},
		{"columns are bytes", 3, 8, "    1 | one\n    2 | \ttwo\n    3 | thrée x\n      |       ^\n"},
		{"no column", 4, 0, "    2 | \ttwo\n    3 | thrée x\n    4 | four\n"},
		{"column behind the line", 4, 99, "    2 | \ttwo\n    3 | thrée x\n    4 | four\n      |     ^\n"},
		{"line behind the file", 9, 1, ""},
	}
	dir := writeTree(t, map[string]string{"f.go": text})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list := []Diagnostic{{File: filepath.Join(dir, "f.go"), Line: test.line, Column: test.column}}
			AddExcerpts(list)
			if list[0].Excerpt != test.want {
				t.Errorf("excerpt:\n%swant:\n%s", list[0].Excerpt, test.want)
			}
		})
	}
}

func TestDiagnosticText(t *testing.T) {
	tests := []struct {
		d         Diagnostic
		dir, want string
	}{
		{Diagnostic{Message: "m"}, "/a", "m"},
		{Diagnostic{File: "/a/b.go", Message: "m"}, "/a", "b.go: m"},
		{Diagnostic{File: "/a/b.go", Line: 1, Message: "m"}, "/a", "b.go:1: m"},
		{Diagnostic{File: "/a/b.go", Line: 1, Column: 2, Message: "m"}, "/a", "b.go:1:2: m"},
		{Diagnostic{File: "/a/b.go", Line: 1, Column: 2, Message: "m"}, "", "/a/b.go:1:2: m"},
		{Diagnostic{File: "/ab/b.go", Line: 1, Column: 2, Message: "m"}, "/a", "/ab/b.go:1:2: m"},
	}
	for _, test := range tests {
		if got := test.d.Text(test.dir); got != test.want {
			t.Errorf("Text(%q) = %q, want %q", test.dir, got, test.want)
		}
	}
	e := &Error{Diagnostics: []Diagnostic{tests[0].d, tests[1].d}}
	if got, want := e.Error(), "m\n/a/b.go: m"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestScanTellsWhatNeedsNoCompiler(t *testing.T) {
	b := newBuilder(t, Config{})
	if _, _, err := b.Scan(Source{Dir: writeTree(t, map[string]string{"f.go": "package f\n"})}); !errors.Is(err, ErrNoHandler) {
		t.Errorf("error %v, want %v", err, ErrNoHandler)
	}
	_, _, err := b.Scan(Source{Dir: writeTree(t, map[string]string{"f.go": trivial, "go.mod": "module m\n\ngo 1.1\n"})})
	diagnosticsOf(t, err)
	root := writeTree(t, map[string]string{"fn/f.go": "package f\n\nimport _ \"m/lib\"\n\nfunc Handle() {}\n", "lib/l.go": "package lib\n", "other/o.go": "package o\n", "go.mod": "module m\n\ngo 1.26\n"})
	id, watch, err := b.Scan(Source{Dir: filepath.Join(root, "fn"), Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.ReplaceAll(strings.Join(watch, " "), root, "R"), "R R/fn R/lib"; got != want {
		t.Errorf("Watch = %s, want %s", got, want)
	}
	if a := mustBuild(t, b, Source{Dir: filepath.Join(root, "fn"), Root: root}); a.ID != id {
		t.Errorf("Build's ID %s, Scan's %s", a.ID, id)
	}
	if _, _, err := b.Scan(Source{Dir: filepath.Join(root, "nowhere")}); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}
