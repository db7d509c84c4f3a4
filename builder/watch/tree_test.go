package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestChangesAreReportedExactly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
		want []string
	}{
		{"write", func(t *testing.T, dir string) { write(t, dir+"/main.go", "2") }, []string{"main.go"}},
		{"write below", func(t *testing.T, dir string) { write(t, dir+"/pkg/sub/x.go", "2") }, []string{"pkg/sub/x.go"}},
		{"create", func(t *testing.T, dir string) { write(t, dir+"/pkg/new.go", "") }, []string{"pkg/new.go"}},
		{"remove", func(t *testing.T, dir string) { must(t, os.Remove(dir+"/main.go")) }, []string{"main.go"}},
		{"rename", func(t *testing.T, dir string) { rename(t, dir+"/main.go", dir+"/pkg/a.go") }, []string{"main.go", "pkg/a.go"}},
		{"empty directory", func(t *testing.T, dir string) { mkdir(t, dir+"/empty") }, []string{"empty"}},
		{"chmod and touch are noise", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir+"/main.go", 0o600))
			must(t, os.Chmod(dir+"/pkg", 0o700))
			must(t, os.Chtimes(dir+"/main.go", time.Now(), time.Now()))
			must(t, os.Chtimes(dir+"/pkg/sub", time.Now(), time.Now()))
		}, nil},
		{"atomic save", func(t *testing.T, dir string) {
			write(t, dir+"/.main.go.tmp123", "new")
			rename(t, dir+"/.main.go.tmp123", dir+"/main.go")
		}, []string{"main.go"}},
		{"atomic save from outside", func(t *testing.T, dir string) {
			write(t, dir+".tmp", "new")
			rename(t, dir+".tmp", dir+"/main.go")
		}, []string{"main.go"}},
		{"vim's save with a backup", func(t *testing.T, dir string) {
			write(t, dir+"/.main.go.swp", "")
			write(t, dir+"/4913", "")
			must(t, os.Remove(dir+"/4913"))
			rename(t, dir+"/main.go", dir+"/main.go~")
			write(t, dir+"/main.go", "new")
			must(t, os.Remove(dir+"/main.go~"))
			must(t, os.Remove(dir+"/.main.go.swp"))
		}, []string{"main.go"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(realTemp(t), "fn")
			writeAll(t, dir+"/pkg/sub/x.go", "1")
			write(t, dir+"/main.go", "1")
			_, r := add(t, watcher(t, Config{}), dir)
			test.do(t, dir)
			r.expect(t, test.want...)
		})
	}
}

func TestDirectoriesAreFollowed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		do      func(t *testing.T, dir string) // dir has a/b/c.go; dir+".out" is beside it and has s/t.go
		want    []string                       // reported
		watched []string                       // afterwards
	}{
		{"created with files at once", func(t *testing.T, dir string) {
			writeAll(t, dir+"/n1/n2/n3/x.go", "")
			write(t, dir+"/n1/y.go", "")
		}, []string{"n1", "n1/n2", "n1/n2/n3", "n1/n2/n3/x.go", "n1/y.go"}, []string{".", "a", "a/b", "n1", "n1/n2", "n1/n2/n3"}},
		{"moved in", func(t *testing.T, dir string) { rename(t, dir+".out", dir+"/in") },
			[]string{"in", "in/s", "in/s/t.go"}, []string{".", "a", "a/b", "in", "in/s"}},
		{"renamed", func(t *testing.T, dir string) { rename(t, dir+"/a", dir+"/z") },
			[]string{"a", "z", "z/b", "z/b/c.go"}, []string{".", "z", "z/b"}},
		{"moved out", func(t *testing.T, dir string) { rename(t, dir+"/a", dir+".out/a") },
			[]string{"a"}, []string{"."}},
		{"removed", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir+"/a")) },
			[]string{"a", "a/b", "a/b/c.go"}, []string{"."}},
		{"removed and created again", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir+"/a"))
			writeAll(t, dir+"/a/b/d.go", "")
		}, []string{"a", "a/b", "a/b/c.go", "a/b/d.go"}, []string{".", "a", "a/b"}},
		{"renamed over an empty one", func(t *testing.T, dir string) {
			mkdir(t, dir+"/e")
			must(t, syscall.Rename(dir+"/a", dir+"/e")) // os.Rename refuses
		}, []string{"a", "e", "e/b", "e/b/c.go"}, []string{".", "e", "e/b"}},
		{"renamed three times", func(t *testing.T, dir string) {
			rename(t, dir+"/a", dir+"/a2")
			rename(t, dir+"/a2", dir+"/a3")
			rename(t, dir+"/a3", dir+"/a")
		}, []string{"a", "a/b", "a/b/c.go", "a2", "a3"}, []string{".", "a", "a/b"}},
		{"replaced by a file", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir+"/a"))
			write(t, dir+"/a", "")
		}, []string{"a", "a/b", "a/b/c.go"}, []string{"."}},
	}
	for _, test := range tests {
		for _, held := range []bool{false, true} { // held: everything is done before the first event is handled
			t.Run(fmt.Sprintf("%s,held=%t", test.name, held), func(t *testing.T) {
				dir := filepath.Join(realTemp(t), "fn")
				writeAll(t, dir+"/a/b/c.go", "")
				writeAll(t, dir+".out/s/t.go", "")
				g := newGate()
				w := watcher(t, Config{Ignore: g.ignore})
				_, r := add(t, w, dir)
				release := func() {}
				if held {
					release = g.hold(t, dir)
				}
				test.do(t, dir)
				release()

				got := slices.DeleteFunc(r.flush(t), func(s string) bool { return s == "gate" })
				for _, p := range test.want {
					// A name that came and went may be seen with what was in it.
					if !slices.Contains(got, p) {
						t.Errorf("%s not reported, only %q", p, got)
					}
				}
				watched := slices.DeleteFunc(w.watched(kernel, dir), func(s string) bool { return s == "gate" })
				if !slices.Equal(watched, test.watched) {
					t.Errorf("watched %q, want %q", watched, test.watched)
				}
				var probes []string // each directory's events must carry its present path
				for _, d := range test.watched {
					write(t, filepath.Join(dir, d, "probe"), "")
					probes = append(probes, filepath.ToSlash(filepath.Join(d, "probe")))
				}
				r.expect(t, sorted(probes)...)
			})
		}
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

func TestDirectoryMovedOutIsNotReportedAnyMore(t *testing.T) {
	dir := filepath.Join(realTemp(t), "fn")
	writeAll(t, dir+"/a/b/c.go", "")
	_, r := add(t, watcher(t, Config{}), dir)
	rename(t, dir+"/a", dir+".out")
	r.expect(t, "a")
	write(t, dir+".out/b/c.go", "changed")
	write(t, dir+".out/x.go", "")
	r.expect(t)
}

func TestFilesWrittenBeforeTheWatchAreReported(t *testing.T) {
	dir := realTemp(t)
	open := func() (*notifier, error) {
		n, err := openNotifier()
		if err != nil {
			return nil, err
		}
		watch := n.add
		n.add = func(path string) error {
			if path == dir+"/new" { // its event was handled, its watch does not exist
				writeAll(t, dir+"/new/early/x.go", "")
				write(t, dir+"/new/early.go", "")
			}
			return watch(path)
		}
		return n, nil
	}
	w := watcherOn(t, Config{}, open)
	_, r := add(t, w, dir)
	must(t, os.Mkdir(dir+"/new", 0o755))
	r.expect(t, "new", "new/early", "new/early.go", "new/early/x.go")
}

func TestDirectoryFoundUnderItsNewNameBeforeTheRenameIsKnown(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/a/b/c.go", "")
	g := newGate()
	w := watcher(t, Config{Ignore: g.ignore})
	_, r := add(t, w, dir)
	release := g.hold(t, dir)
	mkdir(t, dir+"/new") // reading it finds new/a, which is still watched as a
	rename(t, dir+"/a", dir+"/new/a")
	release()
	r.waitPaths(t, "a", "new/a", "new/a/b/c.go")
	r.flush(t)
	write(t, dir+"/new/a/b/c.go", "changed")
	write(t, dir+"/new/a/x.go", "")
	r.expect(t, "new/a/b/c.go", "new/a/x.go")
}

func TestRootIsFollowed(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name     string
		away, to func(t *testing.T, dir string)
	}{
		{"removed and created", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, nil},
		{"renamed away and another put there", func(t *testing.T, dir string) { rename(t, dir, dir+".old") },
			func(t *testing.T, dir string) {
				writeAll(t, dir+".new/pkg/x.go", "")
				rename(t, dir+".new", dir)
			}},
		{"renamed away and back", func(t *testing.T, dir string) { rename(t, dir, dir+".old") },
			func(t *testing.T, dir string) { rename(t, dir+".old", dir) }},
		{"removed with its parent", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Dir(dir))) }, nil},
		{"replaced by a file meanwhile", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			write(t, dir, "")
		}, func(t *testing.T, dir string) {
			must(t, os.Remove(dir))
			writeAll(t, dir+"/pkg/x.go", "")
		}},
	}
	for _, test := range steps {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(realTemp(t), "parent", "fn")
			writeAll(t, dir+"/pkg/x.go", "")
			// Without polling: the events alone must do.
			w := watcher(t, Config{PollInterval: time.Hour})
			_, r := add(t, w, dir)
			_, others := add(t, w, filepath.Dir(filepath.Dir(dir)))

			test.away(t, dir)
			r.waitRescan(t)
			others.flush(t)
			r.clear()

			if test.to != nil {
				test.to(t, dir)
			} else {
				writeAll(t, dir+"/pkg/x.go", "")
			}
			r.waitRescan(t)
			r.flush(t)
			write(t, dir+"/pkg/x.go", "changed")
			r.expect(t, "pkg/x.go")
		})
	}
}

func TestRootExchangedWhileTheWatcherIsBusy(t *testing.T) {
	dir := filepath.Join(realTemp(t), "fn")
	writeAll(t, dir+"/pkg/x.go", "")
	g := newGate()
	_, r := add(t, watcher(t, Config{Ignore: g.ignore, PollInterval: time.Hour}), dir)
	release := g.hold(t, dir)
	must(t, os.RemoveAll(dir))
	writeAll(t, dir+"/pkg/x.go", "")
	release()
	r.waitRescan(t)
	r.flush(t)
	write(t, dir+"/pkg/x.go", "changed")
	r.expect(t, "pkg/x.go")
}

func TestRootThatReturnsBeforeItsAnchorIsWatched(t *testing.T) {
	top := realTemp(t)
	dir := top + "/parent/fn"
	writeAll(t, dir+"/x.go", "")
	open := func() (*notifier, error) {
		n, err := openNotifier()
		if err != nil {
			return nil, err
		}
		watch, armed := n.add, true
		n.add = func(path string) error {
			if path == top && armed { // the root was looked for, and was missing
				armed = false
				writeAll(t, dir+"/x.go", "")
			}
			return watch(path)
		}
		return n, nil
	}
	_, r := add(t, watcherOn(t, Config{PollInterval: time.Hour}, open), dir)
	must(t, os.RemoveAll(top+"/parent"))
	r.waitRescan(t)
	r.flush(t)
	write(t, dir+"/x.go", "changed")
	r.expect(t, "x.go")
}

func TestAncestorRenamedIsNoticedByPolling(t *testing.T) {
	top := realTemp(t)
	dir := top + "/a/b/c/fn"
	writeAll(t, dir+"/x.go", "")
	_, r := add(t, watcher(t, Config{PollInterval: 10 * time.Millisecond}), dir)
	rename(t, top+"/a", top+"/z")
	writeAll(t, dir+"/x.go", "")
	r.waitRescan(t)
	r.flush(t)
	write(t, dir+"/x.go", "changed")
	r.expect(t, "x.go")
}

func TestAddErrors(t *testing.T) {
	dir := realTemp(t)
	write(t, dir+"/file", "")
	symlink(t, "loop", dir+"/loop")
	closed := watcher(t, Config{})
	must(t, closed.Close())
	w := watcher(t, Config{})
	tests := []struct {
		name, path string
		w          *Watcher
		want       error
	}{
		{"missing", dir + "/missing", w, fs.ErrNotExist},
		{"file", dir + "/file", w, ErrNotDirectory},
		{"below a file", dir + "/file/x", w, ErrNotDirectory},
		{"closed", dir, closed, ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree, err := test.w.Add(test.path, func(Change) {})
			if !errors.Is(err, test.want) || tree != nil {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if _, err := w.Add(dir+"/loop", func(Change) {}); err == nil {
		t.Error("a link to itself was accepted")
	}
	if len(w.nodes) > 0 || len(w.trees) > 0 {
		t.Errorf("left behind: %d nodes, %d trees", len(w.nodes), len(w.trees))
	}
}

func TestAddDirWatchesTheFilesOfOneDirectoryAlone(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := newRecorder(root)
	if _, err := w.AddDir(root, r.onChange); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sub/b.go", "a.go"} { // the last one is reported, so the first one was looked at
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	<-r.news
	paths, _ := r.seen()
	if want := []string{filepath.Join(root, "a.go")}; !slices.Equal(paths, want) {
		t.Errorf("reported %q, want %q", paths, want)
	}
}
