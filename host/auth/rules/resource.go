package rules

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxResource is how many bytes a resource has at most.
const maxResource = 512

// Actions returns what admin:ACTION may name.
func Actions() []string { return slices.Clone(actions) }

var (
	actions = []string{"read", "logs", "deploy", "triggers", "replay", "events", "dead", "runs", "backup", "auth", "namespaces", "audit"}
	access  = []string{"read", "write"}
	ways    = []string{"publish", "subscribe"}
)

// kind is what resources of one kind look like.
type kind struct {
	name  string
	shape string // what is told of it
	least int    // parts, with the kind itself
	most  int    // 0: no limit
	// words are the only ones that the part at wordAt may be.
	words  []string
	wordAt int
	// char is true for what names are made of, told as chars; wild parts apart.
	char  func(byte) bool
	chars string
}

// kinds are few: who looks one up goes through them.
var kinds = []kind{
	{"function", "function:NAME or function:NAME:ENDPOINT", 2, 3, nil, 0, isLabel, "lower-case letters, digits and hyphens"},
	{"bucket", "bucket:NAME:read or bucket:NAME:write", 3, 3, access, 2, isWord, "letters, digits, - and _"},
	{"blob", "blob:NAME:read or blob:NAME:write", 3, 3, access, 2, isWord, "letters, digits, - and _"},
	{"secret", "secret:NAME:read or secret:NAME:write", 3, 3, access, 2, isKey, "letters, digits and - _ / = ."},
	{"config", "config:NAME:read or config:NAME:write", 3, 3, access, 2, isKey, "letters, digits and - _ / = ."},
	{"subject", "subject:publish:SUBJECT or subject:subscribe:SUBJECT", 3, 0, ways, 1, isVisible, "visible characters"},
	{"admin", "admin:ACTION", 2, 2, actions, 1, isLabel, "lower-case letters"},
}

func isWord(c byte) bool {
	return isLabel(c) || c >= 'A' && c <= 'Z' || c == '_'
}

func isKey(c byte) bool { return isWord(c) || c == '/' || c == '=' || c == '.' }

func isVisible(c byte) bool { return c > ' ' && c != 0x7f }

func kindOf(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// parts goes through the parts of a resource.
type parts struct {
	rest    string
	subject bool // dots separate what is behind the first two parts
	n       int  // how many were returned
	end     bool
}

func partsOf(resource string) parts {
	return parts{rest: resource, subject: strings.HasPrefix(resource, "subject:")}
}

// next returns the next part; ok is false if there was none left.
func (p *parts) next() (part string, ok bool) {
	if p.end {
		return "", false
	}
	separator := byte(':')
	if p.subject && p.n >= 2 {
		separator = '.'
	}
	p.n++
	if i := strings.IndexByte(p.rest, separator); i >= 0 {
		part, p.rest = p.rest[:i], p.rest[i+1:]
		return part, true
	}
	p.end = true
	return p.rest, true
}

// split returns all parts.
func split(resource string) []string {
	var list []string
	p := partsOf(resource)
	for part, ok := p.next(); ok; part, ok = p.next() {
		list = append(list, part)
	}
	return list
}

// CheckResource returns an error that says what is wrong with what a rule is about, and
// what would be right; nil for nothing. Wildcards are allowed.
func CheckResource(pattern string) error { return checkResource(pattern, true) }

// CheckTarget does so for what somebody wants to do, which has no wildcards.
func CheckTarget(resource string) error { return checkResource(resource, false) }

func checkResource(resource string, wild bool) error {
	switch {
	case resource == ">" && wild:
		return nil
	case resource == "":
		return fmt.Errorf("is empty: want %s", kinds[0].shape)
	case len(resource) > maxResource:
		return fmt.Errorf("%.60q… has %d bytes, at most %d", resource, len(resource), maxResource)
	case !utf8.ValidString(resource):
		return fmt.Errorf("%.80q is not UTF-8", resource)
	}
	p := partsOf(resource)
	first, _ := p.next()
	k := kindOf(first)
	if k == nil {
		return unknownKind(resource, first, wild)
	}
	last := first
	for part, ok := p.next(); ok; part, ok = p.next() {
		if last == ">" {
			return fmt.Errorf("%q: > stands for all that follows, so it is the last part", resource)
		}
		if err := k.checkPart(resource, part, p.n-1, wild); err != nil {
			return err
		}
		last = part
	}
	return k.checkCount(resource, p.n, last)
}

// checkPart checks the part at index n.
func (k *kind) checkPart(resource, part string, n int, wild bool) error {
	switch {
	case part == "":
		return fmt.Errorf("%q has an empty part: want %s", resource, k.shape)
	case part == "*" || part == ">":
		if !wild {
			return fmt.Errorf("%q has a wildcard: want one thing that is done", resource)
		}
		return nil
	case k.words != nil && n == k.wordAt:
		return k.checkWord(resource, part)
	case strings.ContainsAny(part, "*>"):
		return fmt.Errorf("%q: * and > stand for whole parts, not for some of %q", resource, part)
	case !madeOf(part, k.char):
		return fmt.Errorf("%q: %q is not made of %s", resource, part, k.chars)
	case k.name == "function" && (len(part) > maxName || part[0] == '-' || part[len(part)-1] == '-'):
		return fmt.Errorf("%q: %q is no name of a function or an endpoint: at most %d characters, and hyphens inside only", resource, part, maxName)
	case k.name == "subject" && n == 2:
		return checkFirst(resource, part)
	}
	return nil
}

// checkWord checks a part that only few words may be.
func (k *kind) checkWord(resource, part string) error {
	if slices.Contains(k.words, part) {
		return nil
	}
	if k.name == "subject" {
		rest := strings.TrimPrefix(resource, "subject:")
		if way := nearWord(part, k.words); way != "" && strings.Contains(rest, ":") {
			_, rest, _ = strings.Cut(rest, ":")
			return fmt.Errorf("%q: did you mean subject:%s:%s?", resource, way, rest)
		}
		return fmt.Errorf("%q does not say what is done: did you mean subject:publish:%s or subject:subscribe:%s?", resource, rest, rest)
	}
	if word := nearWord(part, k.words); word != "" {
		return fmt.Errorf("%q: did you mean %s instead of %s?", resource, word, part)
	}
	return fmt.Errorf("%q: %q is not one of %s", resource, part, strings.Join(k.words, ", "))
}

// nearWord returns the one of words that is meant by something like it: in another
// case, or the beginning of one, or with more behind it.
func nearWord(part string, words []string) string {
	part = strings.ToLower(part)
	for _, word := range words {
		if len(part) > 1 && (strings.HasPrefix(word, part) || strings.HasPrefix(part, word)) {
			return word
		}
	}
	return ""
}

// own are the first parts of subjects that are the host's. What is published there
// steers it, and who subscribes may take what is meant for it.
var own = []string{"fn", "dead", "schedule", "tick", "later"}

// checkFirst checks the first part of a subject, which nobody may have for the
// server's and the host's own.
func checkFirst(resource, part string) error {
	switch {
	case part[0] == '$' || part[0] == '_':
		return fmt.Errorf("%q: subjects that begin with %c are the server's own", resource, part[0])
	case part == "fn":
		return fmt.Errorf("%q: functions have their own resources: want function:NAME or function:NAME:ENDPOINT", resource)
	case slices.Contains(own, part):
		return fmt.Errorf("%q: subjects that begin with %s. are the host's own: see admin:dead, admin:replay and admin:triggers", resource, part)
	}
	return nil
}

// checkCount checks that n is how many parts there are, the last of which is given.
func (k *kind) checkCount(resource string, n int, last string) error {
	switch {
	case k.most > 0 && n > k.most:
		return fmt.Errorf("%q has %d parts, at most %d: want %s", resource, n, k.most, k.shape)
	case n >= k.least || last == ">" && n > 1:
		return nil
	case n == 1:
		return fmt.Errorf("%q names a kind alone: want %s; all of them are %s:>", resource, k.shape, k.name)
	case slices.Equal(k.words, access):
		return fmt.Errorf("%q does not say what is done: did you mean %s:read, %s:write, or %s:* for both?", resource, resource, resource, resource)
	}
	return fmt.Errorf("%q has too few parts: want %s", resource, k.shape)
}

// others are words for a kind that one may come to think of.
var others = map[string]string{"fn": "function", "func": "function", "kv": "bucket", "object": "blob", "stream": "subject", "topic": "subject", "event": "subject", "nats": "subject"}

func unknownKind(resource, first string, wild bool) error {
	name := others[strings.TrimSuffix(strings.ToLower(first), "s")]
	names := make([]string, len(kinds))
	for i := range kinds {
		names[i] = kinds[i].name
	}
	if name == "" {
		name = nearWord(first, names)
	}
	if name != "" {
		return fmt.Errorf("%q: %q is no kind of resource, did you mean %s?", resource, first, kindOf(name).shape)
	}
	if wild {
		return fmt.Errorf("%q: %q is no kind of resource: want > for everything, or one of %s with : behind it", resource, first, strings.Join(names, ", "))
	}
	return fmt.Errorf("%q: %q is no kind of resource: want one of %s with : behind it", resource, first, strings.Join(names, ", "))
}
