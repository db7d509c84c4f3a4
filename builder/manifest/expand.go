package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/nearest"
)

// references are what a value of Env may refer to, with a check of what is named.
var references = map[string]func(name string) *problem{
	"config": func(name string) *problem {
		if name == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
			return &problem{fmt.Sprintf("names no configuration: %q", name), "write ${config:limits.rate}, or ${config:limits.rate:10} for a default"}
		}
		return nil
	},
}

// Reference is what a value of Env refers to: ${config:limits.rate:10}.
type Reference struct {
	Kind     string // "config"
	Name     string // "limits.rate"
	Default  string // "10", for where there is nothing of that name
	Optional bool   // there is a Default
}

// Refers reports whether Expand would change a value of Env.
func Refers(value string) bool { return strings.Contains(value, "${") }

// Expand returns a value of Env with what lookup returns in place of its references,
// such as ${config:limits.rate}, or ${config:limits.rate:10} with a default. $${ is the
// text ${. It returns the error of lookup.
func Expand(value string, lookup func(Reference) (string, error)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "${")
		if !found {
			out.WriteString(value)
			return out.String(), nil
		}
		if text, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(text + "${")
			value = rest
			continue
		}
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("%q has no end", "${"+inside)
		}
		var ref Reference
		ref.Kind, ref.Name, _ = strings.Cut(inside, ":")
		ref.Name, ref.Default, ref.Optional = strings.Cut(ref.Name, ":")
		text, err := lookup(ref)
		if err != nil {
			return "", err
		}
		out.WriteString(before + text)
		value = after
	}
}

// checkExpand reports a reference that is none.
func checkExpand(value string) (found *problem) {
	if !Refers(value) {
		return nil
	}
	_, err := Expand(value, func(ref Reference) (string, error) {
		check, ok := references[ref.Kind]
		switch {
		case found != nil:
		case !ok:
			kinds := slices.Sorted(maps.Keys(references))
			found = &problem{fmt.Sprintf("refers to %q, and only %s can be referred to%s", ref.Kind, strings.Join(kinds, " and "), nearest.DidYouMean(ref.Kind, kinds)), "write $${ for the text"}
		default:
			found = check(ref.Name)
		}
		return "", nil
	})
	if err != nil && found == nil {
		found = &problem{fmt.Sprintf("refers to something that has no end: %.80q", value), "write ${config:limits.rate}, and $${ for the text"}
	}
	return found
}
