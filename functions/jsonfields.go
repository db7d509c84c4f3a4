package functions

import (
	"reflect"
	"strings"
)

// jsonField is a field of a struct as encoding/json sees it, those of embedded
// structs among them.
type jsonField struct {
	reflect.StructField
	owner  reflect.Type // the struct that declares it
	name   string       // in JSON
	quoted bool         // has the option string
	tagged bool         // its tag gives the name
	depth  int          // how deep it was embedded
	clash  bool         // another one has its name, and neither comes first
}

// jsonFields lists the fields of the struct t that encoding/json sees, as they
// are declared. Of those with one name the least embedded counts, then the one
// whose tag gives that name; without such a one none does.
func jsonFields(t reflect.Type) []jsonField {
	all := allFields(nil, t, 0)
	first := make(map[string]*jsonField, len(all))
	for i := range all {
		f := &all[i]
		other := first[f.name]
		switch {
		case other == nil, f.depth < other.depth, f.depth == other.depth && f.tagged && !other.tagged:
			first[f.name] = f
		case f.depth == other.depth && f.tagged == other.tagged:
			other.clash = true
		}
	}
	list := all[:0:0]
	for i := range all {
		if f := &all[i]; first[f.name] == f && !f.clash {
			list = append(list, *f)
		}
	}
	return list
}

// allFields adds the fields of t, and of what it embeds down to a depth of maxDepth.
func allFields(list []jsonField, t reflect.Type, depth int) []jsonField {
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if f.Anonymous && name == "" && ft.Kind() == reflect.Struct {
			if depth < maxDepth {
				list = allFields(list, ft, depth+1)
			}
			continue
		}
		if !f.IsExported() && !(f.Anonymous && ft.Kind() == reflect.Struct) {
			continue
		}
		tagged := name != ""
		if !tagged {
			name = f.Name
		}
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, jsonField{StructField: f, owner: t, name: name, tagged: tagged, depth: depth,
			quoted: strings.Contains(","+options+",", ",string,")})
	}
	return list
}
