package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// watch follows the registry, until the test ends or stop is called.
func (f *fixture) watch(ctx context.Context) (changes chan Change, initial chan bool, ended chan error) {
	changes, initial, ended = make(chan Change, 1000), make(chan bool, 1), make(chan error, 1)
	go func() {
		ended <- f.Watch(ctx, func(c Change) { changes <- c }, func() { initial <- true })
	}()
	return changes, initial, ended
}

// next returns the next change.
func next[T any](t *testing.T, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		panic("not reached")
	}
}

func TestWatch(t *testing.T) {
	f := open(t)
	for _, name := range []string{"a", "b", "c"} {
		f.add(name, "program", "source")
		f.add(name, "program 2", "source")
		f.release(name, 1)
	}
	f.write("function.default.b", "garbage")
	f.write("function.other.x", "of another namespace")
	ctx, cancel := context.WithCancel(t.Context())
	changes, initial, ended := f.watch(ctx)
	next(t, initial)
	got := make(map[string]Change)
	for len(changes) > 0 {
		c := <-changes
		got[c.Name] = c
	}
	if len(got) != 3 || got["a"].Function == nil || got["a"].Function.Release.String() != "v1" || got["c"].Function == nil {
		t.Errorf("at first %v", got)
	}
	if b := got["b"]; b.Function != nil || !errors.Is(b.Err, ErrDamaged) || b.Revision == 0 {
		t.Errorf("the damaged one: %+v", b)
	}
	r := f.release("a", 2)
	if c := next(t, changes); c.Name != "a" || c.Revision != r.Revision || c.Function.Revision != r.Revision || c.Function.Release.String() != "v2" {
		t.Errorf("a release: %+v", c)
	}
	f.write("function.default.a", `{"name":"a"}`)
	if c := next(t, changes); c.Name != "a" || c.Function != nil || !errors.Is(c.Err, ErrDamaged) {
		t.Errorf("damage: %+v", c)
	}
	if err := f.Remove(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c.Name != "c" || c.Function != nil || c.Err != nil {
		t.Errorf("a removal: %+v", c)
	}
	f.release("b", 2)
	if c := next(t, changes); c.Name != "b" || c.Err != nil || c.Function.Release.String() != "v2" {
		t.Errorf("a repair: %+v", c)
	}
	cancel()
	if err := next(t, ended); err != nil {
		t.Errorf("Watch = %v", err)
	}
}

func TestWatchTellsInOrder(t *testing.T) {
	f := open(t)
	f.add("hello", "program", "source")
	f.add("hello", "program 2", "source")
	changes, initial, _ := f.watch(t.Context())
	next(t, initial)
	var end uint64
	for i := range 100 {
		end = f.release("hello", 1+i%2).Revision
	}
	for last := uint64(0); last < end; {
		c := next(t, changes)
		if c.Revision <= last || c.Function == nil {
			t.Fatalf("%+v after revision %d", c, last)
		}
		last = c.Revision
	}
}

// A watcher has room for 256 changes that nobody has taken yet.
func TestWatchEndsWithManyToTell(t *testing.T) {
	f := open(t)
	for i := range 600 {
		f.write(fmt.Sprint("function.default.f", i), "garbage")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.Watch(ctx, func(Change) { cancel() }, func() {})
	}()
	if err := next(t, ended); err != nil {
		t.Errorf("Watch = %v", err)
	}
}

func TestWatchEndsWithTheConnection(t *testing.T) {
	f := open(t)
	_, initial, ended := f.watch(t.Context())
	next(t, initial)
	f.stop()
	if err := next(t, ended); !errors.Is(err, errBrokenOff) {
		t.Errorf("Watch = %v", err)
	}
}
