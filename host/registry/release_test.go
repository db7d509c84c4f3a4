package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestReleasesAtOnceAllTakeEffect(t *testing.T) {
	f := open(t)
	const n = 20
	for i := range n {
		f.add("hello", fmt.Sprint("program ", i), "source")
	}
	registries := []*Registry{f.Registry, f.other("default")}
	var mu sync.Mutex
	before := make(map[uint64]int) // revision that a release has replaced → by which
	after := make(map[uint64]int)  // revision → version
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var seen uint64
			r, err := registries[i%2].Release(t.Context(), "hello", fmt.Sprint(i), func(f *Function) ([]Part, error) {
				seen = f.Revision
				return Whole(i + 1), nil
			})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			before[seen], after[r.Revision] = i+1, i+1
		})
	}
	wg.Wait()
	// None has replaced what another one had replaced: they are a chain.
	if len(before) != n || len(after) != n {
		t.Fatalf("%d releases took the place of %d records, want %d", len(after), len(before), n)
	}
	last := uint64(0)
	for range n {
		version, ok := before[last]
		if !ok {
			t.Fatalf("nothing came after revision %d", last)
		}
		for revision, v := range after {
			if v == version {
				last = revision
			}
		}
	}
	r, err := f.Function(t.Context(), "hello")
	if err != nil || r.Revision != last || r.Release.String() != VersionName(after[last]) || len(r.Released) != n || !slices.IsSorted(r.Released) {
		t.Errorf("in the end %+v, %v; the last one was v%d", r, err, after[last])
	}
}

func TestRelease(t *testing.T) {
	f := open(t)
	for i := range 3 {
		f.add("hello", fmt.Sprint("program ", i), "source")
	}
	f.release("hello", 2)
	_, err := f.Release(t.Context(), "hello", "me", func(f *Function) ([]Part, error) { return f.Release.Canary(3, 60), nil })
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Function(t.Context(), "hello")
	if err != nil || r.Release.String() != "v3=60 v2=40" || !slices.Equal(r.Released, []int{2, 3}) || r.Release.By != "me" || r.Release.Time.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	tests := []struct {
		name  string
		parts []Part
		want  string
	}{
		{"no parts", nil, "sum to 0"},
		{"too little", []Part{{1, 99}}, "sum to 99"},
		{"too much", []Part{{1, 60}, {2, 60}}, "sum to 120"},
		{"nothing of one", []Part{{1, 100}, {2, 0}}, "weight 0 of v2"},
		{"less than nothing", []Part{{1, 200}, {2, -100}}, "weight 200 of v1"},
		{"one twice", []Part{{1, 50}, {1, 50}}, "v1 is named twice"},
		{"no such version", []Part{{1, 50}, {9, 50}}, `version v9 of function "hello": not in the registry`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := f.Release(t.Context(), "hello", "me", func(*Function) ([]Part, error) { return test.parts, nil })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if test.name == "no such version" && !errors.Is(err, ErrNotFound) {
				t.Errorf("it does not wrap ErrNotFound: %v", err)
			}
		})
	}
	refused := errors.New("refused")
	if _, err := f.Release(t.Context(), "hello", "me", func(*Function) ([]Part, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	if again, err := f.Function(t.Context(), "hello"); err != nil || again.Revision != r.Revision {
		t.Errorf("what was refused has changed the record to %+v, %v", again, err)
	}
	if _, err := f.Release(t.Context(), "nobody", "me", func(*Function) ([]Part, error) { return Whole(1), nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("a function without versions: %v", err)
	}
}

func TestCanary(t *testing.T) {
	tests := []struct {
		parts           []Part
		version, weight int
		want            string
	}{
		{nil, 1, 10, "v1"},
		{Whole(1), 2, 10, "v1=90 v2=10"},
		{Whole(1), 2, 50, "v1=50 v2=50"},
		{Whole(1), 2, 90, "v2=90 v1=10"},
		{Whole(1), 2, 100, "v2"},
		{Whole(1), 1, 10, "v1"},
		{[]Part{{1, 90}, {2, 10}}, 3, 20, "v1=80 v3=20"},
		{[]Part{{1, 90}, {2, 10}}, 2, 20, "v1=80 v2=20"},
	}
	for _, test := range tests {
		r := Release{Parts: test.parts}
		next := Release{Parts: r.Canary(test.version, test.weight)}
		if got := next.String(); got != test.want || next.Check() != nil {
			t.Errorf("v%d with %d%% beside %s: %s, %v, want %s", test.version, test.weight, r.String(), got, next.Check(), test.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]int{"v1": 1, "12": 12, "v": 0, "": 0, "v0": 0, "-1": 0, "v-3": 0, "latest": 0, "v1.2": 0} {
		if n, err := ParseVersion(s); n != want || (err != nil) != (want == 0) {
			t.Errorf("%q is version %d, %v, want %d", s, n, err, want)
		}
	}
}

func TestAReleaseTakesThePlaceOfADamagedRecord(t *testing.T) {
	f := open(t)
	f.add("hello", "program", "source")
	f.release("hello", 1)
	const garbage = `{"name":"hello","rel`
	f.write("function.default.hello", garbage)
	if _, err := f.Function(t.Context(), "hello"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("function: %v", err)
	}
	r := f.release("hello", 1)
	if got, err := f.Function(t.Context(), "hello"); err != nil || got.Revision != r.Revision || got.Release.String() != "v1" {
		t.Errorf("function %+v, %v", got, err)
	}
	if e, err := f.kv.Get(t.Context(), "damaged.function.default.hello"); err != nil || string(e.Value()) != garbage {
		t.Errorf("the damaged record is not kept: %v", err)
	}
	if names, err := f.Names(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("names %v, %v", names, err)
	}
}

func TestDamagedRecords(t *testing.T) {
	f := open(t)
	for i := range 3 {
		f.add("hello", fmt.Sprint("program ", i), "source")
	}
	for name, record := range map[string]string{
		"no JSON":             "{",
		"empty":               "",
		"of another function": `{"name":"other","release":{"parts":[{"version":1,"weight":100}]}}`,
		"without parts":       `{"name":"hello","release":{}}`,
		"weights":             `{"name":"hello","release":{"parts":[{"version":1,"weight":50}]}}`,
	} {
		f.write("function.default.hello", record)
		if _, err := f.Function(t.Context(), "hello"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "function.default.hello of bucket registry") {
			t.Errorf("record %s: %v", name, err)
		}
	}
	for name, record := range map[string]string{
		"no JSON":            "x",
		"of another version": `{"function":"hello","number":3,"manifest":{},"program":"` + strings.Repeat("0", 64) + `"}`,
		"without a program":  `{"function":"hello","number":2,"manifest":{}}`,
	} {
		f.write("version.default.hello.2", record)
		if _, err := f.Version(t.Context(), "hello", 2); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "version.default.hello.2") {
			t.Errorf("version %s: %v", name, err)
		}
	}
	f.write("version.default.hello.text", "x") // not one of ours
	list, err := f.Versions(t.Context(), "hello")
	if !errors.Is(err, ErrDamaged) || len(list) != 2 || list[0].Number != 3 || list[1].Number != 1 {
		t.Errorf("versions %v, %v", list, err)
	}
	if numbers, err := f.Numbers(t.Context(), "hello"); err != nil || !slices.Equal(numbers, []int{1, 2, 3}) {
		t.Errorf("numbers %v, %v", numbers, err)
	}
	if names, err := f.Names(t.Context()); err != nil || !slices.Equal(names, []string{"hello"}) {
		t.Errorf("names %v, %v", names, err)
	}
	// The number of the damaged one is not given away.
	if v := f.add("hello", "program", "source"); v.Number != 4 {
		t.Errorf("version %d", v.Number)
	}
}

func TestTrim(t *testing.T) {
	f := open(t)
	f.add("hello", "program 0", "source")
	f.release("hello", 1)
	if removed, err := f.Trim(t.Context(), "hello"); err != nil || len(removed) != 0 {
		t.Errorf("of one version: %v, %v", removed, err)
	}
	for i := range Keep + 4 {
		f.add("hello", fmt.Sprint("program ", i+1), "source")
	}
	_, err := f.Release(t.Context(), "hello", "me", func(*Function) ([]Part, error) { return []Part{{1, 50}, {3, 50}}, nil })
	if err != nil {
		t.Fatal(err)
	}
	removed, err := f.Trim(t.Context(), "hello")
	if err != nil || !slices.Equal(removed, []int{2, 4, 5}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	numbers, err := f.Numbers(t.Context(), "hello")
	if want := []int{1, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; err != nil || !slices.Equal(numbers, want) {
		t.Errorf("numbers %v, %v", numbers, err)
	}
	if log, err := f.Log(t.Context(), "hello", 2); err != nil || log != "" {
		t.Errorf("the log of a removed version: %q, %v", log, err)
	}
	if removed, err := f.Trim(t.Context(), "hello"); err != nil || len(removed) != 0 {
		t.Errorf("again: %v, %v", removed, err)
	}
	// What a damaged record has released is not known: nothing goes.
	f.write("function.default.hello", "garbage")
	f.add("hello", "another", "source")
	if removed, err := f.Trim(t.Context(), "hello"); !errors.Is(err, ErrDamaged) || len(removed) != 0 {
		t.Errorf("with a damaged record: %v, %v", removed, err)
	}
	// A lost one has released nothing.
	if err := f.kv.Delete(t.Context(), "function.default.hello"); err != nil {
		t.Fatal(err)
	}
	if removed, err := f.Trim(t.Context(), "hello"); err != nil || !slices.Equal(removed, []int{1, 3, 6}) {
		t.Errorf("with a lost record: %v, %v", removed, err)
	}
}

func TestAContextThatHasEnded(t *testing.T) {
	f := open(t)
	f.add("hello", "program", "source")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := version("hello")
	v.Program, v.Source.Bundle = strings.Repeat("0", 64), strings.Repeat("0", 64)
	for name, do := range map[string]func() error{
		"Function": func() error { _, err := f.Function(ctx, "hello"); return err },
		"Version":  func() error { _, err := f.Version(ctx, "hello", 1); return err },
		"Versions": func() error { _, err := f.Versions(ctx, "hello"); return err },
		"Names":    func() error { _, err := f.Names(ctx); return err },
		"Log":      func() error { _, err := f.Log(ctx, "hello", 1); return err },
		"Release": func() error {
			_, err := f.Release(ctx, "hello", "", func(*Function) ([]Part, error) { return Whole(1), nil })
			return err
		},
		"Remove":  func() error { return f.Remove(ctx, "hello") },
		"Trim":    func() error { _, err := f.Trim(ctx, "hello"); return err },
		"Collect": func() error { _, err := f.Collect(ctx); return err },
		"Program": func() error { return f.Program(ctx, v, t.TempDir()+"/p") },
		"Usage":   func() error { _, err := f.Usage(ctx); return err },
	} {
		if err := do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.kv.Get(t.Context(), "version.default.hello.1"); err != nil {
		t.Errorf("the version: %v", err)
	}
	if _, err := Open(ctx, f.bus.Control(), "default"); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	f.bus.Control().Close()
	if _, err := f.Names(t.Context()); err == nil || errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("over a closed connection: %v", err)
	}
}
