package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Values of [Event.Order].
const (
	OrderNone = "none"
	OrderKey  = "key"
)

// Limits of the flow of events.
const (
	MaxRate  = 1_000_000 // events in a second, a minute or an hour
	MinQuiet = 10 * time.Millisecond
	MaxQuiet = time.Hour
	MaxBatch = 1000 // events that are handled together
	// MaxDedupe is how long the ID of an event is kept.
	MaxDedupe = 30 * 24 * time.Hour
)

// Filter says which events a trigger handles: those for which all of it holds.
type Filter struct {
	// Header holds the values, one of which a header must have, by its name, in any case.
	Header map[string][]string `json:"header,omitzero"`
	// Data holds the values, one of which a field of the data must have, by its
	// path, such as "order.status". Each is a string, a float64 or a bool. An event
	// without the field, or whose data are no JSON, is not handled.
	Data map[string][]any `json:"data,omitzero"`
}

// Batch says how many events are handled together.
type Batch struct {
	// Size is the most of them, from 2 to MaxBatch. Their data are at most 4 MiB
	// together, but for a single one.
	Size int `json:"size"`
	// Window is how long the first one waits for others, from MinQuiet to a minute.
	// Default 100ms.
	Window time.Duration `json:"window"`
}

var batchKeys = keys[Batch]{
	fields: []field[Batch]{
		required(key("size", integer(2, MaxBatch), func(b *Batch) *int { return &b.Size }, "The most events that are handled together.")),
		key("window", duration(MinQuiet, time.Minute), func(b *Batch) *time.Duration { return &b.Window },
			"How long the first one waits for others: 10ms to 1m."),
	},
	init: func(b *Batch) { b.Window = 100 * time.Millisecond },
}

var (
	keyPattern  = regexp.MustCompile(`^(subject|subject\.[1-9][0-9]{0,2}|header\.[!#$%&'*+.^_` + "`" + `|~0-9A-Za-z-]+|data(\.[^.\s]+)+)$`)
	ratePattern = regexp.MustCompile(`^[1-9][0-9]{0,6}/[smh]$`)
)

func checkKey(s string) *problem {
	if !keyPattern.MatchString(s) {
		return &problem{fmt.Sprintf("must be subject, subject.N, header.NAME or data.FIELD, not %.80q", s), ""}
	}
	return nil
}

func checkRate(s string) *problem {
	if !ratePattern.MatchString(s) {
		hint := ""
		if ratePattern.MatchString(s + "/s") {
			hint = "write " + s + "/s"
		}
		return &problem{fmt.Sprintf("must be a number of events in a time, such as 100/s, 100/m or 100/h, not %.80q", s), hint}
	}
	if n, _ := ParseRate(s); n > MaxRate {
		return &problem{fmt.Sprintf("must be from 1 to %d, not %d", MaxRate, n), ""}
	}
	return nil
}

// ParseRate returns what an [Event.Rate] says: so many events in a time. Of the
// empty rate, which is no limit, and of what is none it returns 0.
func ParseRate(s string) (n int, per time.Duration) {
	if !ratePattern.MatchString(s) {
		return 0, 0
	}
	n, _ = strconv.Atoi(s[:len(s)-2])
	return n, map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}[s[len(s)-1]]
}

// checkFlow reports keys that do not go together.
func checkFlow(r *reader, n node, e *Event) {
	apart := func(name, other string) {
		r.bad(n.child(name), "remove one of the two", "cannot stand beside %s", other)
	}
	if e.Dedupe%time.Second != 0 {
		r.bad(n.child("dedupe"), "", "must be whole seconds, not %s", formatDuration(e.Dedupe))
	}
	switch {
	case e.Order == OrderKey && e.PerKey > 0:
		r.bad(n.child("perKey"), "remove it", "cannot stand beside order: key, where it is always 1")
	case e.Order == OrderKey && e.Debounce > 0:
		apart("debounce", "order: key")
	case e.Order == OrderKey && e.Throttle > 0:
		apart("throttle", "order: key")
	case e.Debounce > 0 && e.Throttle > 0:
		apart("throttle", "debounce")
	case e.Debounce > 0 && e.PerKey > 0:
		apart("perKey", "debounce, which handles one event of a key at a time")
	case e.Throttle > 0 && e.PerKey > 0:
		apart("perKey", "throttle, which handles one event of a key at a time")
	case e.Batch != nil && (e.Order == OrderKey || e.PerKey > 0 || e.Debounce > 0 || e.Throttle > 0):
		r.bad(n.child("batch"), "remove one of the two", "cannot stand beside order, perKey, debounce and throttle, which are of single events")
	}
}

var filterKeys = keys[Filter]{
	fields: []field[Filter]{
		key("header", wanted(checkHeaderName, headerValue), func(f *Filter) *map[string][]string { return &f.Header },
			"Headers and the value each must have, or a list of those."),
		key("data", wanted(checkFieldPath, dataValue), func(f *Filter) *map[string][]any { return &f.Data },
			"Fields of the JSON data, such as order.status, and the value each must have, or a list of those."),
	},
	check: func(r *reader, n node, f *Filter) {
		if len(f.Header) == 0 && len(f.Data) == 0 {
			r.bad(n, "write header: or data: below it", "filters nothing")
		}
	},
}

func checkHeaderName(s string) *problem {
	if !keyPattern.MatchString("header." + s) {
		return &problem{"is no name of a header", ""}
	}
	return nil
}

func checkFieldPath(s string) *problem {
	if !keyPattern.MatchString("data." + s) {
		return &problem{"is no path of a field, such as order.status", ""}
	}
	return nil
}

// maxWanted is how many names a filter has, and how many values each.
const maxWanted = 64

// wanted is a mapping of names to a value or a list of values.
func wanted[V any](check func(string) *problem, of func(n node) (V, bool)) value[map[string][]V] {
	read := func(r *reader, n node) (list []V) {
		items := []node{n}
		if seq, ok := n.Node.(*ast.SequenceNode); ok {
			items = items[:0]
			for i, v := range seq.Values {
				items = append(items, node{Node: v, path: fmt.Sprintf("%s[%d]", n.path, i)})
			}
			if len(items) == 0 || len(items) > maxWanted {
				r.bad(n, "", "must have from 1 to %d items, not %d", maxWanted, len(items))
			}
		}
		for _, it := range items {
			if r.empty(it, "") {
				continue
			}
			v, ok := of(it)
			if !ok {
				r.bad(it, "", "must be text, a number, true or false, not %s", it.describe())
				continue
			}
			list = append(list, v)
		}
		return list
	}
	scalar := schema{"type": []string{"string", "number", "boolean"}}
	return value[map[string][]V]{
		read: func(r *reader, n node, into *map[string][]V) {
			all := make(map[string][]V)
			r.mapping(n, func(name string, v node) {
				if p := check(name); p != nil {
					r.fail(v.key, v.path, p.hint, "%.80q %s", name, p.message)
					return
				}
				all[name] = read(r, v)
			})
			if len(all) > maxWanted {
				r.bad(n, "", "must have at most %d names, not %d", maxWanted, len(all))
			}
			*into = all
		},
		schema: func(map[string][]V) schema {
			return schema{"type": "object", "minProperties": 1, "maxProperties": maxWanted, "additionalProperties": schema{
				"anyOf": []schema{scalar, {"type": "array", "items": scalar, "minItems": 1, "maxItems": maxWanted}},
			}}
		},
	}
}

// headerValue is any scalar as it is written, since headers are text.
func headerValue(n node) (string, bool) { return n.scalar() }

func dataValue(n node) (any, bool) {
	switch v := n.Node.(type) {
	case *ast.BoolNode:
		return v.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.GetToken().Value, "_", ""), 64)
		return f, err == nil
	}
	return n.text()
}
