package builder

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/fnhost/fnhost/builder/nearest"
)

// Stray is a directory that [Find] leaves out, but may be meant as a function.
type Stray struct {
	Dir  string
	Hint string // what may be meant: "did you mean Handle instead of Handler? (x.go:3)"
}

// Strays lists, of a folder and its immediate subdirectories, those without a
// handler that have an exported function whose name is near that of one, and
// subdirectories with a main that does not call functions.Serve. It is empty for a
// folder that is a function itself.
func Strays(dir string) []Stray {
	if holdsFunction(dir) {
		return nil
	}
	var list []Stray
	if hint := strayHint(dir, false); hint != "" {
		list = append(list, Stray{dir, hint})
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if isSkipped(e.Name()) || !isDir(path) || holdsFunction(path) {
			continue
		}
		if hint := strayHint(path, true); hint != "" {
			list = append(list, Stray{path, hint})
		}
	}
	return list
}

// strayHint returns what to say of a directory that is no function, "" for nothing.
func strayHint(dir string, mains bool) string {
	if _, err := Detect(dir); !errors.Is(err, ErrNoHandler) {
		return "" // nothing that can be read
	}
	names, _ := goFiles(dir)
	fset := token.NewFileSet()
	hasMain := false
	for _, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return ""
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			if meant := meantHandler(fn.Name.Name); meant != "" {
				return fmt.Sprintf("did you mean %s instead of %s? (%s:%d)", meant, fn.Name.Name, name, fset.PositionFor(fn.Pos(), false).Line)
			}
			hasMain = hasMain || f.Name.Name == "main" && fn.Name.Name == "main"
		}
	}
	if hasMain && mains {
		return "a program with a main of its own is a function if it calls functions.Serve"
	}
	return ""
}

// meantHandler returns the name of a handler that name was meant to be, "" if it
// is not near one: its first word is compared.
func meantHandler(name string) string {
	end := strings.IndexFunc(name[1:], func(r rune) bool { return !unicode.IsLower(r) }) + 1
	if end == 0 {
		end = len(name)
	}
	first, rest := name[:end], name[end:]
	if !strings.HasPrefix(first, "Ha") || first == "Handle" {
		return ""
	}
	if _, near := nearest.Name(first, []string{"Handle"}); !near || len(first) < len("Hand") {
		return ""
	}
	return "Handle" + rest
}
