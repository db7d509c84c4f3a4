package manifest

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader walks the YAML tree and collects what is wrong with it. It walks rather
// than decodes by reflection because every error needs the place of its key or
// value, and one error must not hide the next.
type reader struct {
	file string
	errs Errors
}

// fail records an error at a position.
func (r *reader) fail(at position, key, hint, format string, args ...any) {
	if len(r.errs) == maxErrors {
		return
	}
	r.errs = append(r.errs, &Error{
		File: r.file, Line: at.line, Column: at.column,
		Key: key, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// bad records an error in a value. The message continues the value's path: "must
// be a list".
func (r *reader) bad(n node, hint, format string, args ...any) {
	r.fail(n.position(), n.path, hint, "%s "+format, append([]any{n.path}, args...)...)
}

// node is a value in the file and the path of keys that leads to it.
type node struct {
	ast.Node
	path string
	key  position // of the key or the dash before it; zero for the root
}

func (n node) position() position {
	// What is not there is nowhere, so what comes before stands for it.
	if n.missing() && n.key.line > 0 {
		return n.key
	}
	return positionOf(n.Node)
}

// missing reports whether nothing is written where the value should be.
func (n node) missing() bool {
	return n.GetToken().Type == token.ImplicitNullType
}

// child returns the value of a key of a mapping, or n itself without that key.
func (n node) child(key string) node {
	for _, p := range pairs(n.Node) {
		if keyText(p.Key) == key {
			return n.at(p)
		}
	}
	return n
}

func (n node) at(p *ast.MappingValueNode) node {
	path := keyText(p.Key)
	if n.path != "" {
		path = n.path + "." + path
	}
	return node{Node: p.Value, path: path, key: positionOf(p.Key)}
}

// describe says in an error what a value is instead of what it should be.
func (n node) describe() string {
	switch v := n.Node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "null"
	case *ast.StringNode:
		return fmt.Sprintf("%.80q", v.Value)
	case *ast.LiteralNode:
		return fmt.Sprintf("%.80q", v.Value.Value)
	}
	return fmt.Sprintf("%.80s", n.GetToken().Value)
}

// text returns the value as text, if it is text in YAML's eyes.
func (n node) text() (string, bool) {
	switch v := n.Node.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	}
	return "", false
}

// scalar returns the value as it is written, if it is text, a number, true or false.
func (n node) scalar() (string, bool) {
	switch n.Node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return n.text()
}

// pairs returns the keys and values of a mapping, and nil for all else.
func pairs(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func keyText(key ast.MapKeyNode) string {
	if s, ok := (node{Node: key}).text(); ok {
		return s
	}
	return key.GetToken().Value
}

// mapping calls each with every key of a mapping and its value, and reports what
// is no mapping, repeated keys and keys without a value.
func (r *reader) mapping(n node, each func(key string, value node)) {
	switch n.Node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		what := n.path
		if what == "" {
			what = "the manifest"
		}
		r.fail(n.position(), n.path, "write key: value", "%s must be a mapping of keys, not %s", what, n.describe())
		return
	}
	seen := make(map[string]position)
	for _, p := range pairs(n.Node) {
		key, value := keyText(p.Key), n.at(p)
		if first, ok := seen[key]; ok {
			r.fail(value.key, value.path, "", "key %.80q is already on %s", key, first)
			continue
		}
		seen[key] = value.key
		each(key, value)
	}
}

// empty reports a value that is not there or null. To take it for the default
// would hide a line that somebody did not finish, and for access would be unsafe.
func (r *reader) empty(n node, hint string) bool {
	if _, ok := n.Node.(*ast.NullNode); !ok {
		return false
	}
	r.bad(n, hint, "has no value")
	return true
}
