package builder

import (
	"go/ast"
	"go/token"
	"strings"
)

// typeDecl is a type that the package declares.
type typeDecl struct {
	spec    *ast.TypeSpec
	imports map[string]string // of its file: local name → path
}

// typeDecls keeps the types that decl declares, and their comments.
func (d *detector) typeDecls(decl *ast.GenDecl, imports map[string]string) {
	if decl.Tok != token.TYPE {
		return
	}
	for _, s := range decl.Specs {
		spec := s.(*ast.TypeSpec)
		d.types[spec.Name.Name] = typeDecl{spec, imports}
		doc := spec.Doc
		if doc == nil && !decl.Lparen.IsValid() {
			doc = decl.Doc
		}
		d.addDoc(spec.Name.Name, doc, spec.Comment)
		d.fieldDocs(spec.Name.Name, spec.Type)
	}
}

// fieldDocs keeps the comments of the fields of e, the type that stands at place.
func (d *detector) fieldDocs(place string, e ast.Expr) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		d.fieldDocs(place, e.X)
	case *ast.StarExpr:
		d.fieldDocs(place, e.X)
	case *ast.ArrayType:
		d.fieldDocs(place, e.Elt)
	case *ast.MapType:
		d.fieldDocs(place, e.Value)
	case *ast.StructType:
		for _, f := range e.Fields.List {
			for _, name := range f.Names {
				if name.IsExported() {
					d.addDoc(place+"."+name.Name, f.Doc, f.Comment)
					d.fieldDocs(place+"."+name.Name, f.Type)
				}
			}
			if name := embeddedName(f); name != "" { // counts if a tag makes it a field
				d.addDoc(place+"."+name, f.Doc, f.Comment)
			}
		}
	}
}

// embeddedName returns the name of an embedded field, "" for one that is none.
func embeddedName(f *ast.Field) string {
	if len(f.Names) > 0 {
		return ""
	}
	e := f.Type
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.SelectorExpr:
			return x.Sel.Name
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// addDoc keeps the comment above what name names, or else the one behind it.
func (d *detector) addDoc(name string, above, behind *ast.CommentGroup) {
	text := strings.TrimSpace(above.Text())
	if text == "" {
		text = strings.TrimSpace(behind.Text())
	}
	if text == "" {
		return
	}
	if d.pkg.Docs == nil {
		d.pkg.Docs = make(map[string]string)
	}
	d.pkg.Docs[name] = text
}
