package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestAddNumbersVersions(t *testing.T) {
	f := open(t)
	for want := range 12 { // more than one digit: numbers are not sorted as text
		if v := f.add("hello", fmt.Sprint("program ", want), "source"); v.Number != want+1 {
			t.Errorf("version %d, want %d", v.Number, want+1)
		}
	}
	f.add("hello-two", "x", "x") // a name that begins with another
	numbers, err := f.Numbers(t.Context(), "hello")
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; err != nil || !slices.Equal(numbers, want) {
		t.Errorf("numbers %v, %v", numbers, err)
	}
	v, err := f.Version(t.Context(), "hello", 11)
	if err != nil || v.Name() != "v11" || v.Artifact != "artifact" || v.Source.Kind != Upload {
		t.Errorf("version %+v, %v", v, err)
	}
	if log, err := f.Log(t.Context(), "hello", 11); err != nil || log != "log of program 10" {
		t.Errorf("log %q, %v", log, err)
	}
	if log, err := f.Log(t.Context(), "hello", 99); err != nil || log != "" {
		t.Errorf("the log of no version: %q, %v", log, err)
	}
	if _, err := f.Version(t.Context(), "hello", 99); !errors.Is(err, ErrNotFound) {
		t.Errorf("no version: %v", err)
	}
	if _, err := f.Function(t.Context(), "hello"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the release of a function that has none: %v", err)
	}
	if names, err := f.Names(t.Context()); err != nil || !slices.Equal(names, []string{"hello", "hello-two"}) {
		t.Errorf("names %v, %v", names, err)
	}
}

func TestAddAtOnce(t *testing.T) {
	f := open(t)
	registries := []*Registry{f.Registry, f.other("default")} // as two nodes would have
	const n = 30
	var mu sync.Mutex
	numbers := make(map[int]string)
	var wg sync.WaitGroup
	for i := range n {
		program, source := file(t, fmt.Sprint("program ", i)), file(t, "source")
		wg.Go(func() {
			v := version("hello")
			v.Artifact = fmt.Sprint(i)
			if err := registries[i%2].Add(t.Context(), v, program, source, ""); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			numbers[v.Number] = v.Artifact
		})
	}
	wg.Wait()
	list, err := f.Versions(t.Context(), "hello")
	if err != nil || len(list) != n || len(numbers) != n {
		t.Fatalf("%d versions of %d numbers, %v, want %d", len(list), len(numbers), err, n)
	}
	for i, v := range list {
		if v.Number != n-i || numbers[v.Number] != v.Artifact {
			t.Errorf("version %d is %s, was added as %s", v.Number, v.Artifact, numbers[v.Number])
		}
		if err := f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p")); err != nil {
			t.Errorf("version %d: %v", v.Number, err)
		}
	}
}

func TestEqualContentIsStoredOnce(t *testing.T) {
	f := open(t)
	a := f.add("hello", "program", "source")
	b := f.add("other", "program", "another source")
	f.add("hello", "another program", "source")
	if a.Program != b.Program || len(a.Program) != 64 {
		t.Errorf("programs %s and %s", a.Program, b.Program)
	}
	if objects, parts := f.objects(f.artifacts); objects != 2 || parts != 2 {
		t.Errorf("%d programs of %d parts, want 2 of 2", objects, parts)
	}
	if objects, parts := f.objects(f.sources); objects != 2 || parts != 2 {
		t.Errorf("%d sources of %d parts, want 2 of 2", objects, parts)
	}
	u, err := f.Usage(t.Context())
	if err != nil || u.Artifacts == 0 || u.Sources == 0 || u.Records == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestAddErrors(t *testing.T) {
	f := open(t)
	missing := filepath.Join(t.TempDir(), "missing")
	if err := f.Add(t.Context(), version("hello"), missing, file(t, "source"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a program: %v", err)
	}
	if err := f.Add(t.Context(), version("hello"), file(t, "program"), missing, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a source: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Add(ctx, version("hello"), file(t, "program"), file(t, "source"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if names, err := f.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("what failed has left %v, %v", names, err)
	}
}

func TestNamespacesAreApart(t *testing.T) {
	f := open(t)
	other := f.other("other")
	f.add("hello", "program", "source")
	f.release("hello", 1)
	if names, err := other.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("names %v, %v", names, err)
	}
	if _, err := other.Version(t.Context(), "hello", 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("version: %v", err)
	}
	// The stores are shared: what the other one uses stays.
	if _, err := other.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := f.Version(t.Context(), "hello", 1)
	if err == nil {
		err = f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p"))
	}
	if err != nil {
		t.Error(err)
	}
}

func TestRemoveThenAdd(t *testing.T) {
	f := open(t)
	f.add("hello", "one", "source")
	f.add("hello", "two", "source")
	f.release("hello", 2)
	if err := f.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context(), "hello"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := f.Function(t.Context(), "hello"); !errors.Is(err, ErrNotFound) {
		t.Errorf("function: %v", err)
	}
	if names, err := f.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("names %v, %v", names, err)
	}
	if list, err := f.Versions(t.Context(), "hello"); err != nil || len(list) != 0 {
		t.Errorf("versions %v, %v", list, err)
	}
	if v := f.add("hello", "three", "source"); v.Number != 1 {
		t.Errorf("the first version after the removal is %d", v.Number)
	}
	if r := f.release("hello", 1); !slices.Equal(r.Released, []int{1}) {
		t.Errorf("released %v", r.Released)
	}
}

func TestReopenedKeepsEverything(t *testing.T) {
	f := open(t)
	v := f.add("hello", "program", "source")
	before := f.release("hello", 1)
	f.stop()
	f.start()
	after, err := f.Function(t.Context(), "hello")
	if err != nil || after.Revision != before.Revision || after.Release.String() != "v1" || !after.Release.Time.Equal(before.Release.Time) || after.Release.By != "test" {
		t.Errorf("function %+v, %v, want %+v", after, err, before)
	}
	again, err := f.Version(t.Context(), "hello", 1)
	if err != nil || again.Program != v.Program || !again.Created.Equal(v.Created) {
		t.Errorf("version %+v, %v", again, err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := f.Program(t.Context(), again, path); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "program" {
		t.Errorf("program %q, %v", got, err)
	}
	if v := f.add("hello", "program 2", "source"); v.Number != 2 {
		t.Errorf("the next version is %d", v.Number)
	}
}
