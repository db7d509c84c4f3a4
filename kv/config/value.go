package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// MaxSize is the largest layer, in bytes of JSON.
const MaxSize = 256 << 10

// maxNumber bounds the digits of a number, and maxExponent those of its exponent: what
// is compared with a schema is computed exactly.
const (
	maxNumber   = 64
	maxExponent = 3
)

// Parse reads a JSON value. It returns ErrValue, and why, for what is none, is larger
// than MaxSize, is nested too deep, or has a number that nobody can compute with.
func Parse(data []byte) (any, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrValue, len(data), MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrValue, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the JSON", ErrValue)
	}
	return v, checkValue(v, 0)
}

// ParseObject is Parse for an object.
func ParseObject(data []byte) (map[string]any, error) {
	v, err := Parse(data)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: want an object, not %s", ErrValue, Short(v))
	}
	return doc, nil
}

func checkValue(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", ErrValue, maxDepth)
	}
	switch v := v.(type) {
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		if len(v) > maxNumber || len(strings.TrimLeft(exponent, "+-0")) > maxExponent {
			return fmt.Errorf("%w: the number %.40s…", ErrValue, v)
		}
	case map[string]any:
		for key, below := range v {
			if key == "" {
				return fmt.Errorf("%w: an empty key", ErrValue)
			}
			if err := checkValue(below, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, below := range v {
			if err := checkValue(below, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// Marshal returns a value as JSON, keys sorted, and no sign escaped for HTML.
func Marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // values come from JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Short returns a value as JSON, cut to what fits into a message.
func Short(v any) string {
	const most = 60
	text := string(Marshal(v))
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// same reports whether two values are.
func same(a, b any) bool { return bytes.Equal(Marshal(a), Marshal(b)) }
