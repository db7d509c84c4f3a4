package kvtest

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

var commits = []test{
	{name: "numbers are added to among other changes", run: func(f *fixture) {
		f.put("text", "x")
		_, err := f.Commit(f.ctx, kv.Add("n", 5), kv.Add("m", -2), kv.Put("a", []byte("1"), kv.IfAbsent()))
		f.ok(err)
		revs, err := f.Commit(f.ctx, kv.Add("n", 1), kv.Delete("m"))
		f.ok(err)
		f.holds("n", "6")
		f.absent("m")
		if e := f.get("n"); e.Revision != revs[0] || revs[1] <= revs[0] {
			f.Errorf("n is at %d, told %v", e.Revision, revs)
		}
		_, err = f.Commit(f.ctx, kv.Add("n", 1), kv.Put("a", nil, kv.IfAbsent()))
		f.is(err, kv.ErrExists)
		_, err = f.Commit(f.ctx, kv.Add("n", 1), kv.Add("text", 1))
		f.is(err, kv.ErrNotNumber)
		f.holds("n", "6")
		_, err = f.Commit(f.ctx, kv.Add("short", 1, kv.TTL(time.Second)))
		f.ok(err)
		f.gone("short")
	}},
	{name: "those who add are in nobody's way", run: func(f *fixture) {
		const adders, each = 8, 10
		var wg sync.WaitGroup
		for a := range adders {
			wg.Go(func() {
				for range each {
					keys := []kv.Change{kv.Add("x", 1), kv.Add("y", 1)}
					if a%2 == 1 {
						keys[0], keys[1] = keys[1], keys[0]
					}
					if _, err := f.Commit(f.ctx, keys...); err != nil {
						f.Error(err)
					}
				}
			})
		}
		wg.Wait()
		f.holds("x", strconv.Itoa(adders*each))
		f.holds("y", strconv.Itoa(adders*each))
	}},
	{name: "all changes are made", run: func(f *fixture) {
		a, b := f.put("a", "1"), f.put("b", "1")
		c := f.put("c", "1")
		f.puts("d e")
		revs, err := f.Commit(f.ctx,
			kv.Put("a", []byte("2"), kv.IfRevision(a)),
			kv.Check("c", c),
			kv.Delete("b", kv.IfRevision(b)),
			kv.Put("new", []byte("n"), kv.IfAbsent()),
			kv.Delete("d", kv.Purge()),
			kv.Check("never", 0),
			kv.Put("e", []byte("2")))
		f.ok(err)
		f.holds("a", "2")
		f.absent("b")
		f.holds("c", "1")
		f.absent("d")
		f.holds("new", "n")
		f.holds("e", "2")
		for i, key := range map[int]string{0: "a", 3: "new", 6: "e"} {
			if e := f.get(key); e.Revision != revs[i] {
				f.Errorf("%s is at %d, told %d", key, e.Revision, revs[i])
			}
		}
		if revs[1] != 0 || revs[5] != 0 || f.get("c").Revision != c {
			f.Errorf("checks have revisions: %v", revs)
		}
	}},
	{name: "nothing is made if a condition does not hold", run: func(f *fixture) {
		first := f.put("a", "1")
		second := f.put("a", "2")
		b := f.put("b", "1")
		for _, test := range []struct {
			bad             kv.Change
			wanted, current uint64
		}{
			{kv.Put("a", []byte("x"), kv.IfRevision(first)), first, second},
			{kv.Put("a", []byte("x"), kv.IfAbsent()), 0, second},
			{kv.Delete("a", kv.IfRevision(first)), first, second},
			{kv.Check("a", first), first, second},
			{kv.Check("a", 0), 0, second},
			{kv.Check("none", first), first, 0},
		} {
			for _, changes := range [][]kv.Change{
				{kv.Put("b", []byte("x"), kv.IfRevision(b)), kv.Delete("c"), test.bad},
				{test.bad, kv.Put("b", []byte("x"))},
				{kv.Put("b", []byte("x"), kv.IfRevision(b)), test.bad},
				{test.bad},
			} {
				revs, err := f.Commit(f.ctx, changes...)
				if revs != nil {
					f.Errorf("revisions %v", revs)
				}
				f.conflicts(err, test.bad.Key, test.wanted, test.current)
			}
		}
		f.holds("a", "2")
		f.holds("b", "1")
		f.absent("c")
	}},
	{name: "checks alone", run: func(f *fixture) {
		a, b := f.put("a", "1"), f.put("b", "1")
		_, err := f.Commit(f.ctx, kv.Check("a", a), kv.Check("b", b), kv.Check("c", 0))
		f.ok(err)
		_, err = f.Commit(f.ctx, kv.Check("a", a), kv.Check("b", a))
		f.conflicts(err, "b", a, b)
		_, err = f.Commit(f.ctx)
		f.ok(err)
		if got := f.keys(kv.Query{}); got != "a b" {
			f.Errorf("there are %q", got)
		}
	}},
	{name: "what was deleted can be made again", run: func(f *fixture) {
		f.puts("a b")
		f.delete("a")
		f.delete("b")
		_, err := f.Commit(f.ctx, kv.Put("a", []byte("1"), kv.IfAbsent()), kv.Check("b", 0))
		f.ok(err)
		f.holds("a", "1")
	}},
	{name: "the same with history", history: 4, run: func(f *fixture) {
		a := f.put("a", "1")
		f.puts("b")
		f.delete("b")
		_, err := f.Commit(f.ctx, kv.Put("a", []byte("2"), kv.IfRevision(a)), kv.Put("b", []byte("2"), kv.IfAbsent()), kv.Delete("c"))
		f.ok(err)
		list, err := f.History(f.ctx, "a")
		f.ok(err)
		if len(list) != 2 || string(list[0].Value) != "1" || string(list[1].Value) != "2" {
			f.Errorf("got %+v", list)
		}
	}},
	{name: "commits that are none", run: func(f *fixture) {
		_, err := f.Commit(f.ctx, kv.Put("a", nil), kv.Delete("a"))
		f.is(err, kv.ErrInvalidKey)
		var many []kv.Change
		for i := range kv.MaxChanges {
			many = append(many, kv.Put(fmt.Sprint("k", i), nil, kv.IfAbsent()))
		}
		_, err = f.Commit(f.ctx, many...)
		f.ok(err)
		_, err = f.Commit(f.ctx, append(many, kv.Put("one.more", nil))...)
		f.is(err, kv.ErrTooLarge)
		f.absent("one.more")
	}},
	{name: "money is neither made nor lost", run: func(f *fixture) {
		const accounts, movers, each, money = 5, 6, 8, 100
		for i := range accounts {
			f.put(fmt.Sprint("account.", i), strconv.Itoa(money))
		}
		var wg sync.WaitGroup
		for m := range movers {
			wg.Go(func() {
				for n := range each {
					from, to := (m+n)%accounts, (m+n+1+n%(accounts-1))%accounts
					if err := f.move(fmt.Sprint("account.", from), fmt.Sprint("account.", to), 1+n%7); err != nil {
						f.Error(err)
					}
				}
			})
		}
		wg.Wait()
		sum := 0
		page, err := f.List(f.ctx, kv.Query{Filter: kv.Prefix("account."), Values: true})
		f.ok(err)
		for _, e := range page.Entries {
			n, err := strconv.Atoi(string(e.Value))
			f.ok(err)
			sum += n
		}
		if sum != accounts*money {
			f.Errorf("%d of %d", sum, accounts*money)
		}
		if n, err := strconv.Atoi(string(f.get("moves").Value)); n != movers*each || err != nil {
			f.Errorf("%d of %d moves, %v", n, movers*each, err)
		}
	}},
}

// move moves money from one account to another, and counts it.
func (f *fixture) move(from, to string, n int) error {
	return kv.Retry(f.ctx, func() error {
		var changes []kv.Change
		for _, step := range []struct {
			key   string
			delta int
		}{{from, -n}, {to, n}, {"moves", 1}} {
			e, err := f.Get(f.ctx, step.key)
			if err != nil && step.key != "moves" {
				return err
			}
			has, _ := strconv.Atoi(string(e.Value))
			changes = append(changes, kv.Put(step.key, []byte(strconv.Itoa(has+step.delta)), kv.IfRevision(e.Revision)))
		}
		_, err := f.Commit(f.ctx, changes...)
		return err
	})
}
