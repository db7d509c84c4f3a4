package builder

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/printer"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// What JSON has nothing for is refused where the source of the package shows it,
// so that it has a line. The rules are those of encoding/json; what they say of
// types of other packages, of type parameters, and of types with methods of
// their own is left to the worker, which knows all types (see package functions).

// typedHandler is a handler whose types are looked at once all are known.
type typedHandler struct {
	name    string
	t       *ast.FuncType
	imports map[string]string
}

// misfit is a part of a type that JSON has nothing for.
type misfit struct {
	at   ast.Expr // what the field, or the handler, says it is
	t    ast.Expr
	path string // where it lies, "Lines[].Done", "" for the type itself
	what string // "a channel"
	do   string // what to do instead
}

// checkTypes notes what JSON has nothing for in what h takes and returns.
func (d *detector) checkTypes(h typedHandler) {
	params, results := flatten(h.t.Params), flatten(h.t.Results)
	if len(params) > 0 && isNamed(params[0], h.imports, "context", "Context") {
		params = params[1:]
	}
	if n := len(results); n > 0 && isIdent(results[n-1], "error") {
		results = results[:n-1]
	}
	for _, side := range []struct {
		types []ast.Expr
		input bool
		text  string
	}{{params, true, "no JSON becomes its input"}, {results, false, "its result never becomes JSON"}} {
		if len(side.types) == 0 {
			continue
		}
		root := side.types[0]
		if !side.input {
			root = streamed(root, h.imports)
		}
		c := &fitCheck{detector: d, input: side.input, at: root, left: maxParts, seen: make(map[string]bool)}
		if m := c.find(root, h.imports, ""); m != nil {
			p := d.fset.PositionFor(m.at.Pos(), false)
			d.errs = append(d.errs, Diagnostic{File: p.Filename, Line: p.Line, Column: p.Column,
				Message: fmt.Sprintf("%s is no handler: %s: %s", h.name, side.text, m.text(d, root))})
		}
	}
}

// streamed returns T for an iter.Seq[T] or iter.Seq2[T, error], otherwise e.
func streamed(e ast.Expr, imports map[string]string) ast.Expr {
	switch x := ast.Unparen(e).(type) {
	case *ast.IndexExpr:
		if isNamed(x.X, imports, "iter", "Seq") {
			return x.Index
		}
	case *ast.IndexListExpr:
		if isNamed(x.X, imports, "iter", "Seq2") {
			return x.Indices[0]
		}
	}
	return e
}

func (m *misfit) text(d *detector, root ast.Expr) string {
	for star, ok := root.(*ast.StarExpr); ok; star, ok = root.(*ast.StarExpr) {
		root = star.X
	}
	where := d.print(root)
	if m.path != "" {
		where = m.path + " of " + where
	}
	return fmt.Sprintf("%s is %s (%s): %s", where, m.what, d.print(m.t), m.do)
}

func (d *detector) print(e ast.Expr) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, d.fset, e); err != nil {
		return "a type"
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// fitCheck looks through one type.
type fitCheck struct {
	*detector
	input bool
	at    ast.Expr        // the field, or the parameter, that is looked at
	left  int             // how many more parts are looked at
	seen  map[string]bool // of declared types
}

// maxParts bounds how much of a type is looked at: what is declared in terms of
// itself has no end.
const maxParts = 100_000

func (c *fitCheck) find(e ast.Expr, imports map[string]string, path string) *misfit {
	switch x := ast.Unparen(e).(type) {
	case *ast.StarExpr:
		return c.find(x.X, imports, path)
	case *ast.ArrayType:
		return c.find(x.Elt, imports, path+"[]")
	case *ast.MapType:
		if !c.mayBeKey(x.Key) {
			return c.misfit(e, path, "a map with keys that are no text", "use strings or whole numbers as keys, or a key type with MarshalText and UnmarshalText")
		}
		return c.find(x.Value, imports, path+"[]")
	case *ast.StructType:
		return c.fields(x, imports, path)
	case *ast.Ident:
		if _, ok := c.types[x.Name]; ok {
			return c.declared(x.Name, path)
		}
	}
	returned := path == "" && !c.input
	what := c.never(ast.Unparen(e), imports, returned)
	switch {
	case what == "":
		return nil
	case what == channel && returned:
		return c.misfit(e, path, what, "return an iter.Seq, which goes out as it is yielded")
	}
	return c.misfit(e, path, what, "use a type that has JSON")
}

const channel = "a channel"

// never says what e is, if JSON has nothing for it; returned is set for what a
// handler returns itself.
func (c *fitCheck) never(e ast.Expr, imports map[string]string, returned bool) string {
	switch x := e.(type) {
	case *ast.ChanType:
		return channel
	case *ast.FuncType:
		stream := returned && len(flatten(x.Params)) == 1 && x.Results == nil // perhaps
		if !stream {
			return "a function"
		}
	case *ast.InterfaceType:
		if c.input && hasMethods(x) {
			return "an interface with methods"
		}
	case *ast.SelectorExpr:
		if isNamed(x, imports, "unsafe", "Pointer") {
			return "an unsafe pointer"
		}
	case *ast.Ident:
		switch {
		case x.Name == "complex64" || x.Name == "complex128":
			return "a complex number"
		case x.Name == "error" && c.input:
			return "an interface with methods"
		}
	}
	return ""
}

// misfit returns what is wrong with e, and with a field the other way out.
func (c *fitCheck) misfit(e ast.Expr, path, what, do string) *misfit {
	if strings.Trim(path, "[]") != "" {
		do += `, or leave the field out with the tag json:"-"`
	}
	return &misfit{c.at, e, path, what, do}
}

func hasMethods(t *ast.InterfaceType) bool {
	return slices.ContainsFunc(t.Methods.List, func(f *ast.Field) bool { return len(f.Names) > 0 })
}

func (c *fitCheck) declared(name, path string) *misfit {
	decl := c.types[name]
	if c.seen[name] || c.ownJSON[name] || decl.spec.TypeParams != nil {
		return nil
	}
	c.seen[name] = true
	return c.find(decl.spec.Type, decl.imports, path)
}

// mayBeKey reports whether a map with keys of type e may be an object in JSON.
func (c *fitCheck) mayBeKey(e ast.Expr) bool {
	if c.left--; c.left < 0 {
		return true
	}
	switch x := ast.Unparen(e).(type) {
	case *ast.ChanType, *ast.ArrayType:
		return false
	case *ast.InterfaceType:
		return len(x.Methods.List) > 0
	case *ast.StructType: // may have the methods of what it embeds
		return slices.ContainsFunc(x.Fields.List, func(f *ast.Field) bool { return len(f.Names) == 0 })
	case *ast.Ident:
		decl, ok := c.types[x.Name]
		if !ok {
			return !slices.Contains([]string{"bool", "float32", "float64", "complex64", "complex128", "any", "error"}, x.Name)
		}
		return c.ownJSON[x.Name] || decl.spec.TypeParams != nil || c.mayBeKey(decl.spec.Type)
	}
	return true
}

// sourceField is a field that encoding/json may see.
type sourceField struct {
	name, goName string
	t            ast.Expr
	imports      map[string]string
	depth        int // how deep it was embedded
}

// fields looks through the fields of s that encoding/json is sure to see.
func (c *fitCheck) fields(s *ast.StructType, imports map[string]string, path string) *misfit {
	list, ok := c.flatten(nil, s, imports, 0)
	if !ok {
		return nil
	}
	type place struct{ depth, count int }
	least := make(map[string]place)
	for _, f := range list {
		at, taken := least[f.name]
		switch {
		case !taken || f.depth < at.depth:
			least[f.name] = place{f.depth, 1}
		case f.depth == at.depth:
			least[f.name] = place{at.depth, at.count + 1}
		}
	}
	defer func(at ast.Expr) { c.at = at }(c.at)
	for _, f := range list {
		if least[f.name] != (place{f.depth, 1}) {
			continue
		}
		c.at = f.t
		if m := c.find(f.t, f.imports, strings.TrimPrefix(path+"."+f.goName, ".")); m != nil {
			return m
		}
	}
	return nil
}

// maxEmbedding bounds how deep embedded structs are followed.
const maxEmbedding = 8

// flatten adds the fields of s and of what it embeds. ok is false if s embeds
// something of which the source does not show all: its methods may be s's own.
func (c *fitCheck) flatten(list []sourceField, s *ast.StructType, imports map[string]string, depth int) (all []sourceField, ok bool) {
	for _, f := range s.Fields.List {
		if c.left--; c.left < 0 {
			return nil, false
		}
		tag := jsonTag(f)
		name, _, _ := strings.Cut(tag, ",")
		if len(f.Names) == 0 {
			inner, from := c.structOf(f.Type)
			if inner == nil || depth == maxEmbedding {
				return nil, false
			}
			switch {
			case tag == "-":
			case name != "":
				list = append(list, sourceField{name, embeddedName(f), f.Type, imports, depth})
			default:
				if list, ok = c.flatten(list, inner, from, depth+1); !ok {
					return nil, false
				}
			}
			continue
		}
		for _, id := range f.Names {
			if !id.IsExported() || tag == "-" {
				continue
			}
			field := sourceField{name, id.Name, f.Type, imports, depth}
			if name == "" {
				field.name = id.Name
			}
			list = append(list, field)
		}
	}
	return list, true
}

func jsonTag(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	text, _ := strconv.Unquote(f.Tag.Value)
	return reflect.StructTag(text).Get("json")
}

// structOf returns the struct that e, an embedded type, is declared as in this
// package; nil if it is none, or has methods or parameters.
func (c *fitCheck) structOf(e ast.Expr) (*ast.StructType, map[string]string) {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return nil, nil
	}
	decl, ok := c.types[id.Name]
	if !ok || c.ownJSON[id.Name] || decl.spec.TypeParams != nil {
		return nil, nil
	}
	s, _ := ast.Unparen(decl.spec.Type).(*ast.StructType)
	return s, decl.imports
}

// encoders are the methods that take encoding/json's place.
var encoders = []string{"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}

// method notes types that encode or decode themselves.
func (d *detector) method(fn *ast.FuncDecl) {
	if len(fn.Recv.List) == 1 && slices.Contains(encoders, fn.Name.Name) {
		d.ownJSON[embeddedName(&ast.Field{Type: fn.Recv.List[0].Type})] = true
	}
}
