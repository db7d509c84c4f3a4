package host

import (
	"strings"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/functions"
)

// document gives s, and what lies in it, the comments that the source has for
// it, and removes what said where to look for them. p is nil for a function
// without a source. It returns s, which may be nil.
func document(s *functions.Schema, p *builder.Package) *functions.Schema {
	if s == nil {
		return nil
	}
	if s.Description == "" {
		s.Description = commentOf(s.GoField, p)
	}
	if s.Description == "" {
		s.Description = commentOf(s.GoType, p)
	}
	s.GoType, s.GoField = "", ""
	for _, property := range s.Properties {
		document(property, p)
	}
	document(s.Items, p)
	document(s.Values, p)
	return s
}

// commentOf returns the comment of a Go type or field of the package p, "" if it
// is of another one.
func commentOf(goName string, p *builder.Package) string {
	if p == nil {
		return ""
	}
	name, ok := strings.CutPrefix(goName, p.Path+".")
	if !ok {
		return ""
	}
	return p.Docs[name]
}
