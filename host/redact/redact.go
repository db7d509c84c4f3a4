// Package redact hides secrets in what a function writes.
//
// A value is found as it is, as it stands in JSON, in a Go string, in a URL, and in base64,
// there also as a part of something longer, such as the header of basic
// authentication. Of a value of several lines each line of eight bytes and more is
// found by itself, since output is looked at line by line. Values of less than
// [MinValue] bytes are not looked for. What a function makes of a value otherwise
// (backwards, in hex, encrypted, in two parts) is not found: this protects against
// accidents.
package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// MinValue is the least size of a value that is looked for, in bytes.
	MinValue = 6

	minLine   = 8   // bytes of a line of a value
	maxLines  = 400 // of a value
	keepNamed = 8   // values of one name: an older worker may still have an older one
	keepAll   = 400 // values
)

// Redactor hides some values. It is never changed. A nil one hides none, at no cost.
type Redactor struct {
	given []given
	bits  [1 << 16 / 64]uint64 // hashes of the first four bytes of all needles
	first map[uint32][]needle  // by these bytes, the longest first
}

type given struct {
	name, value string
	forms       []string
}

// needle is a form of a value.
type needle struct{ text, name string }

// Has reports whether a value is hidden already.
func (r *Redactor) Has(name string, value []byte) bool {
	return r != nil && slices.ContainsFunc(r.given, func(g given) bool { return g.name == name && g.value == string(value) })
}

// With returns a Redactor that hides a value, too, under its name. Of each name the latest 8 values
// stay, and 400 in all.
func (r *Redactor) With(name string, value []byte) *Redactor {
	if len(value) < MinValue || r.Has(name, value) {
		return r
	}
	next := &Redactor{first: make(map[uint32][]needle)}
	if r != nil {
		next.given = slices.Clone(r.given)
	}
	next.given = append(next.given, given{name, string(value), slices.Compact(slices.Sorted(slices.Values(forms(string(value)))))})
	named := func(g given) bool { return g.name == name }
	n := 0
	for _, g := range next.given {
		if named(g) {
			n++
		}
	}
	if n > keepNamed {
		i := slices.IndexFunc(next.given, named)
		next.given = slices.Delete(next.given, i, i+1)
	}
	if len(next.given) > keepAll {
		next.given = slices.Delete(next.given, 0, 1)
	}
	for _, g := range next.given {
		for _, form := range g.forms {
			next.add(needle{form, g.name})
		}
	}
	for _, list := range next.first {
		slices.SortStableFunc(list, func(a, b needle) int { return cmp.Compare(len(b.text), len(a.text)) })
	}
	return next
}

func (r *Redactor) add(n needle) {
	if len(n.text) < MinValue {
		return
	}
	w := word(n.text)
	r.first[w] = append(r.first[w], n)
	h := hash(w)
	r.bits[h/64] |= 1 << (h % 64)
}

func word(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func hash(w uint32) uint32 { return w * 2654435761 >> 16 }

// forms returns what a value may look like.
func forms(value string) []string {
	list := written(value)
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		list = append(list, encoding.EncodeToString([]byte(value)))
		for before := range 3 { // bytes of a group that come before it
			text := encoding.EncodeToString(append(make([]byte, before), value...))
			text = text[[]int{0, 2, 3}[before]:] // what they are a part of
			if (before+len(value))%3 != 0 {
				text = text[:len(text)-1] // what those after it are a part of
			}
			list = append(list, text)
		}
	}
	if !strings.Contains(value, "\n") {
		return list
	}
	n := 0
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if n++; n <= maxLines && len(line) >= minLine && !strings.HasPrefix(line, "-----") { // not the frame of a PEM file
			list = append(list, written(line)...)
		}
	}
	return list
}

// written returns a text as it is, and as it stands in JSON, Go and URLs.
func written(text string) []string {
	list := []string{text, unquoted(strconv.Quote(text)), url.QueryEscape(text), url.PathEscape(text)}
	var b bytes.Buffer
	for _, html := range []bool{false, true} {
		b.Reset()
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		e.Encode(text)
		list = append(list, unquoted(strings.TrimSuffix(b.String(), "\n")))
	}
	return list
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// Text returns a text with "[secret NAME]" in the place of each value.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	var out []byte
	done := 0 // what is in out
	for i := 0; i+MinValue <= len(s); i++ {
		w := word(s[i:])
		if h := hash(w); r.bits[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, n := range r.first[w] {
			if strings.HasPrefix(s[i:], n.text) {
				out = append(append(append(append(out, s[done:i]...), "[secret "...), n.name...), ']')
				done = i + len(n.text)
				i = done - 1
				break
			}
		}
	}
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// JSON is Text for a JSON document, which it stays.
func (r *Redactor) JSON(b []byte) []byte {
	if r == nil || len(b) == 0 {
		return b
	}
	before := string(b)
	after := r.Text(before)
	if after == before {
		return b
	}
	if json.Valid([]byte(after)) {
		return []byte(after)
	}
	// It was no text that held it, but a number, or what stands between values.
	var v any
	d := json.NewDecoder(strings.NewReader(before))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return []byte(`{}`)
	}
	b, err := json.Marshal(r.walk(v))
	if err != nil {
		return []byte(`{}`)
	}
	return b
}

// walk hides values in what was decoded.
func (r *Redactor) walk(v any) any {
	switch v := v.(type) {
	case string:
		return r.Text(v)
	case json.Number:
		if text := r.Text(v.String()); text != v.String() {
			return text
		}
	case []any:
		for i := range v {
			v[i] = r.walk(v[i])
		}
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, one := range v {
			m[r.Text(key)] = r.walk(one)
		}
		return m
	}
	return v
}
