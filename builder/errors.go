package builder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrNoGo is the error of what needs a go command where there is none.
	ErrNoGo = errors.New("builder: no go command on PATH: install Go 1.26 or later from https://go.dev/dl and start again; functions need it to be built")
	// ErrNoHandler is returned for a directory that holds no handler: it is no function.
	ErrNoHandler = errors.New("builder: no handler")
)

// Error is a build that failed because of its source.
type Error struct {
	Diagnostics []Diagnostic // never empty
}

// Error returns the diagnostics, a line each, as a Go developer expects them.
func (e *Error) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// Diagnostic is one thing that is wrong with a source, at its place.
type Diagnostic struct {
	File    string `json:"file,omitempty"`   // absolute, or "" if it is about no file
	Line    int    `json:"line,omitempty"`   // from 1, 0 for the whole file
	Column  int    `json:"column,omitempty"` // from 1, in bytes, 0 for the whole line
	Message string `json:"message"`          // may have further lines
	Excerpt string `json:"excerpt,omitempty"`
}

// String returns "file:line:column: message".
func (d Diagnostic) String() string {
	return d.Text("")
}

// Text is String with the file's path relative to dir, if it lies below it.
func (d Diagnostic) Text(dir string) string {
	file := d.File
	if rel, err := filepath.Rel(dir, file); dir != "" && err == nil && filepath.IsLocal(rel) {
		file = rel
	}
	switch {
	case file == "":
		return d.Message
	case d.Line == 0:
		return fmt.Sprintf("%s: %s", file, d.Message)
	case d.Column == 0:
		return fmt.Sprintf("%s:%d: %s", file, d.Line, d.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", file, d.Line, d.Column, d.Message)
}

// maxExcerptFile bounds the files that excerpts are read from, in bytes.
const maxExcerptFile = 1 << 20

// AddExcerpts fills in the source around each diagnostic: two lines before, the
// line, and a caret under the column.
func AddExcerpts(list []Diagnostic) {
	files := make(map[string][][]byte)
	for i := range list {
		d := &list[i]
		if d.File == "" || d.Line == 0 || d.Excerpt != "" {
			continue
		}
		lines, ok := files[d.File]
		if !ok {
			if info, err := os.Stat(d.File); err == nil && info.Mode().IsRegular() && info.Size() <= maxExcerptFile {
				b, _ := os.ReadFile(d.File)
				lines = bytes.Split(b, []byte("\n"))
			}
			files[d.File] = lines
		}
		d.Excerpt = excerpt(lines, d.Line, d.Column)
	}
}

func excerpt(lines [][]byte, line, column int) string {
	if line > len(lines) {
		return ""
	}
	var b strings.Builder
	for n := max(1, line-2); n <= line; n++ {
		text := strings.TrimRight(string(lines[n-1]), "\r")
		fmt.Fprintf(&b, "%5d | %s\n", n, text)
		if n != line || column == 0 {
			continue
		}
		// Tabs stay tabs, so that the caret stands where the column is shown.
		indent := strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return ' '
		}, text[:min(column-1, len(text))])
		fmt.Fprintf(&b, "      | %s^\n", indent)
	}
	return b.String()
}

// failure returns an Error of one diagnostic.
func failure(file string, line, column int, format string, args ...any) *Error {
	list := []Diagnostic{{File: file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}}
	AddExcerpts(list)
	return &Error{Diagnostics: list}
}
