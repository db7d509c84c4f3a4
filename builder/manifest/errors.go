package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxErrors is how many errors of one file are kept. Nobody reads more, and a
// file that is not a manifest at all would have thousands.
const maxErrors = 100

// Error is one mistake in a manifest.
type Error struct {
	// File is the name that was given to Parse.
	File string
	// Line and Column say where the key or value at fault starts. Both count
	// from 1, Column in characters. Line is 0 if the file as a whole is at fault.
	Line, Column int
	// Key is the path of the key at fault, such as "scale.min" or
	// "triggers.http[0].path", and empty for broken YAML. List items count from 0.
	Key string
	// Message says what is wrong, in one line.
	Message string
	// Hint says how to put it right, in one line. It may be empty.
	Hint string
}

// Error returns one line: the position, the message, and the hint in parentheses.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// Errors is all that is wrong with a manifest, in the order of the file. Of
// more than a hundred errors the first hundred are kept.
type Errors []*Error

// Error returns the errors, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one, for [errors.As].
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, err := range e {
		all[i] = err
	}
	return all
}

// keepWithin moves positions behind the end of their line, or of the file, to that
// end: the YAML lexer miscounts in broken files, and readers cut excerpts by them.
func (e Errors) keepWithin(data []byte) {
	lines := bytes.Split(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\n"))
	for _, err := range e {
		if err.Line == 0 {
			continue
		}
		err.Line = min(err.Line, len(lines))
		end := utf8.RuneCount(bytes.TrimSuffix(lines[err.Line-1], []byte("\r"))) + 1
		err.Column = min(err.Column, end)
	}
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
