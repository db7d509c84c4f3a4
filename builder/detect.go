package builder

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fnhost/fnhost"
)

// Shapes is the text that names the accepted handlers, for error messages.
const Shapes = `a handler is one of
	func Handle(w http.ResponseWriter, r *http.Request)
	func Handle([ctx context.Context], [in In]) ([Out], [error])
where In and Out are types of your own, []byte, string or io.Reader, and each part in [ ] may be left out`

// Handler is one handler function of a source.
type Handler struct {
	Endpoint string // "" for Handle, "create-user" for HandleCreateUser
	Func     string // its Go name
	HTTP     bool   // of the net/http shape
	Value    bool   // it takes a value of some type that is no event
	Doc      string // its comment
	File     string
	Line     int
}

// Package is what parsing tells of a source directory.
type Package struct {
	Name     string
	Doc      string
	Dir      string
	Files    []string // Go files that take part in the build, as base names, sorted
	Imports  []string // of those files, sorted, without duplicates
	Embeds   bool     // some file imports embed, as //go:embed asks for
	Handlers []Handler
	// Docs are the comments of its types, by their names, and of the fields of
	// those, as "Order.ID", or "Order.Address.Street" in a struct without a name:
	// the comment above, or else the one behind. Nil for none.
	Docs map[string]string
	// Publishes are the subjects that its source publishes on, as far as they are
	// constants: a function that publishes what starts it is found by them.
	Publishes []Publish
	// Path is the package's path in the program, "main" for a main package. Only
	// a build knows it: it is empty after Detect.
	Path string
	// Module is the path of its module, [BareModule] for none, and ModuleDir where
	// that lies: what a stack calls Module/x.go is the file x.go there. Only a build
	// knows them.
	Module, ModuleDir string
	// OwnMain is set for a program with a main of its own that calls
	// functions.Serve: it is built as it is.
	OwnMain bool
}

// Detect parses the Go files of dir that build for this machine, without cgo, and
// finds its handlers. It returns an error that wraps [ErrNoHandler] if it has
// none, and an *[Error] for syntax errors, handlers of no accepted shape,
// and those whose types, as far as this package declares them, JSON has nothing for.
func Detect(dir string) (*Package, error) {
	names, err := goFiles(dir)
	if err != nil {
		return nil, err
	}
	d := detector{fset: token.NewFileSet(), pkg: &Package{Dir: dir, Files: names},
		types: make(map[string]typeDecl), ownJSON: make(map[string]bool), consts: make(map[string]ast.Expr)}
	for _, name := range names {
		if err := d.file(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return d.result()
}

// buildContext is that of a build: this machine, without cgo.
func buildContext() *build.Context {
	ctx := build.Default
	ctx.CgoEnabled = false
	ctx.BuildTags = nil
	return &ctx
}

// goFiles lists the Go files of dir, without tests, that match the build.
func goFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ctx := buildContext()
	var names []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		// Not a directory, nor a pipe, which would be waited for.
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.Mode().IsRegular() {
			continue
		}
		if ok, err := ctx.MatchFile(dir, name); err == nil && !ok {
			continue
		}
		names = append(names, name) // a file that cannot be read is an error later, at its place
	}
	return names, nil
}

type detector struct {
	fset    *token.FileSet
	pkg     *Package
	errs    []Diagnostic
	hasMain bool
	serves  bool   // functions.Serve is called
	first   string // the file that named the package
	types   map[string]typeDecl
	ownJSON map[string]bool // types with methods that encode or decode them
	typed   []typedHandler

	published []published
	consts    map[string]ast.Expr // of the package, by name
}

func (d *detector) file(path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return failure(path, 0, 0, "%v", err)
	}
	f, err := parser.ParseFile(d.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return syntaxErrors(path, src, err)
	}
	switch {
	case d.first == "":
		d.first, d.pkg.Name = path, f.Name.Name
	case d.pkg.Name != f.Name.Name:
		p := d.fset.PositionFor(f.Name.Pos(), false)
		return failure(path, p.Line, p.Column, "package %s here, package %s in %s: a directory holds one package",
			f.Name.Name, d.pkg.Name, filepath.Base(d.first))
	}
	if f.Doc != nil && d.pkg.Doc == "" {
		d.pkg.Doc = strings.TrimSpace(f.Doc.Text())
	}
	imports := make(map[string]string) // local name → path
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if path == "C" {
			p := d.fset.PositionFor(spec.Pos(), false)
			d.errs = append(d.errs, Diagnostic{File: p.Filename, Line: p.Line, Column: p.Column, Message: "functions are built without cgo"})
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			name += path // there may be several
		}
		imports[name] = path
		d.pkg.Imports = append(d.pkg.Imports, path)
		d.pkg.Embeds = d.pkg.Embeds || path == "embed"
	}
	d.publishes(f, imports)
	if f.Name.Name == "main" {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			d.serves = d.serves || ok && isNamed(e, imports, fnhost.Module+"/functions", "Serve")
			return !d.serves
		})
	}
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				d.function(decl, imports)
			} else {
				d.method(decl)
			}
		case *ast.GenDecl:
			d.typeDecls(decl, imports)
		}
	}
	return nil
}

func syntaxErrors(path string, src []byte, err error) error {
	list, ok := err.(scanner.ErrorList)
	if !ok {
		return failure(path, 0, 0, "%v", err)
	}
	e := &Error{}
	for _, s := range list[:min(len(list), 10)] {
		before := src[:min(s.Pos.Offset, len(src))] // Pos.Line is what a //line directive makes of it
		line, column := bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n')
		e.Diagnostics = append(e.Diagnostics, Diagnostic{File: path, Line: line, Column: column, Message: "syntax error: " + s.Msg})
	}
	AddExcerpts(e.Diagnostics)
	return e
}

// function looks at one top-level function.
func (d *detector) function(fn *ast.FuncDecl, imports map[string]string) {
	name := fn.Name.Name
	if name == "main" {
		d.hasMain = true
	}
	rest, ok := strings.CutPrefix(name, "Handle")
	if !ok || rest != "" && !unicode.IsUpper([]rune(rest)[0]) {
		return
	}
	p := d.fset.PositionFor(fn.Name.Pos(), false) // a //line directive may name any file of the host
	h := Handler{Endpoint: kebab(rest), Func: name, Doc: strings.TrimSpace(fn.Doc.Text()), File: p.Filename, Line: p.Line}
	isHTTP, problem := classify(fn.Type, imports)
	if problem != "" {
		d.errs = append(d.errs, Diagnostic{File: p.Filename, Line: p.Line, Column: p.Column,
			Message: fmt.Sprintf("%s is no handler: %s; %s", name, problem, Shapes)})
		return
	}
	if h.HTTP = isHTTP; !isHTTP {
		h.Value = takesValue(fn.Type, imports)
		d.typed = append(d.typed, typedHandler{name, fn.Type, imports})
	}
	d.pkg.Handlers = append(d.pkg.Handlers, h)
}

// classify tells which shape a function has, or what keeps it from having one.
func classify(t *ast.FuncType, imports map[string]string) (isHTTP bool, problem string) {
	if t.TypeParams != nil {
		return false, "it has type parameters"
	}
	params, results := flatten(t.Params), flatten(t.Results)
	if slices.ContainsFunc(params, func(e ast.Expr) bool { _, ok := e.(*ast.Ellipsis); return ok }) {
		return false, "it is variadic"
	}
	if len(params) == 2 && isNamed(params[0], imports, "net/http", "ResponseWriter") {
		star, ok := params[1].(*ast.StarExpr)
		if !ok || !isNamed(star.X, imports, "net/http", "Request") {
			return false, "after an http.ResponseWriter comes an *http.Request"
		}
		if len(results) > 0 {
			return false, "an http handler returns nothing"
		}
		return true, ""
	}
	if len(params) > 0 && isNamed(params[0], imports, "context", "Context") {
		params = params[1:]
	}
	if slices.ContainsFunc(params, func(e ast.Expr) bool { return isHTTPParam(e, imports) }) {
		return false, "an http handler takes an http.ResponseWriter and an *http.Request, no more and no less"
	}
	switch {
	case len(params) > 1:
		return false, fmt.Sprintf("it takes %d values besides the context", len(params))
	case len(results) > 2:
		return false, fmt.Sprintf("it returns %d values", len(results))
	case len(results) == 2 && !isIdent(results[1], "error"):
		return false, "the second of two results must be an error"
	case len(params) == 1 && isNamed(params[0], imports, "context", "Context"):
		return false, "it takes two contexts"
	}
	return false, ""
}

// takesValue reports whether a handler takes something that is no event.
func takesValue(t *ast.FuncType, imports map[string]string) bool {
	params := flatten(t.Params)
	if len(params) == 0 {
		return false
	}
	last := params[len(params)-1]
	if slice, ok := last.(*ast.ArrayType); ok && slice.Len == nil {
		last = slice.Elt
	}
	return !isNamed(last, imports, "context", "Context") && !isNamed(last, imports, fnhost.Module+"/functions", "Event")
}

// isHTTPParam reports whether e is one of the types that only http handlers take.
func isHTTPParam(e ast.Expr, imports map[string]string) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		return isNamed(star.X, imports, "net/http", "Request")
	}
	return isNamed(e, imports, "net/http", "ResponseWriter")
}

// flatten returns the type of each parameter, so that (a, b int) gives two.
func flatten(list *ast.FieldList) []ast.Expr {
	if list == nil {
		return nil
	}
	var types []ast.Expr
	for _, f := range list.List {
		for range max(1, len(f.Names)) {
			types = append(types, ast.Unparen(f.Type))
		}
	}
	return types
}

// isNamed reports whether e is the type name of the package path.
func isNamed(e ast.Expr, imports map[string]string, path, name string) bool {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		x, ok := sel.X.(*ast.Ident)
		return ok && sel.Sel.Name == name && imports[x.Name] == path
	}
	return imports["."+path] == path && isIdent(e, name)
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func (d *detector) result() (*Package, error) {
	p := d.pkg
	slices.Sort(p.Imports)
	p.Imports = slices.Compact(p.Imports)
	p.OwnMain = d.hasMain && d.serves
	p.Publishes = d.subjects()
	if p.Name == "main" && d.hasMain && !d.serves {
		return nil, fmt.Errorf("%w in %s: a program with a main of its own is a function if it calls functions.Serve", ErrNoHandler, p.Dir)
	}
	if p.OwnMain {
		return p, nil // its functions need no shape
	}
	for _, h := range d.typed {
		d.checkTypes(h)
	}
	if len(d.errs) > 0 {
		AddExcerpts(d.errs)
		return nil, &Error{Diagnostics: d.errs}
	}
	if len(p.Handlers) == 0 {
		return nil, fmt.Errorf("%w in %s: %s", ErrNoHandler, p.Dir, Shapes)
	}
	slices.SortFunc(p.Handlers, func(a, b Handler) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	for i, h := range p.Handlers[1:] {
		if before := p.Handlers[i]; before.Endpoint == h.Endpoint {
			return nil, failure(h.File, h.Line, 0, "%s and %s are both the endpoint %q", before.Func, h.Func, h.Endpoint)
		}
	}
	return p, nil
}

// kebab turns "CreateUser" into "create-user" and "HTTPGet" into "http-get".
func kebab(s string) string {
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		startsWord := unicode.IsUpper(r) && i > 0 &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if startsWord && runes[i-1] != '_' {
			b.WriteByte('-')
		}
		if r == '_' {
			r = '-'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
