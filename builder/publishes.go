package builder

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/fnhost/fnhost"
)

// Publish is a call of functions.Publish in a source, as far as parsing tells its
// subject.
type Publish struct {
	Subject string `json:"subject"`
	File    string `json:"file"` // base name
	Line    int    `json:"line"`
}

// published is a call whose subject is not known yet: it may be a constant of
// another file.
type published struct {
	Publish
	subject ast.Expr
}

// publishes collects the calls of functions.Publish in a file, and what constants it
// declares.
func (d *detector) publishes(f *ast.File, imports map[string]string) {
	const library = fnhost.Module + "/functions"
	used := false
	for _, path := range imports {
		used = used || path == library
	}
	for _, decl := range f.Decls {
		if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.CONST {
			d.constants(g)
		}
	}
	if !used {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 || !isNamed(call.Fun, imports, library, "Publish") {
			return true
		}
		p := d.fset.PositionFor(call.Pos(), false)
		d.published = append(d.published, published{Publish{File: filepath.Base(p.Filename), Line: p.Line}, call.Args[1]})
		return true
	})
}

func (d *detector) constants(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || len(v.Names) != len(v.Values) {
			continue
		}
		for i, name := range v.Names {
			d.consts[name.Name] = v.Values[i]
		}
	}
}

// subjects are the calls whose subject is a constant, without repetitions of it.
func (d *detector) subjects() (list []Publish) {
	for _, p := range d.published {
		subject, ok := d.constant(p.subject, 0)
		if ok && !slices.ContainsFunc(list, func(other Publish) bool { return other.Subject == subject }) {
			p.Subject = subject
			list = append(list, p.Publish)
		}
	}
	return list
}

// constant returns the text of a literal, a constant of the package, or several of
// them that are put together.
func (d *detector) constant(e ast.Expr, depth int) (string, bool) {
	if depth > 10 { // one that is made of itself, which does not compile
		return "", false
	}
	switch e := ast.Unparen(e).(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, e.Kind == token.STRING && err == nil
	case *ast.Ident:
		if value, ok := d.consts[e.Name]; ok {
			return d.constant(value, depth+1)
		}
	case *ast.BinaryExpr:
		left, ok := d.constant(e.X, depth+1)
		right, also := d.constant(e.Y, depth+1)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}
