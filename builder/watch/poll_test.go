package watch

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// limited opens a notifier that refuses more watches than room.
func limited(room *atomic.Int64) func() (*notifier, error) {
	return func() (*notifier, error) {
		n, err := openNotifier()
		if err != nil {
			return nil, err
		}
		has := make(map[string]bool)
		watch, unwatch := n.add, n.remove
		n.add = func(path string) error {
			if !has[path] && len(has) >= int(room.Load()) {
				return syscall.ENOSPC
			}
			if err := watch(path); err != nil {
				return err
			}
			has[path] = true
			return nil
		}
		n.remove = func(path string) error { delete(has, path); return unwatch(path) }
		return n, nil
	}
}

// checkLimitWarning checks that there is one warning, which says all of want.
func checkLimitWarning(t *testing.T, logs *logBuffer, want ...string) {
	t.Helper()
	lines := logs.lines()
	if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
		t.Fatalf("want one warning, got %q", lines)
	}
	for _, s := range want {
		if !strings.Contains(lines[0], s) {
			t.Errorf("the warning does not say %q: %s", s, lines[0])
		}
	}
}

// checkEverythingIsReported makes changes of all kinds below dir and waits for
// each to be reported. dir has a/b/x.go.
func checkEverythingIsReported(t *testing.T, r *recorder, dir string) {
	t.Helper()
	steps := []struct {
		do   func()
		want []string
	}{
		{func() { write(t, dir+"/a/b/x.go", "longer than before") }, []string{"a/b/x.go"}},
		{func() { write(t, dir+"/a/new.go", "") }, []string{"a/new.go"}},
		{func() { must(t, os.Remove(dir+"/a/new.go")) }, []string{"a/new.go"}},
		{func() { writeAll(t, dir+"/c/d/y.go", "") }, []string{"c", "c/d", "c/d/y.go"}},
		{func() { write(t, dir+"/c/d/y.go", "changed") }, []string{"c/d/y.go"}},
		{func() { rename(t, dir+"/c", dir+"/e") }, []string{"c", "e", "e/d/y.go"}},
		{func() { write(t, dir+"/e/d/y.go", "changed again") }, []string{"e/d/y.go"}},
		{func() { must(t, os.RemoveAll(dir+"/a")) }, []string{"a"}},
		{func() { writeAll(t, dir+"/a/b/x.go", "") }, []string{"a", "a/b/x.go"}},
		{func() { write(t, dir+"/a/b/.tmp", "atomic"); rename(t, dir+"/a/b/.tmp", dir+"/a/b/x.go") }, []string{"a/b/x.go"}},
	}
	for _, step := range steps {
		r.clear()
		step.do()
		r.waitPaths(t, step.want...)
	}
	must(t, os.RemoveAll(dir))
	r.waitRescan(t)
	r.clear()
	writeAll(t, dir+"/a/b/x.go", "")
	r.waitRescan(t)
	write(t, dir+"/a/b/x.go", "changed")
	r.waitPaths(t, "a/b/x.go")
}

func TestWatchLimitFallsBackToPolling(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{0, 1, 2, 3} {
		t.Run(fmt.Sprintf("room for %d", room), func(t *testing.T) {
			dir := realTemp(t) + "/fn"
			writeAll(t, dir+"/a/b/x.go", "")
			var n atomic.Int64
			n.Store(room)
			logs := new(logBuffer)
			w := watcherOn(t, Config{PollInterval: 5 * time.Millisecond, Logger: logs.logger()}, limited(&n))
			_, r := add(t, w, dir)
			if got := len(w.watched(polling, dir)); got == 0 {
				t.Error("nothing is polled")
			}
			checkEverythingIsReported(t, r, dir)
			checkLimitWarning(t, logs, "fs.inotify.max_user_watches", "others are watched as before",
				"every=5ms", "sysctl fs.inotify.max_user_watches=524288")
		})
	}
}

func TestPolledDirectoriesAreWatchedOnceThereIsRoom(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/a/b/x.go", "")
	var room atomic.Int64
	w := watcherOn(t, Config{PollInterval: 5 * time.Millisecond, Logger: new(logBuffer).logger()}, limited(&room))
	_, r := add(t, w, dir)
	if got := w.watched(polling, dir); !slices.Equal(got, []string{".", "a", "a/b"}) {
		t.Fatalf("polled %q", got)
	}
	room.Store(100)
	for start := time.Now(); len(w.watched(kernel, dir)) < 3; time.Sleep(time.Millisecond) {
		if time.Since(start) > deadline {
			t.Fatalf("only %q are watched", w.watched(kernel, dir))
		}
	}
	w.mu.Lock()
	polled := len(w.polled)
	w.mu.Unlock()
	if polled > 0 {
		t.Errorf("%d directories are still polled", polled)
	}
	write(t, dir+"/a/b/x.go", "changed")
	r.expect(t, "a/b/x.go")
}

func TestPolledDirectoryStaysPolledWhenItBecomesAnAnchor(t *testing.T) {
	dir := realTemp(t)
	writeAll(t, dir+"/a/b/x.go", "")
	w := watcherOn(t, Config{PollInterval: 5 * time.Millisecond, Logger: new(logBuffer).logger()}, limited(new(atomic.Int64)))
	_, outer := add(t, w, dir)
	inner, _ := add(t, w, dir+"/a")
	write(t, dir+"/x.go", "")
	outer.waitPaths(t, "x.go")
	must(t, inner.Close())
	write(t, dir+"/a/y.go", "")
	outer.waitPaths(t, "a/y.go")
}

func TestNoNotifierMeansPollingOnly(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		t.Run(errno.Error(), func(t *testing.T) {
			dir := realTemp(t) + "/fn"
			writeAll(t, dir+"/a/b/x.go", "")
			logs := new(logBuffer)
			w := watcherOn(t, Config{PollInterval: 5 * time.Millisecond, Logger: logs.logger()},
				func() (*notifier, error) { return nil, fmt.Errorf("open: %w", errno) })
			_, r := add(t, w, dir)
			checkEverythingIsReported(t, r, dir)
			checkLimitWarning(t, logs, limitOf(errno).name, "all directories are polled", limitOf(errno).raise)
		})
	}
}

func TestSnapshotChanges(t *testing.T) {
	file := stamp{id: fileID{1, 1}, size: 3, mtime: 5}
	with := func(change func(*stamp)) stamp { s := file; change(&s); return s }
	tests := []struct {
		name          string
		before, after snapshot
		want          string
	}{
		{"same", snapshot{"a": file}, snapshot{"a": file}, "map[]"},
		{"size", snapshot{"a": file}, snapshot{"a": with(func(s *stamp) { s.size++ })}, "map[a:WRITE]"},
		{"time", snapshot{"a": file}, snapshot{"a": with(func(s *stamp) { s.mtime-- })}, "map[a:WRITE]"},
		{"replaced", snapshot{"a": file}, snapshot{"a": with(func(s *stamp) { s.id.ino++ })}, "map[a:CREATE]"},
		{"other kind", snapshot{"a": file}, snapshot{"a": with(func(s *stamp) { s.kind = os.ModeDir })}, "map[a:CREATE]"},
		{"new", snapshot{}, snapshot{"a": file}, "map[a:CREATE]"},
		{"gone", snapshot{"a": file}, snapshot{}, "map[a:REMOVE]"},
		{"unreadable before", nil, snapshot{"a": file}, "map[a:CREATE]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(test.before.changes(test.after)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
