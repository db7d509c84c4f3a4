package functions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// Settings are the configuration of a function at one moment. They never change, and
// are safe for concurrent use; a nil *Settings has nothing.
//
// A path is keys with dots between them, "limits.rate"; in a list a number stands for
// an item, from 0: "servers.0.host". The empty path is all of it. The getters return
// def where there is nothing, and where there is something of another type, which the
// schema in function.yaml can rule out; [Settings.Decode] and [Settings.Lookup] tell.
type Settings struct {
	function string
	revision uint64
	partial  bool // access.config leaves something out
	data     []byte
	root     map[string]any
}

func newSettings(function string, revision uint64, partial bool, data []byte) (*Settings, error) {
	s := &Settings{function: function, revision: revision, partial: partial, data: data}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&s.root); err != nil {
		return nil, fmt.Errorf("functions: configuration: %w", err)
	}
	return s, nil
}

// Function returns the name of the function whose configuration it is.
func (s *Settings) Function() string {
	if s == nil {
		return ""
	}
	return s.function
}

// Revision returns where the configuration stands; a later one is greater, and 0 is
// that of a function for which nothing was ever set.
func (s *Settings) Revision() uint64 {
	if s == nil {
		return 0
	}
	return s.revision
}

// JSON returns all of it, an object.
func (s *Settings) JSON() []byte {
	if s == nil {
		return []byte("{}")
	}
	return bytes.Clone(s.data)
}

// Lookup returns what is at a path, as encoding/json decodes it into an any, but for
// numbers, which are [json.Number], as they were written. ok is false if there is nothing.
func (s *Settings) Lookup(path string) (v any, ok bool) {
	v, ok = s.find(path)
	return cloned(v), ok
}

// find is Lookup of what belongs to s.
func (s *Settings) find(path string) (any, bool) {
	if s == nil {
		return nil, false
	}
	var v any = s.root
	for more := path != ""; more; {
		var key string
		key, path, more = strings.Cut(path, ".")
		switch in := v.(type) {
		case map[string]any:
			below, ok := in[key]
			if !ok {
				return nil, false
			}
			v = below
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// cloned returns a value that belongs to who asked for it.
func cloned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for key, below := range v {
			c[key] = cloned(below)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, below := range v {
			c[i] = cloned(below)
		}
		return c
	}
	return v
}

// String returns the text at a path. Numbers, true and false are text, too, as they
// were written.
func (s *Settings) String(path, def string) string {
	v, _ := s.find(path)
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return def
}

// Int returns the whole number at a path.
func (s *Settings) Int(path string, def int) int {
	v, _ := s.find(path)
	if n, ok := v.(json.Number); ok {
		if i, err := strconv.Atoi(n.String()); err == nil {
			return i
		}
	}
	return def
}

// Float returns the number at a path.
func (s *Settings) Float(path string, def float64) float64 {
	v, _ := s.find(path)
	if n, ok := v.(json.Number); ok {
		if f, err := n.Float64(); err == nil {
			return f
		}
	}
	return def
}

// Bool returns true or false, whichever is at a path.
func (s *Settings) Bool(path string, def bool) bool {
	v, _ := s.find(path)
	if b, ok := v.(bool); ok {
		return b
	}
	return def
}

// Duration returns the duration at a path, which is text such as "1m30s".
func (s *Settings) Duration(path string, def time.Duration) time.Duration {
	v, _ := s.find(path)
	if text, ok := v.(string); ok {
		if d, err := time.ParseDuration(text); err == nil {
			return d
		}
	}
	return def
}

// Decode stores what is at a path in v, a pointer, as encoding/json does. It returns
// an *[Error] of code [NotFound], which names the nearest path, if there is nothing,
// and of code [Unprocessed] for what does not fit into v.
func (s *Settings) Decode(path string, v any) error {
	value, ok := s.find(path)
	if !ok {
		return wire.OfHost(Errorf(NotFound, "there is no configuration %q%s", path, s.hint(path)))
	}
	data := s.JSON()
	if path != "" {
		var err error
		if data, err = json.Marshal(value); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return wire.OfHost(Errorf(Unprocessed, "configuration %q: %v", path, err))
	}
	return nil
}

// hint says what may have been meant, and what may be in the way.
func (s *Settings) hint(path string) string {
	if s == nil {
		return ""
	}
	hint := ""
	if near := nearestPath(path, pathsOf(nil, "", s.root)); near != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	if s.partial {
		hint += ", or the function may not read it: access.config in its function.yaml lists what it may"
	}
	return hint
}

// pathsOf adds all paths into a document, sorted.
func pathsOf(list []string, prefix string, doc map[string]any) []string {
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		list = append(list, prefix+key)
		if below, ok := doc[key].(map[string]any); ok {
			list = pathsOf(list, prefix+key+".", below)
		}
	}
	return list
}

// nearestPath returns the path to which the fewest letters have to change, if these are
// at most a third of it.
func nearestPath(want string, have []string) (best string) {
	if len(want) > 100 {
		return ""
	}
	least := max(1, len(want)/3) + 1
	for _, path := range have {
		if d := letters(strings.ToLower(want), strings.ToLower(path)); d < least && d < len(want) {
			best, least = path, d
		}
	}
	return best
}

// letters is how many have to be put in, left out or exchanged.
func letters(a, b string) int {
	if len(b) > 200 {
		return len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
