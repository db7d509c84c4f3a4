package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxTokens and maxDepth keep the YAML parser, which recurses and is quadratic
	// in the number of keys, within milliseconds and a small stack.
	maxTokens = 8192
	maxDepth  = 16
)

// document returns the root of the YAML document in data. It returns nil if there
// is none, because data is empty or because it is broken, which it reports.
func (r *reader) document(data []byte) ast.Node {
	if len(data) > MaxFileSize {
		r.fail(position{}, "", "", "the file has more than %d KiB", MaxFileSize>>10)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.plainText(data) {
		return nil
	}
	// The lexer counts the line of a comment twice if it ends with CRLF.
	file := r.syntax(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	if file == nil {
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			r.fail(positionOf(doc.Body), "", "", "a second YAML document, and a manifest is one")
			break
		}
		root = doc.Body
	}
	return root
}

// plainText reports bytes that are no text, which the YAML parser would let pass.
func (r *reader) plainText(data []byte) bool {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.fail(positionAt(data[:i]), "", "save it as UTF-8", "the file is not UTF-8 text")
			return false
		case c == '\r' && (i+1 == len(data) || data[i+1] != '\n'):
			// YAML ends a line here, editors and positions do not.
			r.fail(positionAt(data[:i]), "", "end lines with a line feed", "a carriage return without a line feed")
			return false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			r.fail(positionAt(data[:i]), "", "", "the control character %U cannot be in the file", c)
			return false
		}
		i += size
	}
	return true
}

// positionAt returns the position that follows the text before.
func positionAt(before []byte) position {
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return position{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(line) + 1}
}

// syntax parses data, or reports why it cannot. A panic of the library is such a
// reason: a host must outlive what people save.
func (r *reader) syntax(data []byte) (file *ast.File) {
	defer func() {
		if p := recover(); p != nil {
			r.fail(position{}, "", "", "the YAML cannot be read: %s", oneLine(fmt.Sprint(p)))
			file = nil
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if !r.plainYAML(tokens) {
		return nil
	}
	// Repeated keys are reported with all other errors, not as broken YAML.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntaxError(err)
		return nil
	}
	return file
}

// syntaxError reports an error of the YAML parser without the excerpt of the
// source that its Error method adds.
func (r *reader) syntaxError(err error) {
	var detail interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &detail) {
		r.fail(position{}, "", "", "%s", oneLine(err.Error()))
		return
	}
	message, hint := oneLine(detail.GetMessage()), ""
	switch {
	case strings.Contains(detail.GetMessage(), "found character '\t'"):
		message, hint = "a tab cannot indent a line", "use spaces"
	case strings.Contains(message, "',' or '}' must be specified"):
		// Mostly a route's wildcard: {path: /pets/{id}}.
		hint = "put text with braces in quotes"
	}
	r.fail(tokenPosition(detail.GetToken()), "", hint, "%s", message)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// refused is the part of YAML that a manifest may not use.
var refused = map[token.Type]struct{ what, hint string }{
	token.AnchorType:     {"anchors are not supported", `put text that begins with & in quotes`},
	token.AliasType:      {"aliases are not supported", `put text that begins with * in quotes: "*"`},
	token.MergeKeyType:   {"merge keys are not supported", ""},
	token.TagType:        {"tags are not supported", `put text that begins with ! in quotes`},
	token.DirectiveType:  {"directives are not supported", ""},
	token.MappingKeyType: {`keys that begin with "?" are not supported`, "write key: value"},
}

// plainYAML reports the tokens that a manifest may not use. It works on tokens
// because it guards the parser.
func (r *reader) plainYAML(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.fail(tokenPosition(tokens[maxTokens]), "", "", "the file is too long for a manifest")
		return false
	}
	depth, entries, line := 0, 0, 0
	for i, tk := range tokens {
		if tk.Type == token.InvalidType {
			break // The parser says why.
		}
		if swallowsTab(tokens, i) {
			r.fail(tokenPosition(tk), "", `use spaces, or write "\t" in quotes`, "a tab in or around text")
			break // The positions that follow are wrong.
		}
		if no, ok := refused[tk.Type]; ok {
			r.fail(tokenPosition(tk), "", no.hint, "%s", no.what)
		}
		if tk.Position.Line != line {
			line, entries = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceEntryType:
			entries++
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if depth > maxDepth || entries > maxDepth {
			r.fail(tokenPosition(tk), "", "", "nested more than %d deep", maxDepth)
			break
		}
	}
	return len(r.errs) == 0
}

// swallowsTab reports whether the lexer met a tab in or around token i that it
// gets wrong: it drops them from text without quotes, does not count them as
// columns, and loses a line after those in double quotes.
func swallowsTab(tokens token.Tokens, i int) bool {
	tk := tokens[i]
	origin := tk.Origin
	if !strings.Contains(origin, "\t") {
		return false
	}
	switch tk.Type {
	case token.CommentType:
		return false
	case token.DoubleQuoteType:
		return true
	case token.SingleQuoteType:
		origin = origin[:max(strings.Index(origin, "'"), 0)]
	case token.StringType:
		if i > 0 && (tokens[i-1].Type == token.LiteralType || tokens[i-1].Type == token.FoldedType) {
			return false // In a block of text tabs are kept.
		}
	}
	// Behind the last token of a line tabs do no harm.
	if next := i + 1; next == len(tokens) || tokens[next].Type == token.CommentType || tokens[next].Position.Line > tk.Position.Line {
		origin = strings.TrimRight(origin, " \t\r\n")
	}
	return strings.Contains(origin, "\t")
}

// position is a line and a column, both from 1, or zero for the whole file.
type position struct{ line, column int }

func (p position) String() string { return fmt.Sprintf("line %d", p.line) }

func tokenPosition(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{tk.Position.Line, max(tk.Position.Column, 1)}
}

// positionOf returns where a node starts. The parser puts a block mapping at its
// first colon.
func positionOf(n ast.Node) position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return positionOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return positionOf(n.Key)
	case *ast.LiteralNode:
		return tokenPosition(n.Start)
	}
	return tokenPosition(n.GetToken())
}
