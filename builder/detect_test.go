package builder

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDetectAcceptsEveryShape(t *testing.T) {
	const imports = "package f\n\nimport (\n\t\"context\"\n\t\"io\"\n\t\"net/http\"\n)\n\ntype In struct{}\n\n"
	tests := []struct {
		code string
		http bool
	}{
		{imports + "func Handle() {}", false},
		{imports + "func Handle() error { return nil }", false},
		{imports + "func Handle() (string, error) { return \"\", nil }", false},
		{imports + "func Handle() *In { return nil }", false},
		{imports + "func Handle(in In) {}", false},
		{imports + "func Handle(In) error { return nil }", false},
		{imports + "func Handle(in io.Reader) ([]byte, error) { return nil, nil }", false},
		{imports + "func Handle(in map[string][]In) (out any, err error) { return }", false},
		{imports + "func Handle(ctx context.Context) {}", false},
		{imports + "func Handle(context.Context, []byte) {}", false},
		{imports + "func Handle(_ context.Context, _ In) (In, error) { return In{}, nil }", false},
		{imports + "func Handle(ctx (context.Context), in In) {}", false},
		{imports + "func Handle(w http.ResponseWriter, r *http.Request) {}", true},
		{imports + "func Handle(http.ResponseWriter, *http.Request) {}", true},
		{"package f\nimport (web \"net/http\")\nfunc Handle(w web.ResponseWriter, r *web.Request) {}", true},
		{"package f\nimport (. \"net/http\"; . \"context\")\nfunc Handle(w ResponseWriter, r *Request) {}", true},
		{"package f\nimport (. \"context\"; . \"net/http\"; . \"io\")\nfunc Handle(ctx Context, r Reader) {}", false},
		{"package f\nimport c \"context\"\nfunc Handle(ctx c.Context, in string) {}", false},
		{"package f\nimport http \"example.com/m/http\"\nfunc Handle(r *http.Request) {}", false},
		{"package main\nfunc Handle() {}", false},
		{"//line /etc/passwd:7\npackage f\nfunc Handle() {}", false},
	}
	for _, test := range tests {
		t.Run(test.code[strings.LastIndex(test.code, "func"):], func(t *testing.T) {
			p, err := Detect(writeTree(t, map[string]string{"f.go": test.code}))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Handlers) != 1 || p.Handlers[0].HTTP != test.http || p.Handlers[0].Func != "Handle" || p.Handlers[0].Endpoint != "" {
				t.Errorf("handlers %+v, want one for the root with HTTP = %v", p.Handlers, test.http)
			}
		})
	}
}

func TestDetectRefusesAtThePlace(t *testing.T) {
	const imports = "package f; import (\"context\"; \"net/http\"); type In struct{}\n\n"
	const pair = "an http handler takes an http.ResponseWriter and an *http.Request, no more and no less"
	tests := []struct {
		name, code   string
		line, column int
		want         string // how the message begins
	}{
		{"two inputs", imports + "func Handle(a, b In) {}", 3, 6, "Handle is no handler: it takes 2 values besides the context; " + Shapes},
		{"three inputs", imports + "func HandleX(ctx context.Context, a In, b, c int) {}", 3, 6, "HandleX is no handler: it takes 3 values besides the context; "},
		{"context last", imports + "func Handle(a In, ctx context.Context) {}", 3, 6, "Handle is no handler: it takes 2 values besides the context; "},
		{"two contexts", imports + "func Handle(a, b context.Context) {}", 3, 6, "Handle is no handler: it takes two contexts; "},
		{"three results", imports + "func Handle() (a, b int, err error) { return }", 3, 6, "Handle is no handler: it returns 3 values; "},
		{"two results without error", imports + "func Handle() (int, string) { return 1, \"\" }", 3, 6, "Handle is no handler: the second of two results must be an error; "},
		{"error first", imports + "func Handle() (error, int) { return nil, 1 }", 3, 6, "Handle is no handler: the second of two results must be an error; "},
		{"variadic", imports + "func Handle(in ...In) {}", 3, 6, "Handle is no handler: it is variadic; "},
		{"type parameters", imports + "func Handle[T any](in T) {}", 3, 6, "Handle is no handler: it has type parameters; "},
		{"http request by value", imports + "func Handle(w http.ResponseWriter, r http.Request) {}", 3, 6, "Handle is no handler: after an http.ResponseWriter comes an *http.Request; "},
		{"http with a result", imports + "func Handle(w http.ResponseWriter, r *http.Request) error { return nil }", 3, 6, "Handle is no handler: an http handler returns nothing; "},
		{"http writer alone", imports + "func Handle(w http.ResponseWriter) {}", 3, 6, "Handle is no handler: " + pair},
		{"http request alone", imports + "func Handle(r *http.Request) {}", 3, 6, "Handle is no handler: " + pair},
		{"http with a context", imports + "func Handle(ctx context.Context, w http.ResponseWriter, r *http.Request) {}", 3, 6, "Handle is no handler: " + pair},
		{"http the other way round", imports + "func Handle(r *http.Request, w http.ResponseWriter) {}", 3, 6, "Handle is no handler: " + pair},
		{"behind a line directive", imports + "//line /etc/passwd:99\nfunc Handle(a, b In) {}", 4, 6, "Handle is no handler: it takes 2 values"},
		{"cgo", "package f\n\nimport \"C\"\n\nfunc Handle() {}", 3, 8, "functions are built without cgo"},
		{"syntax error", "package f\n\nfunc Handle( {}\n", 3, 14, "syntax error: expected ')', found '{'"},
		{"syntax error behind a line directive", "package f\n\n//line /etc/passwd:99\nvar x = = 1\n", 4, 9, "syntax error: expected operand, found '='"},
		{"empty file", "", 1, 1, "syntax error: expected 'package', found 'EOF'"},
		{"binary file", "\x7fELF\x00\x00", 1, 1, "syntax error: illegal character U+007F"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"f.go": test.code})
			_, err := Detect(dir)
			d := diagnosticsOf(t, err)[0]
			if d.File != dir+"/f.go" || d.Line != test.line || d.Column != test.column || !strings.HasPrefix(d.Message, test.want) {
				t.Errorf("diagnostic %s, want f.go:%d:%d: %s", d, test.line, test.column, test.want)
			}
			if !strings.HasSuffix(d.Excerpt, "^\n") {
				t.Errorf("excerpt %q", d.Excerpt)
			}
		})
	}
}

func TestDetectTellsOfThePackage(t *testing.T) {
	const serve = "package main\nimport %s\"github.com/fnhost/fnhost/functions\"\nfunc main() { %sServe() }\n"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"endpoints, sorted", map[string]string{
			"b.go": "package f\nfunc HandleHTTPGet() {}\nfunc Handle() {}\nfunc HandleV2() {}\n",
			"a.go": "package f\nfunc HandleCreateUser() {}\nfunc HandleÉtat() {}\nfunc HandleGet_it() {}\n",
		}, `f [a.go b.go] "" "create-user" "get-it" "http-get" "v2" "état"`},
		{"what is no handler", map[string]string{"f.go": "package f\ntype T int\nfunc Handle() {}\nfunc (T) HandleX(a, b, c int) {}\nfunc (T) Handle() {}\n" +
			"func Handler(a, b int) {}\nfunc Handles(a, b int) {}\nfunc handle(a, b int) {}\nfunc Handle2(a, b int) {}\nvar HandleV = 1\n"}, `f [f.go] ""`},
		{"files that are not built", map[string]string{
			"f.go": "package f\nfunc Handle() {}\n", "f_test.go": "package f_test\nfunc HandleA(", "x_windows.go": "package f\nfunc HandleB() {}\n", "x_linux.go": "package f\nfunc HandleC() {}\n",
			"ignored.go": "//go:build ignore\n\npackage main\n", "cgo.go": "//go:build cgo\n\npackage f\nimport \"C\"\n",
			"tag.go": "//go:build !linux\n\npackage f\n", "_x.go": "nonsense", ".x.go": "nonsense", "dir.go/x.go": "package x\n", "sub/f.go": "package sub\nfunc HandleSub() {}\n",
		}, `f [f.go x_linux.go] "" "c"`},
		{"main of its own", map[string]string{"f.go": fmt.Sprintf(serve, "", "functions.")}, `main [f.go] own`},
		{"main of its own, with an alias", map[string]string{"f.go": fmt.Sprintf(serve, "fn ", "fn.")}, `main [f.go] own`},
		{"main of its own, with a dot", map[string]string{"f.go": fmt.Sprintf(serve, ". ", "")}, `main [f.go] own`},
		{"main of its own, with functions of any shape", map[string]string{"f.go": fmt.Sprintf(serve, "", "functions.") + "func HandleX(a, b int) {}\n"}, `main [f.go] own`},
		{"main of its own that serves in another file", map[string]string{"a.go": "package main\nfunc main() { run() }\n",
			"b.go": "package main\nimport \"github.com/fnhost/fnhost/functions\"\nfunc run() { functions.Serve() }\n"}, `main [a.go b.go] own`},
		{"a method called main", map[string]string{"f.go": "package main\ntype T int\nfunc (T) main() {}\nfunc Handle() {}\n"}, `main [f.go] ""`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := Detect(writeTree(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(p.Name, " ", p.Files)
			if p.OwnMain {
				got += " own"
			} else {
				for _, h := range p.Handlers {
					got += fmt.Sprintf(" %q", h.Endpoint)
				}
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestDetectFindsNoFunction(t *testing.T) {
	const other = "package main\nimport functions \"example.com/functions\"\nfunc main() { functions.Serve() }\nfunc Handle() {}\n"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"empty directory", nil, Shapes},
		{"no Go file", map[string]string{"README.md": ""}, Shapes},
		{"only tests", map[string]string{"f_test.go": "package f\nfunc Handle() {}\n"}, Shapes},
		{"no handler", map[string]string{"f.go": "package f\nfunc Run() {}\n"}, Shapes},
		{"main without Serve", map[string]string{"f.go": "package main\nfunc main() {}\nfunc Handle() {}\n"}, "if it calls functions.Serve"},
		{"main with the Serve of another package", map[string]string{"f.go": other}, "if it calls functions.Serve"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Detect(writeTree(t, test.files))
			if !errors.Is(err, ErrNoHandler) || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("error %v, want %v that ends in %q", err, ErrNoHandler, test.want)
			}
		})
	}
}

func TestDetectRefusesWhatContradictsItself(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"two packages", map[string]string{"a.go": "package a\nfunc Handle() {}\n", "b.go": "// Package b.\npackage b\n"},
			"b.go:2:9: package b here, package a in a.go: a directory holds one package"},
		{"two functions of one endpoint", map[string]string{"a.go": "package f\nfunc HandleGetIt() {}\n", "b.go": "package f\n\nfunc HandleGet_it() {}\n"},
			`b.go:3: HandleGetIt and HandleGet_it are both the endpoint "get-it"`},
		{"several wrong shapes", map[string]string{"a.go": "package f\nfunc HandleA(a, b int) {}\nfunc HandleB() {}\n", "b.go": "package f\n\nfunc HandleC(...int) {}\n"},
			"a.go:2:6: HandleA is no handler: it takes 2 values besides the context; " + Shapes + "\nb.go:3:6: HandleC is no handler: it is variadic; " + Shapes},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeTree(t, test.files)
			_, err := Detect(dir)
			list := diagnosticsOf(t, err)
			if got := places(list, dir); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			for _, d := range list {
				if d.Excerpt == "" {
					t.Errorf("no excerpt for %s", d)
				}
			}
		})
	}
}

func TestDetectTellsOfDocumentationAndImports(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"a.go": "package f\n\nimport (\n\t\"os\"\n\t_ \"embed\"\n)\n\n// A comment.\n\n// Handle does it.\n//\n// At length.\n//\n//go:noinline\nfunc Handle() { os.Exit(1) }\n\nfunc HandleBare() {}\n",
		"b.go": "// Package f is an example.\npackage f\n\nimport \"os\"\n\nvar _ = os.Args\n",
	})
	p, err := Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Doc != "Package f is an example." || p.Dir != dir || !p.Embeds {
		t.Errorf("Doc = %q, Dir = %q, Embeds = %v", p.Doc, p.Dir, p.Embeds)
	}
	if want := []string{"embed", "os"}; !slices.Equal(p.Imports, want) {
		t.Errorf("Imports = %q, want %q", p.Imports, want)
	}
	want := []Handler{
		{Func: "Handle", Doc: "Handle does it.\n\nAt length.", File: dir + "/a.go", Line: 15},
		{Func: "HandleBare", Endpoint: "bare", File: dir + "/a.go", Line: 17},
	}
	if !slices.Equal(p.Handlers, want) {
		t.Errorf("Handlers = %+v, want %+v", p.Handlers, want)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("package f\n\nfunc Handle() {}\n")
	f.Add("package main\n\nimport . \"context\"\n\nfunc HandleA[T any](Context, ...int) (a, b error) { return }\n")
	f.Add("//line :0\npackage f\n//line x.go:-1:99999999999\nfunc Handle(a, b int) {}\n")
	f.Add("\ufeff//go:build (\npackage")
	f.Add("package f\nimport \"\\xff\"\nfunc Handle\xff_(")
	f.Add("package f\ntype A struct{ B; *A; C map[A]chan int `json:\"c\"`; D []struct{ E, F error } }\ntype B A\nfunc (*B) MarshalText() {}\nfunc Handle(A) (B, error) {}")
	dir := tempDir(f)
	f.Fuzz(func(t *testing.T, text string) {
		writeFiles(t, dir, map[string]string{"f.go": text})
		p, err := Detect(dir)
		if (p == nil) == (err == nil) {
			t.Fatalf("package %v and error %v", p, err)
		}
		var e *Error
		if errors.As(err, &e) {
			for _, d := range e.Diagnostics {
				if d.File != dir+"/f.go" || d.Message == "" || d.Line > strings.Count(text, "\n")+1 {
					t.Errorf("diagnostic %+v", d)
				}
			}
		}
		if err == nil && !p.OwnMain && len(p.Handlers) == 0 {
			t.Error("no handler and no error")
		}
	})
}
