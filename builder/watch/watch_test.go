package watch

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestOverlappingTreesShareWatches(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/examples/fn/x.go", "")
	writeAll(t, dir+"/shared/s.go", "")
	symlink(t, "../../shared", dir+"/examples/fn/shared")
	var adds atomic.Int64
	w := watcherOn(t, Config{}, func() (*notifier, error) {
		n, err := openNotifier()
		if err == nil {
			watch := n.add
			n.add = func(path string) error { adds.Add(1); return watch(path) }
		}
		return n, err
	})
	outer, ro := add(t, w, dir+"/examples")
	inner, ri := add(t, w, dir+"/examples/fn")
	again, ra := add(t, w, dir+"/examples/fn")

	write(t, dir+"/examples/fn/x.go", "changed")
	write(t, dir+"/shared/s.go", "changed")
	ro.expect(t, "fn/shared/s.go", "fn/x.go")
	ri.expect(t, "shared/s.go", "x.go")
	ra.flush(t)

	must(t, inner.Close())
	must(t, inner.Close())
	write(t, dir+"/examples/fn/y.go", "")
	ra.waitPaths(t, "y.go")
	if paths, _ := ri.seen(); slices.Contains(paths, dir+"/examples/fn/y.go") {
		t.Error("the closed tree got a change")
	}
	must(t, outer.Close())
	if got := w.watched(kernel, dir); !slices.Equal(got, []string{"examples/fn", "shared"}) {
		t.Errorf("watched %q", got)
	}
	must(t, again.Close())
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.nodes)+len(w.byID)+len(w.polled)+len(w.trees) > 0 {
		t.Errorf("left behind: %d nodes, %d ids", len(w.nodes), len(w.byID))
	}
}

func TestKernelWatchesAreGivenBack(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/fn/a/b/x.go", "")
	fsw, err := fsnotify.NewWatcher()
	must(t, err)
	w := watcherOn(t, Config{}, func() (*notifier, error) {
		return &notifier{fsw.Events, fsw.Errors, fsw.Add, fsw.Remove, fsw.Close}, nil
	})
	tree, r := add(t, w, dir+"/fn")
	rename(t, dir+"/fn/a", dir+"/out")
	r.expect(t, "a")
	list := fsw.WatchList()
	slices.Sort(list)
	if want := []string{dir, dir + "/fn"}; !slices.Equal(list, want) {
		t.Errorf("the kernel watches %q, want %q", list, want)
	}
	must(t, tree.Close())
	if list := fsw.WatchList(); len(list) > 0 {
		t.Errorf("the kernel still watches %q", list)
	}
}

func TestSlowCallbackDoesNotDelayOtherTrees(t *testing.T) {
	dir := realTemp(t)
	mkdir(t, dir+"/slow")
	mkdir(t, dir+"/fast")
	w := watcher(t, Config{})
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	_, err := w.Add(dir+"/slow", func(Change) { entered <- struct{}{}; <-release })
	must(t, err)
	_, r := add(t, w, dir+"/fast")
	write(t, dir+"/slow/x.go", "")
	<-entered
	write(t, dir+"/slow/y.go", "")
	write(t, dir+"/fast/x.go", "")
	r.expect(t, "x.go")
	if len(entered) > 0 {
		t.Error("called while it was running")
	}
	close(release)
	<-entered // what came meanwhile
}

func TestTreesCanBeAddedAndClosedInACallback(t *testing.T) {
	dir := realTemp(t)
	mkdir(t, dir+"/a")
	mkdir(t, dir+"/b")
	w := watcher(t, Config{})
	b, _ := add(t, w, dir+"/b")
	added := newRecorder(dir + "/b")
	done := make(chan error, 10)
	_, err := w.Add(dir+"/a", func(Change) {
		_, err := w.Add(dir+"/b", added.onChange)
		done <- errors.Join(err, b.Close())
	})
	must(t, err)
	write(t, dir+"/a/x.go", "")
	must(t, <-done)
	added.expect(t)
}

func TestCloseWaitsForTheCallback(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		close func(*Watcher, *Tree) error
	}{
		{"of the tree", func(_ *Watcher, t *Tree) error { return t.Close() }},
		{"of the watcher", func(w *Watcher, _ *Tree) error { return w.Close() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := realTemp(t)
			w := watcher(t, Config{})
			entered := make(chan struct{})
			var finished atomic.Bool
			var calls atomic.Int64
			tree, err := w.Add(dir, func(Change) {
				if calls.Add(1) == 1 {
					close(entered)
					time.Sleep(50 * time.Millisecond)
					finished.Store(true)
				}
			})
			must(t, err)
			write(t, dir+"/x.go", "")
			<-entered
			write(t, dir+"/y.go", "")
			must(t, test.close(w, tree))
			if !finished.Load() {
				t.Error("Close returned during onChange")
			}
			n := calls.Load()
			write(t, dir+"/z.go", "")
			time.Sleep(5 * defaultDebounce)
			if calls.Load() != n {
				t.Error("onChange was called after Close")
			}
			must(t, tree.Close())
			must(t, w.Close())
		})
	}
}

func TestCloseWhileEverythingChanges(t *testing.T) {
	dir := realTemp(t)
	for range 20 {
		w, err := New(Config{Debounce: time.Millisecond})
		must(t, err)
		tree, err := w.Add(dir, func(Change) {})
		must(t, err)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					_ = os.MkdirAll(dir+"/a/b", 0o755)
					_ = os.WriteFile(dir+"/a/b/x", nil, 0o644)
					_ = os.Rename(dir+"/a", dir+"/c")
					_ = os.RemoveAll(dir + "/c")
				}
			}
		}()
		time.Sleep(3 * time.Millisecond)
		go tree.Close()
		must(t, w.Close())
		must(t, tree.Close())
		close(stop)
		<-stopped
	}
}

func TestOpenErrorIsReturned(t *testing.T) {
	want := errors.New("no notifications here")
	if _, err := start(Config{}, func() (*notifier, error) { return nil, want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestNotifierErrorIsLogged(t *testing.T) {
	logs := new(logBuffer)
	errs := make(chan error)
	watcherOn(t, Config{Logger: logs.logger()}, func() (*notifier, error) {
		n, err := openNotifier()
		if err == nil {
			n.errors = errs
		}
		return n, err
	})
	errs <- errors.New("something odd")
	errs <- syscall.EINVAL            // what fsnotify says of a directory moved and then removed
	errs <- fsnotify.ErrEventOverflow // taken, so the first was handled
	if got := logs.lines(); len(got) != 1 {
		t.Errorf("logged %q", got)
	}
}
