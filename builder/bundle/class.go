package bundle

import (
	"fmt"
	"slices"
	"strings"
)

// set is the bytes that a bracket expression such as [a-z] stands for.
type set [256]bool

// classes are the named ones, as pairs of first and last byte.
var classes = map[string]string{
	"alnum": "09AZaz", "alpha": "AZaz", "blank": "  \t\t", "cntrl": "\x00\x1f\x7f\x7f", "digit": "09",
	"graph": "!~", "lower": "az", "print": " ~", "punct": "!/:@[`{~", "space": "  \t\n\r\r", "upper": "AZ", "xdigit": "09AFaf",
}

// parseClass reads what follows a bracket, and returns what it stands for and how
// many bytes it took, 0 if it is malformed.
func parseClass(p string) (*set, int) {
	s := new(set)
	i := 0
	negated := p != "" && (p[0] == '!' || p[0] == '^')
	if negated {
		i++
	}
	var last byte // what a range may begin with, or 0
	for first := true; i < len(p) && (first || p[i] != ']'); first = false {
		var n int
		switch {
		case p[i] == '-' && last != 0 && i+1 < len(p) && p[i+1] != ']':
			to, taken := unescape(p[i+1:])
			s.addRange(last, to)
			last, n = 0, taken
			i++
		case isNamed(p[i:]):
			n = s.addNamed(p[i:])
			last = 0
		default:
			last, n = unescape(p[i:])
			s[last] = true
		}
		if n == 0 {
			return nil, 0
		}
		i += n
	}
	if i >= len(p) {
		return nil, 0
	}
	for c := range s {
		s[c] = s[c] != negated
	}
	s['/'] = false
	return s, i + 1
}

// unescape returns the next byte and how many it took, 0 if there is none.
func unescape(p string) (byte, int) {
	switch {
	case p[0] != '\\':
		return p[0], 1
	case len(p) == 1:
		return 0, 0
	}
	return p[1], 2
}

// isNamed reports whether p begins like [:alpha:], whatever the name.
func isNamed(p string) bool {
	rest, ok := strings.CutPrefix(p, "[:")
	name, _, closed := strings.Cut(rest, "]")
	return ok && (!closed || strings.HasSuffix(name, ":"))
}

// addNamed adds the class that p begins with, and returns how many bytes its name
// takes, 0 if there is no such class.
func (s *set) addNamed(p string) int {
	name, _, _ := strings.Cut(p[len("[:"):], ":]")
	ranges, ok := classes[name]
	if !ok {
		return 0
	}
	for pair := range slices.Chunk([]byte(ranges), 2) {
		s.addRange(pair[0], pair[1])
	}
	return len("[::]") + len(name)
}

func (s *set) addRange(from, to byte) {
	for c := int(from); c <= int(to); c++ {
		s[c] = true
	}
}

// expr is the set as a regular expression.
func (s *set) expr() string {
	var b strings.Builder
	for c := 0; c < len(s); c++ {
		if !s[c] {
			continue
		}
		from := c
		for c+1 < len(s) && s[c+1] {
			c++
		}
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, from, c)
	}
	if b.Len() == 0 {
		return `[^\x00-\x{10FFFF}]`
	}
	return "[" + b.String() + "]"
}
