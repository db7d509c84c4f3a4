package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	versionPattern = regexp.MustCompile(`^v[0-9]+$`)
)

// nameSchema describes to editors what checkName accepts.
var nameSchema = schema{
	"pattern":   namePattern.String(),
	"maxLength": MaxNameLength,
	"not":       schema{"pattern": versionPattern.String()},
}

// ValidName returns an error that says why name cannot be a function's name, or
// nil. A name is a DNS label and one token of a NATS subject: lower-case letters,
// digits and inner hyphens, at most MaxNameLength of them. "v" and a number is
// how versions are named, and no function.
func ValidName(name string) error {
	if p := checkName(name); p != nil {
		return errors.New("function name " + p.message)
	}
	return nil
}

func checkName(name string) *problem {
	if p := checkLabel(name); p != nil {
		return p
	}
	if versionPattern.MatchString(name) {
		return &problem{fmt.Sprintf("must not be %q, which names a version", name), ""}
	}
	return nil
}

// checkLabel checks the name of a function or an endpoint.
func checkLabel(s string) *problem {
	switch {
	case s == "":
		return &problem{"must not be empty", ""}
	case len(s) > MaxNameLength:
		return &problem{fmt.Sprintf("must have at most %d characters, not %d", MaxNameLength, len(s)), ""}
	case namePattern.MatchString(s):
		return nil
	}
	p := &problem{message: fmt.Sprintf("must be lower-case letters, digits and inner hyphens, not %.80q", s)}
	if near := NameFromDir(s); near != "" {
		p.hint = fmt.Sprintf("write %s", near)
	}
	return p
}

// NameFromDir returns the function name for the base name of a directory: in lower
// case, with hyphens for spaces, dots and underscores, without the characters that
// a name cannot have, cut to MaxNameLength. The result may be empty or "v1", so
// check it with [ValidName].
func NameFromDir(base string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
			return c
		case 'A' <= c && c <= 'Z':
			return c - 'A' + 'a'
		case c == ' ', c == '.', c == '_':
			return '-'
		}
		return -1
	}, base)
	name = strings.TrimLeft(name, "-")
	if len(name) > MaxNameLength {
		name = name[:MaxNameLength]
	}
	return strings.TrimRight(name, "-")
}
