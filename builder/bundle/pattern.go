package bundle

import (
	"regexp"
	"strings"
)

// pattern is one line of an ignore file.
type pattern struct {
	text    string // as written
	line    int    // from 1
	negated bool   // brings back
	dirOnly bool
	base    bool           // is compared with the last element of a path alone
	re      *regexp.Regexp // nil if it matches nothing
}

// parsePatterns reads an ignore file.
func parsePatterns(data []byte) []pattern {
	var list []pattern
	text := strings.TrimPrefix(string(data), "\ufeff")
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = trimSpaces(strings.TrimSuffix(line, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		p := pattern{text: line, line: n}
		line, p.negated = strings.CutPrefix(line, "!")
		line, p.dirOnly = strings.CutSuffix(line, "/")
		p.base = !strings.Contains(line, "/")
		p.re = compile(strings.TrimPrefix(line, "/"))
		list = append(list, p)
	}
	return list
}

// trimSpaces removes spaces from the end, except escaped ones.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == ' ' {
			continue
		}
		end = i + 1
	}
	return s[:min(end, len(s))]
}

// matches reports whether the pattern is about a path relative to its file's directory.
func (p *pattern) matches(name string, dir bool) bool {
	if p.re == nil || p.dirOnly && !dir {
		return false
	}
	if p.base {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	return p.re.MatchString(widen(name))
}

// widen makes a character of each byte: git compares bytes, regexp characters.
func widen(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// compile translates a pattern, without the marks at its ends, or returns nil if
// it can match nothing. Regular expressions of Go take time linear in the text.
func compile(p string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	literal := true // nothing but plain characters so far
	for i := 0; i < len(p); {
		expr, n := `[^/]`, 1
		switch p[i] {
		case '?':
		case '*':
			expr, n = stars(p[i:], literal || p[i-1] == '/')
		case '[':
			class, taken := parseClass(p[i+1:])
			if taken == 0 {
				return nil
			}
			expr, n = class.expr(), 1+taken
		default:
			var c byte
			if c, n = unescape(p[i:]); n == 0 {
				return nil
			}
			expr = regexp.QuoteMeta(string(rune(c)))
		}
		literal = literal && n == 1 && !strings.ContainsRune(`*?[`, rune(p[i]))
		b.WriteString(expr)
		i += n
	}
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return nil
	}
	return re
}

// stars translates asterisks at the beginning of p, and says how many bytes it
// took. Two or more cross slashes if they stand between slashes; or, as in git,
// after nothing but plain characters: a**/b is about ab.
func stars(p string, between bool) (expr string, n int) {
	rest := strings.TrimLeft(p, "*")
	n = len(p) - len(rest)
	switch {
	case n < 2 || !between:
		return `[^/]*`, n
	case strings.HasPrefix(rest, "/"):
		return `(?:.*/)?`, n + 1
	case rest == "" || strings.HasPrefix(rest, `\/`):
		return `.*`, n
	}
	return `[^/]*`, n
}
