package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// list is a list. check, if there is one, reports what is wrong between the
// items, of which it gets those that are right for themselves.
func list[V any](kind value[V], maxItems int, check func(r *reader, items []item[V])) value[[]V] {
	return value[[]V]{
		read: func(r *reader, n node, into *[]V) {
			seq, ok := n.Node.(*ast.SequenceNode)
			if !ok {
				r.bad(n, listHint(n), "must be a list, not %s", n.describe())
				return
			}
			if maxItems > 0 && len(seq.Values) > maxItems {
				r.bad(n, "", "must have at most %d items, not %d", maxItems, len(seq.Values))
				return
			}
			var items []item[V]
			for i, v := range seq.Values {
				it := item[V]{node: node{Node: v, path: fmt.Sprintf("%s[%d]", n.path, i)}}
				if i < len(seq.Entries) { // A list in flow style has none.
					it.node.key = tokenPosition(seq.Entries[i].Start)
				}
				before := len(r.errs)
				if r.empty(it.node, "") {
					continue
				}
				kind.read(r, it.node, &it.value)
				if len(r.errs) == before {
					items = append(items, it)
				}
			}
			if check != nil {
				check(r, items)
			}
			for _, it := range items {
				*into = append(*into, it.value)
			}
		},
		schema: func([]V) schema {
			var zero V
			s := schema{"type": "array", "items": kind.schema(zero)}
			if maxItems > 0 {
				s["maxItems"] = maxItems
			}
			return s
		},
	}
}

func listHint(n node) string {
	if s, ok := n.scalar(); ok && s != "" && !strings.ContainsAny(s, "\n,[]{}") {
		return fmt.Sprintf("write [%s]", quoteIfSpecial(s))
	}
	return ""
}

// quoteIfSpecial puts text in quotes that YAML would not take for text without.
func quoteIfSpecial(s string) string {
	if strings.ContainsAny(s, "*&!%@`\"'#:|>?") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// texts is a list of text without repetitions.
func texts(kind value[string]) value[[]string] {
	all := list(kind, 0, func(r *reader, items []item[string]) {
		seen := make(map[string]bool)
		for _, it := range items {
			if seen[it.value] {
				r.bad(it.node, "", "repeats %q", it.value)
			}
			seen[it.value] = true
		}
	})
	schemaOf := all.schema
	all.schema = func(def []string) schema { return schemaOf(def).with("uniqueItems", true) }
	return all
}

const envPrefix = "FNHOST_"

var envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment is a mapping of names to text. Numbers, true and false are taken as
// they are written, because in an environment they are text anyway.
func environment() value[map[string]string] {
	return value[map[string]string]{
		read: func(r *reader, n node, into *map[string]string) {
			env := make(map[string]string)
			r.mapping(n, func(name string, v node) {
				if p := checkEnvName(name); p != nil {
					r.fail(v.key, v.path, p.hint, "environment variable %.80q %s", name, p.message)
					return
				}
				if r.empty(v, `write "" for the empty text`) {
					return
				}
				s, ok := v.scalar()
				switch {
				case !ok:
					r.bad(v, "", "must be text, not %s", v.describe())
				case strings.ContainsRune(s, 0):
					r.bad(v, "", "must not hold a NUL character")
				default:
					if p := checkExpand(s); p != nil {
						r.bad(v, p.hint, "%s", p.message)
						return
					}
					env[name] = s
				}
			})
			if len(env) > 0 {
				*into = env
			}
		},
		schema: func(map[string]string) schema {
			return schema{
				"type": "object",
				"propertyNames": schema{
					"pattern": envPattern.String(),
					"not":     schema{"pattern": "^(" + envPrefix + "|GOMEMLIMIT$)"},
				},
				"additionalProperties": schema{"type": []string{"string", "number", "boolean"}},
			}
		},
	}
}

func checkEnvName(name string) *problem {
	switch {
	case !envPattern.MatchString(name):
		return &problem{"must be letters, digits and _, and not begin with a digit", ""}
	case strings.HasPrefix(name, envPrefix):
		return &problem{"begins with " + envPrefix + ", which is reserved", ""}
	case name == "GOMEMLIMIT":
		return &problem{"is set by the host", "use the key memory"}
	}
	return nil
}
