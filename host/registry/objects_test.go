package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestProgramAndBundle(t *testing.T) {
	f := open(t)
	program := strings.Repeat("0123456789", 100_000) // several parts
	v := f.add("hello", program, "")
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	if err := f.Program(t.Context(), v, path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if err != nil || string(got) != program || info.Mode() != 0o755 {
		t.Errorf("%d bytes of mode %v, %v", len(got), info.Mode(), err)
	}
	if err := f.Bundle(t.Context(), v, filepath.Join(dir, "bundle")); err != nil { // an empty one
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bundle")); err != nil || info.Size() != 0 || info.Mode() != 0o644 {
		t.Errorf("bundle %v, %v", info, err)
	}
	if err := f.Program(t.Context(), v, filepath.Join(dir, "missing", "program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a directory that is not there: %v", err)
	}
	holds(t, dir, "bundle", "program")
}

// holds checks what lies in a directory.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

func TestDamagedObjects(t *testing.T) {
	large := strings.Repeat("x", 300_000) // three parts
	for name, damage := range map[string]func(f *fixture, v *Version) error{
		"another content": func(f *fixture, v *Version) error {
			_, err := f.artifacts.PutBytes(t.Context(), v.Program, bytes.Repeat([]byte("y"), len(large)))
			return err
		},
		"removed": func(f *fixture, v *Version) error { return f.artifacts.Delete(t.Context(), v.Program) },
		"a part is lost": func(f *fixture, v *Version) error {
			stream, err := f.js.Stream(t.Context(), "OBJ_artifacts")
			if err != nil {
				return err
			}
			return stream.DeleteMsg(t.Context(), 2)
		},
		"all parts are lost": func(f *fixture, v *Version) error {
			stream, err := f.js.Stream(t.Context(), "OBJ_artifacts")
			if err != nil {
				return err
			}
			return stream.Purge(t.Context(), jetstream.WithPurgeSubject("$O.artifacts.C.>"))
		},
		"one is twice there": func(f *fixture, v *Version) error {
			for subject := range f.parts(f.artifacts) {
				if _, err := f.js.Publish(t.Context(), subject, []byte("more")); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			v := f.add("hello", large, "source")
			if err := damage(f, v); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			begin := time.Now()
			err := f.Program(t.Context(), v, filepath.Join(dir, "program"))
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), v.Program) {
				t.Errorf("Program = %v", err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			holds(t, dir)
			again := f.add("hello", large, "source") // stores what is damaged anew
			if err := f.Program(t.Context(), again, filepath.Join(dir, "program")); err != nil {
				t.Error(err)
			}
			if err := f.Program(t.Context(), v, filepath.Join(dir, "program")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCollect(t *testing.T) {
	f := open(t)
	shared := f.add("other", "shared", "shared")
	f.add("hello", "one", "source one")
	two := f.add("hello", "two", "source two")
	f.add("hello", "shared", "shared")
	if freed, err := f.Collect(t.Context()); err != nil || freed != 0 {
		t.Errorf("nothing is to go: %d, %v", freed, err)
	}
	if err := f.removeVersion(t.Context(), "hello", 1); err != nil {
		t.Fatal(err)
	}
	if err := f.removeVersion(t.Context(), "hello", 3); err != nil {
		t.Fatal(err)
	}
	release := f.Hold()
	if freed, err := f.Collect(t.Context()); err != nil || freed != 0 {
		t.Errorf("what is held went: %d, %v", freed, err)
	}
	release()
	if freed, err := f.Collect(t.Context()); err != nil || freed != int64(len("one")+len("source one")) {
		t.Errorf("freed %d, %v", freed, err)
	}
	for _, v := range []*Version{shared, two} {
		if err := f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p")); err != nil {
			t.Error(err)
		}
		if err := f.Bundle(t.Context(), v, filepath.Join(t.TempDir(), "b")); err != nil {
			t.Error(err)
		}
	}
	for name, store := range map[string]jetstream.ObjectStore{"programs": f.artifacts, "sources": f.sources} {
		if objects, parts := f.objects(store); objects != 2 || parts != 2 {
			t.Errorf("%d %s of %d parts are left, want 2 of 2", objects, name, parts)
		}
	}
	f.add("hello", "one", "source one") // what was removed can be stored again
	v, err := f.Version(t.Context(), "hello", 3)
	if err == nil {
		err = f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p"))
	}
	if err != nil {
		t.Error(err)
	}
}

func TestCollectRemovesNothingWhenAVersionIsDamaged(t *testing.T) {
	f := open(t)
	f.add("hello", "one", "source")
	f.add("hello", "two", "source")
	if err := f.removeVersion(t.Context(), "hello", 1); err != nil {
		t.Fatal(err)
	}
	f.write("version.default.hello.2", "garbage")
	if freed, err := f.Collect(t.Context()); !errors.Is(err, ErrDamaged) || freed != 0 {
		t.Errorf("freed %d, %v", freed, err)
	}
	if objects, _ := f.objects(f.artifacts); objects != 2 {
		t.Errorf("%d programs are left, want 2", objects)
	}
}

func TestCollectRemovesWhatBrokenOffTransfersLeave(t *testing.T) {
	f := open(t)
	f.add("hello", "program", "source")
	m := nats.NewMsg("$O.artifacts.C.brokenOff")
	m.Data = []byte("a part")
	if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, parts := f.objects(f.artifacts); parts != 2 {
		t.Errorf("%d parts, want 2: a transfer may go on", parts)
	}
	f.orphanAge = 0
	if _, err := f.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if objects, parts := f.objects(f.artifacts); objects != 1 || parts != 1 {
		t.Errorf("%d objects of %d parts, want 1 of 1", objects, parts)
	}
}

func TestCollectWhileVersionsAreAdded(t *testing.T) {
	f := open(t)
	f.orphanAge = 0
	ctx, cancel := context.WithCancel(t.Context())
	var collector, adders sync.WaitGroup
	collected := 0
	collector.Go(func() {
		for ctx.Err() == nil {
			if _, err := f.Collect(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			collected++
		}
	})
	for i := range 4 {
		adders.Go(func() {
			for n := range 15 {
				name := fmt.Sprint("f", i)
				v := version(name)
				// Equal programs are stored, and removed, by all of them.
				if err := f.Add(t.Context(), v, file(t, fmt.Sprint("program ", n%3)), file(t, fmt.Sprint("source ", n)), ""); err != nil {
					t.Error(err)
					return
				}
				if err := f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p")); err != nil {
					t.Errorf("v%d of %s: %v", v.Number, name, err)
				}
				if n%2 == 0 {
					if err := f.removeVersion(t.Context(), name, v.Number); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	adders.Wait()
	cancel()
	collector.Wait()
	t.Logf("%d collections", collected)
	names, err := f.Names(t.Context())
	if err != nil || len(names) != 4 {
		t.Fatalf("names %v, %v", names, err)
	}
	for _, name := range names {
		list, err := f.Versions(t.Context(), name)
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %d versions, %v", name, len(list), err)
		}
		for _, v := range list {
			if err := f.Program(t.Context(), v, filepath.Join(t.TempDir(), "p")); err != nil {
				t.Errorf("v%d of %s: %v", v.Number, name, err)
			}
			if err := f.Bundle(t.Context(), v, filepath.Join(t.TempDir(), "b")); err != nil {
				t.Errorf("v%d of %s: %v", v.Number, name, err)
			}
		}
	}
}
