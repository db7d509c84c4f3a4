package config

import (
	"errors"
	"strings"
	"testing"
)

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	doc, err := ParseObject([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func value(t testing.TB, text string) any {
	t.Helper()
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLayersMerge(t *testing.T) {
	for _, test := range []struct{ name, layers, want string }{
		{"nothing", `{}`, `{}`},
		{"objects by key", `{"a":{"b":1,"c":2}} {"a":{"c":3,"d":4}}`, `{"a":{"b":1,"c":3,"d":4}}`},
		{"lists as a whole", `{"a":[1,2,{"b":1}]} {"a":[3]}`, `{"a":[3]}`},
		{"an object over a scalar", `{"a":1} {"a":{"b":2}}`, `{"a":{"b":2}}`},
		{"a scalar over an object", `{"a":{"b":2}} {"a":1}`, `{"a":1}`},
		{"null takes away", `{"a":{"b":1,"c":2}} {"a":{"b":null}}`, `{"a":{"c":2}}`},
		{"null takes an object away", `{"a":{"b":1}} {"a":null}`, `{}`},
		{"null over nothing", `{} {"a":{"b":null}}`, `{"a":{}}`},
		{"and it can come back", `{"a":1} {"a":null} {"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{"null in a list stays", `{"a":[null]}`, `{"a":[null]}`},
		{"big integers stay exact", `{"a":9007199254740993} {"b":123456789012345678901234567890}`, `{"a":9007199254740993,"b":123456789012345678901234567890}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var layers []map[string]any
			for text := range strings.SplitSeq(test.layers, " ") {
				layers = append(layers, object(t, text))
			}
			first := string(Marshal(layers[0]))
			if got := string(Marshal(Merge(layers...))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if string(Marshal(layers[0])) != first {
				t.Error("a layer was changed")
			}
		})
	}
}

func TestPaths(t *testing.T) {
	const doc = `{"a":{"b":1,"c":[{"d":1},2]},"e":"x"}`
	for _, test := range []struct{ name, path, set, want, removed string }{
		{"a key", "e", `2`, `{"a":{"b":1,"c":[{"d":1},2]},"e":2}`, `{"a":{"b":1,"c":[{"d":1},2]}}`},
		{"a key below", "a.b", `{"x":1}`, `{"a":{"b":{"x":1},"c":[{"d":1},2]},"e":"x"}`, `{"a":{"c":[{"d":1},2]},"e":"x"}`},
		{"all of an item", "a.c.0.d", `3`, `{"a":{"b":1,"c":[{"d":3},2]},"e":"x"}`, `{"a":{"b":1,"c":[{},2]},"e":"x"}`},
		{"an item", "a.c.1", `3`, `{"a":{"b":1,"c":[{"d":1},3]},"e":"x"}`, `{"a":{"b":1,"c":[{"d":1}]},"e":"x"}`},
		{"below an item", "a.c.0.d", `3`, `{"a":{"b":1,"c":[{"d":3},2]},"e":"x"}`, `{"a":{"b":1,"c":[{},2]},"e":"x"}`},
		{"the next item", "a.c.2", `3`, `{"a":{"b":1,"c":[{"d":1},2,3]},"e":"x"}`, ""},
		{"a new object", "n.m.o", `3`, `{"a":{"b":1,"c":[{"d":1},2]},"e":"x","n":{"m":{"o":3}}}`, ""},
		{"all", "", `{"q":1}`, `{"q":1}`, `{}`},
		{"an item too far", "a.c.4", `3`, "", ""},
		{"an item by a word", "a.c.x", `3`, "", ""},
		{"below a scalar", "e.x", `3`, "", ""},
		{"all by a scalar", "", `3`, "", `{}`},
		{"an empty key", "a..b", `3`, "", ""},
		{"a dot at the end", "a.", `3`, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := object(t, doc)
			next, err := Set(d, test.path, value(t, test.set))
			if got := string(Marshal(next)); (err == nil) != (test.want != "") || err == nil && got != test.want {
				t.Errorf("set: %s, %v; want %s", got, err, test.want)
			}
			if err != nil && !errors.Is(err, ErrPath) && !errors.Is(err, ErrValue) {
				t.Errorf("set: %v", err)
			}
			left, err := Remove(d, test.path)
			if got := string(Marshal(left)); (err == nil) != (test.removed != "") || err == nil && got != test.removed {
				t.Errorf("remove: %s, %v; want %s", got, err, test.removed)
			}
			if string(Marshal(d)) != doc {
				t.Errorf("the document has become %s", Marshal(d))
			}
		})
	}
}

func TestOnlyWhatIsAllowed(t *testing.T) {
	const doc = `{"limits":{"rate":1,"burst":2},"orders":{"a":{"x":1},"b":2},"list":[1]}`
	for _, test := range []struct {
		patterns, want string
		left           bool
	}{
		{"*", doc, false},
		{"limits", `{"limits":{"burst":2,"rate":1}}`, true},
		{"limits.*", `{"limits":{"burst":2,"rate":1}}`, true},
		{"limits.rate", `{"limits":{"rate":1}}`, true},
		{"*.a", `{"orders":{"a":{"x":1}}}`, true},
		{"*.x list", `{"list":[1],"orders":{"a":{"x":1}}}`, true},
		{"o*s.*b", `{"orders":{"b":2}}`, true},
		{"lim", `{}`, true},
		{"", `{}`, true},
		{"limits orders list", doc, false},
		{"limits.rate limits.burst orders list", doc, false},
	} {
		got, left := Only(object(t, doc), strings.Fields(test.patterns))
		if !same(got, object(t, test.want)) || left != test.left {
			t.Errorf("%q: %s %v, want %s %v", test.patterns, Marshal(got), left, test.want, test.left)
		}
	}
}

func TestValuesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "{", `{"a":1} 2`, `{"":1}`, "1e9999", strings.Repeat("9", 100), strings.Repeat("[", 40) + strings.Repeat("]", 40), `"` + strings.Repeat("x", MaxSize) + `"`} {
		if v, err := Parse([]byte(text)); !errors.Is(err, ErrValue) {
			t.Errorf("%.20s: %v, %v", text, v, err)
		}
	}
}

// What was set is there, and what was beside it stays, whatever the paths.
func FuzzSetHarmsNoNeighbour(f *testing.F) {
	for _, seed := range []string{"a.b", "a.c.1", "a.c.0.d", "x.y.z", "a.c.2", "e", "a.c"} {
		f.Add(seed, `{"a":{"b":1,"c":[{"d":1},2]},"e":"x"}`, `{"n":1}`)
	}
	f.Fuzz(func(t *testing.T, path, doc, text string) {
		d, err := ParseObject([]byte(doc))
		v, vErr := Parse([]byte(text))
		if err != nil || vErr != nil || path == "" {
			t.Skip()
		}
		before := Marshal(d)
		next, err := Set(d, path, v)
		if string(Marshal(d)) != string(before) {
			t.Fatalf("set %q has changed the document itself", path)
		}
		if err != nil {
			return
		}
		if got, err := Get(next, path); err != nil || !same(got, v) {
			t.Fatalf("set %q in %s to %s: there is %s, %v", path, doc, text, Marshal(got), err)
		}
		for _, leaf := range Leaves(d) {
			related := leaf.Path == path || strings.HasPrefix(leaf.Path+".", path+".") || strings.HasPrefix(path+".", leaf.Path+".")
			if _, err := split(leaf.Path); related || err != nil {
				continue
			}
			was, err := Get(d, leaf.Path)
			if err != nil {
				continue // a key with a dot in it
			}
			if got, err := Get(next, leaf.Path); err != nil || !same(got, was) {
				t.Fatalf("set %q in %s: %q is %s, %v", path, doc, leaf.Path, Marshal(got), err)
			}
		}
		if _, err := Remove(next, path); err != nil {
			t.Fatalf("remove %q: %v", path, err)
		}
		// What is merged once is not changed by merging it again.
		if once := Merge(d, next); !same(Merge(once, next), once) {
			t.Fatalf("%s is not %s", Marshal(Merge(once, next)), Marshal(once))
		}
	})
}

func TestRemovingTheLastLeavesNoEmptyObjects(t *testing.T) {
	left, err := Remove(object(t, `{"a":{"b":{"c":1}},"e":"x"}`), "a.b.c")
	if got := string(Marshal(left)); err != nil || got != `{"e":"x"}` {
		t.Errorf("%s, %v", got, err)
	}
}
