package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
)

// leftOut returns the events of directories that are left out.
func (f *fixture) leftOut() (list []host.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Dir != "" {
			list = append(list, e)
		}
	}
	return list
}

// awaitLeftOut waits until a directory is shown as left out, or no longer is.
func (f *fixture) awaitLeftOut(name string, want bool) {
	f.t.Helper()
	f.await(name+" left out", func() bool {
		s, err := f.Function(name)
		return (err == nil && s.State == string(host.Failed) && s.Error != "") == want
	})
}

func TestTwoFunctionsOfOneName(t *testing.T) {
	f := start(t, map[string]string{
		"a/a.go": constant("a", "a"), "b/b.go": constant("b", "b"), "b/function.yaml": "name: a\n",
	}, nil)
	f.awaitState("a", host.Ready)
	if s, err := f.Function("a"); err != nil || s.Error != "" {
		t.Errorf("what serves: %+v %v", s, err)
	}
	f.awaitLeftOut("a (functions/b)", true)
	if list := f.Functions(); len(list) != 2 || list[1].Dir != filepath.Join(f.dir, "b") {
		t.Errorf("functions: %+v", list)
	}
	f.write("b/b.go", constant("b", "again"))
	f.write("c/other.go", "package c\n")
	f.awaitLeftOut("a (functions/b)", true)
	list := f.leftOut()
	if len(list) != 1 || list[0].Function != "" || !errors.Is(list[0].Err, host.ErrDuplicate) {
		t.Fatalf("events: %+v", list)
	}
	text := list[0].Err.Error()
	for _, part := range []string{filepath.Join(f.dir, "a") + " and " + filepath.Join(f.dir, "b"), "change the `name` in " + filepath.Join(f.dir, "b", "function.yaml")} {
		if !strings.Contains(text, part) {
			t.Errorf("%s, want %s in it", text, part)
		}
	}
	if out, err := f.Invoke(t.Context(), "a", nil); err != nil || string(out) != "a" {
		t.Errorf("the first one: %q %v", out, err)
	}
	f.write("b/function.yaml", "name: other\n")
	f.awaitState("other", host.Ready)
	f.awaitLeftOut("a (functions/b)", false)
}

func TestAFolderWhoseNameIsTaken(t *testing.T) {
	f := start(t, map[string]string{"first/f.go": constant("first", "watched")}, nil)
	f.deploy("deployed", host.DeployOptions{})
	if err := f.Handle("first", func() string { return "own" }); err != nil {
		t.Fatal(err)
	}
	f.awaitLeftOut("first (functions/first)", true)
	f.write("hello/h.go", constant("hello", "watched"))
	f.awaitLeftOut("hello (functions/hello)", true)
	f.answers("", "deployed")
	f.write("hello/h.go", constant("hello", "watched again"))
	f.write("another/a.go", constant("another", "watched"))
	f.awaitState("another", host.Ready)
	list := f.leftOut()
	if len(list) != 2 {
		t.Fatalf("events: %+v", list)
	}
	for i, other := range []string{"a function of this program", "a deployed function"} {
		if e := list[i]; !errors.Is(e.Err, host.ErrDuplicate) || !strings.Contains(e.Err.Error(), other+" and "+e.Dir) {
			t.Errorf("event: %+v", e)
		}
	}
	if err := f.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	f.awaitState("hello", host.Ready)
	f.answers("", "watched again")
	if err := os.RemoveAll(filepath.Join(f.dir, "first")); err != nil {
		t.Fatal(err)
	}
	f.awaitLeftOut("first (functions/first)", false)
}
