package manifest

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fnhost/fnhost/builder/nearest"
)

// within is where a keyword of JSON Schema has further schemas.
type within uint8

const (
	none   within = iota // it has none
	itself               // its value is one, or a list of them
	named                // its value is a mapping of names to them
)

// keywords are those of JSON Schema, draft 4 to 2020-12.
var keywords = func() map[string]within {
	words := make(map[string]within)
	for where, list := range map[within]string{
		none: `$id id $schema $ref $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment
			type const enum multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern maxItems minItems
			uniqueItems maxContains minContains maxProperties minProperties required dependentRequired
			format contentEncoding contentMediaType title description default deprecated readOnly writeOnly examples`,
		itself: `prefixItems items additionalItems contains additionalProperties propertyNames if then else allOf anyOf oneOf not
			unevaluatedItems unevaluatedProperties contentSchema`,
		named: `properties patternProperties dependentSchemas dependencies $defs definitions`,
	} {
		for word := range strings.FieldsSeq(list) {
			words[word] = where
		}
	}
	return words
}()

// checkKeywords reports keywords that there are not: a validator takes no notice of them,
// so that what was meant would hold for nothing.
func checkKeywords(r *reader, n node) {
	if list, ok := n.Node.(*ast.SequenceNode); ok {
		for i := range list.Values {
			checkKeywords(r, n.item(i))
		}
		return
	}
	for _, p := range pairs(n.Node) {
		word, below := keyText(p.Key), n.at(p)
		where, ok := keywords[word]
		switch {
		case !ok && !strings.HasPrefix(word, "x-"):
			hint := "names of your own begin with x-"
			if name, ok := nearest.Name(word, slices.Sorted(maps.Keys(keywords))); ok {
				hint = `did you mean "` + name + `"?`
			}
			r.fail(below.key, below.path, hint, "%s has a keyword that JSON Schema has not: %.80q", n.path, word)
		case where == itself:
			checkKeywords(r, below)
		case where == named:
			for _, one := range pairs(below.Node) {
				if v := below.at(one); !isList(v) { // dependencies may be lists of names
					checkKeywords(r, v)
				}
			}
		}
	}
}

func isList(n node) bool {
	_, ok := n.Node.(*ast.SequenceNode)
	return ok
}
