package kvtest

import (
	"fmt"
	"strings"

	"github.com/fnhost/fnhost/kv"
)

// put makes keys that hold their names.
func (f *fixture) puts(keys string) {
	f.Helper()
	for key := range strings.FieldsSeq(keys) {
		f.put(key, key)
	}
}

var lists = []test{
	{name: "filters", run: func(f *fixture) {
		f.puts("order.7.item order.7 order.10 order orders.1 user.ada user.bob.mail users user-x")
		for _, test := range []struct {
			filter kv.Filter
			want   string
		}{
			{kv.Filter{}, "order order.10 order.7 order.7.item orders.1 user-x user.ada user.bob.mail users"},
			{kv.Prefix("order."), "order.10 order.7 order.7.item"},
			{kv.Prefix("order"), "order order.10 order.7 order.7.item orders.1"},
			{kv.Prefix("order.7"), "order.7 order.7.item"},
			{kv.Prefix("user.b"), "user.bob.mail"},
			{kv.Prefix("nobody."), ""},
			{kv.Filter{Suffix: ".mail"}, "user.bob.mail"},
			{kv.Filter{Prefix: "order.", Suffix: "0"}, "order.10"},
			{kv.Glob("order.*"), "order.10 order.7"},
			{kv.Glob("order.**"), "order.10 order.7 order.7.item"},
			{kv.Glob("**.mail"), "user.bob.mail"},
			{kv.Glob("*.7"), "order.7"},
			{kv.Glob("user?x"), "user-x"},
			{kv.Glob("order*"), "order"},
			{kv.Glob("order?.*"), "orders.1"},
			{kv.Glob("us**a"), "user.ada"},
			{kv.Filter{Prefix: "order.", Glob: "**em"}, "order.7.item"},
			{kv.Key("users"), "users"},
			{kv.Key("user"), ""},
		} {
			if got := f.keys(kv.Query{Filter: test.filter}); got != test.want {
				f.Errorf("%+v: got %q, want %q", test.filter, got, test.want)
			}
			n, err := f.Count(f.ctx, test.filter)
			if want := len(strings.Fields(test.want)); n != want || err != nil {
				f.Errorf("%+v: counted %d, %v, want %d", test.filter, n, err, want)
			}
		}
	}},
	{name: "pages in both directions", run: func(f *fixture) {
		var want []string
		for i := range 25 {
			want = append(want, fmt.Sprintf("p.%02d", i))
		}
		f.puts(strings.Join(want, " ") + " a z")
		f.delete("p.03")
		f.delete("p.24")
		want = append(want[:3], want[4:24]...)
		for limit := 1; limit < 30; limit += 4 {
			if got := f.keys(kv.Query{Filter: kv.Prefix("p."), Limit: limit}); got != strings.Join(want, " ") {
				f.Errorf("pages of %d: got %q", limit, got)
			}
		}
		page, err := f.List(f.ctx, kv.Query{Filter: kv.Prefix("p."), Limit: 2, Descending: true})
		f.ok(err)
		if len(page.Entries) != 2 || page.Entries[0].Key != "p.23" || page.Entries[1].Key != "p.22" || page.Next == "" {
			f.Errorf("got %+v", page)
		}
		page, err = f.List(f.ctx, kv.Query{Filter: kv.Prefix("p."), Limit: 30, Descending: true, After: page.Next})
		f.ok(err)
		if len(page.Entries) != 21 || page.Entries[0].Key != "p.21" || page.Next != "" {
			f.Errorf("got %+v", page)
		}
		page, err = f.List(f.ctx, kv.Query{Filter: kv.Prefix("p."), After: "p.100"})
		f.ok(err)
		if len(page.Entries) == 0 || page.Entries[0].Key != "p.11" {
			f.Errorf("behind a key that is not there: %+v", page)
		}
	}},
	{name: "a page has what was written after the page before", run: func(f *fixture) {
		f.puts("a b c d e g")
		page, err := f.List(f.ctx, kv.Query{Limit: 2})
		f.ok(err)
		f.puts("f ab z c")
		f.delete("d")
		f.delete("z")
		if got := f.keys(kv.Query{Limit: 2, After: page.Next}); got != "c e f g" {
			f.Errorf("behind %s: got %q", page.Next, got)
		}
		f.puts("bb")
		if got := f.keys(kv.Query{Limit: 2, After: page.Next}); got != "bb c e f g" {
			f.Errorf("behind %s: got %q", page.Next, got)
		}
	}},
	{name: "with values and without", run: func(f *fixture) {
		f.puts("a b")
		page, err := f.List(f.ctx, kv.Query{Values: true})
		f.ok(err)
		if len(page.Entries) != 2 || string(page.Entries[1].Value) != "b" || page.Entries[1].Revision != f.get("b").Revision || page.Entries[1].Created.IsZero() {
			f.Errorf("got %+v", page)
		}
		page, err = f.List(f.ctx, kv.Query{})
		f.ok(err)
		if len(page.Entries) != 2 || page.Entries[1].Value != nil || page.Entries[1].Key != "b" {
			f.Errorf("got %+v", page)
		}
	}},
	{name: "large values come in several pages", run: func(f *fixture) {
		value := strings.Repeat("x", 512<<10)
		for i := range 24 {
			f.put(fmt.Sprintf("k.%02d", i), value)
		}
		n := 0
		for e, err := range kv.All(f.ctx, f.Bucket, kv.Query{Values: true}) {
			f.ok(err)
			if e.Key != fmt.Sprintf("k.%02d", n) || len(e.Value) != len(value) {
				f.Fatalf("entry %d is %s of %d bytes", n, e.Key, len(e.Value))
			}
			n++
		}
		if n != 24 {
			f.Errorf("%d of 24", n)
		}
	}},
	{name: "more keys than are read at once", run: func(f *fixture) {
		const n = 1300
		changes := make([]kv.Change, 0, 100)
		for i := range n {
			changes = append(changes, kv.Put(fmt.Sprintf("k.%04d", i), []byte("v")))
			if len(changes) == cap(changes) {
				_, err := f.Commit(f.ctx, changes...)
				f.ok(err)
				changes = changes[:0]
			}
		}
		page, err := f.List(f.ctx, kv.Query{})
		f.ok(err)
		if len(page.Entries) != 1000 || page.Next != "k.0999" {
			f.Errorf("a page of %d, next %q", len(page.Entries), page.Next)
		}
		if got := len(strings.Fields(f.keys(kv.Query{}))); got != n {
			f.Errorf("%d of %d", got, n)
		}
	}},
	{name: "queries that are none", run: func(f *fixture) {
		for _, q := range []kv.Query{{Limit: -1}, {Limit: kv.MaxPage + 1}, {Filter: kv.Prefix("a*")}, {Filter: kv.Glob("a..b")}, {Filter: kv.Glob("a.>")}, {Filter: kv.Prefix(".a")}, {Filter: kv.Filter{Suffix: " "}}} {
			_, err := f.List(f.ctx, q)
			f.is(err, kv.ErrInvalidQuery)
		}
		_, err := f.Count(f.ctx, kv.Glob("a b"))
		f.is(err, kv.ErrInvalidQuery)
		_, err = f.Watch(f.ctx, kv.WatchOptions{Filter: kv.Glob("a b")})
		f.is(err, kv.ErrInvalidQuery)
		_, err = f.Watch(f.ctx, kv.WatchOptions{Initial: true, From: 1})
		f.is(err, kv.ErrInvalidQuery)
	}},
}
