package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Layer names one: that of a namespace, of a function in it, or of one version of
// that.
type Layer struct {
	Namespace string
	Function  string // "" for the layer of the namespace
	Version   int    // 0 for all of them
}

// Key returns the key of the layer in its bucket.
func (l Layer) Key() string {
	switch {
	case l.Function == "":
		return "namespace." + l.Namespace
	case l.Version == 0:
		return "function." + l.Namespace + "." + l.Function
	}
	return fmt.Sprintf("version.%s.%s.%d", l.Namespace, l.Function, l.Version)
}

// ParseKey returns the layer of a key; ok is false if it is that of none.
func ParseKey(key string) (l Layer, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) < 2 {
		return l, false
	}
	l.Namespace = parts[1]
	if len(parts) > 2 {
		l.Function = parts[2]
	}
	if len(parts) > 3 {
		l.Version, _ = strconv.Atoi(parts[3])
	}
	return l, l.Key() == key
}

// String returns "namespace default", "function orders" or "version v7 of orders".
func (l Layer) String() string {
	switch {
	case l.Function == "":
		return "namespace " + l.Namespace
	case l.Version == 0:
		return "function " + l.Function
	}
	return fmt.Sprintf("version v%d of %s", l.Version, l.Function)
}

// Reaches reports whether a version of a function reads the layer.
func (l Layer) Reaches(namespace, function string, version int) bool {
	return l.Namespace == namespace && (l.Function == "" || l.Function == function && (l.Version == 0 || l.Version == version))
}

// Record is a layer at a revision.
type Record struct {
	Values   map[string]any `json:"values"`
	By       string         `json:"by,omitempty"` // who has changed it
	Time     time.Time      `json:"time"`
	Change   string         `json:"change"` // what was changed: "set limits.rate to 5"
	Revision uint64         `json:"-"`      // 0 if nothing was ever set
}

// State is all layers at one moment. It is never changed.
type State struct {
	layers     map[Layer]*Record
	generation uint64
}

// Layer returns a layer, of revision 0 and without values if nothing was ever set.
func (s *State) Layer(l Layer) *Record {
	if r := s.layers[l]; r != nil {
		return r
	}
	return &Record{Values: make(map[string]any)}
}

// layersOf are those that a version of a function reads, the later ones winning.
func layersOf(namespace, function string, version int) []Layer {
	list := []Layer{{Namespace: namespace}, {Namespace: namespace, Function: function}}
	if version > 0 {
		list = append(list, Layer{Namespace: namespace, Function: function, Version: version})
	}
	return list
}

// Effective returns what a version of a function reads whose manifest has these
// defaults, and the revision of the latest layer in it.
func (s *State) Effective(defaults map[string]any, namespace, function string, version int) (map[string]any, uint64) {
	docs, revision := []map[string]any{defaults}, uint64(0)
	for _, l := range layersOf(namespace, function, version) {
		r := s.Layer(l)
		docs, revision = append(docs, r.Values), max(revision, r.Revision)
	}
	return Merge(docs...), revision
}

// Origins tells, by path, from which layer each leaf of Effective comes; the zero
// Layer stands for the defaults.
func (s *State) Origins(defaults map[string]any, namespace, function string, version int) map[string]Layer {
	doc, _ := s.Effective(defaults, namespace, function, version)
	list := layersOf(namespace, function, version)
	origins := make(map[string]Layer)
	for _, leaf := range Leaves(doc) {
		var from Layer
		for _, l := range list {
			if v, err := Get(s.Layer(l).Values, leaf.Path); err == nil && v != nil {
				from = l
			}
		}
		origins[leaf.Path] = from
	}
	return origins
}

// with is the state with another record of a layer.
func (s *State) with(l Layer, r *Record) *State {
	next := &State{layers: make(map[Layer]*Record, len(s.layers)+1), generation: s.generation}
	for other, record := range s.layers {
		next.layers[other] = record
	}
	if next.layers[l] = r; r == nil {
		delete(next.layers, l)
	}
	return next
}
