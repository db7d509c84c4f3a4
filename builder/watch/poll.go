package watch

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// A snapshot is what is in a directory.
type snapshot map[string]stamp

// A stamp is what tells a changed file from an unchanged one without reading
// it. Directories have no size and time: what is in them has stamps of its own.
type stamp struct {
	id    fileID
	kind  fs.FileMode
	size  int64
	mtime int64 // nanoseconds
}

// takeSnapshot reads a directory. One that cannot be read seems empty.
func takeSnapshot(dir string) snapshot {
	entries, _ := os.ReadDir(dir)
	s := make(snapshot, len(entries))
	for _, entry := range entries {
		if ignoredName(entry.Name(), entry.IsDir()) {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // removed meanwhile
		}
		st := stamp{id: idOf(info), kind: info.Mode().Type()}
		if !info.IsDir() {
			st.size, st.mtime = info.Size(), info.ModTime().UnixNano()
		}
		s[entry.Name()] = st
	}
	return s
}

// poll looks at what no event would tell: the roots of all trees, and the
// directories that could not be watched.
func (w *Watcher) poll() {
	for t := range w.trees {
		if t.moved() {
			w.dirty[t] = struct{}{}
		}
	}
	full := false
	for _, n := range slices.Collect(maps.Keys(w.polled)) {
		if _, still := w.polled[n]; still {
			full = !w.pollNode(n, !full) || full
		}
	}
}

// pollNode handles what changed in a polled directory as if there had been
// events. If promote is set it first tries to watch the directory after all; it
// reports false if there is no room for that.
func (w *Watcher) pollNode(n *node, promote bool) (room bool) {
	room = true
	info, err := os.Lstat(n.path)
	if err != nil || idOf(info) != n.id {
		w.entryChanged(n.path, true)
		return room
	}
	before := n.snap
	if promote {
		room = w.promote(n)
	}
	after := takeSnapshot(n.path)
	if n.state == polling {
		n.snap = after
	}
	for name, op := range before.changes(after) {
		w.handle(filepath.Join(n.path, name), op)
	}
	return room
}

// promote tries to have the kernel watch a polled directory and reports whether
// there may be room for more.
func (w *Watcher) promote(n *node) bool {
	err := w.evict(n.path, n.id)
	if err == nil {
		err = w.fs.add(n.path)
	}
	if err == nil {
		w.setKernel(n, n.id)
	}
	return limitOf(err) == nil
}

// changes returns what happened to the names of a directory between two
// snapshots.
func (before snapshot) changes(after snapshot) map[string]fsnotify.Op {
	changes := make(map[string]fsnotify.Op)
	for name, now := range after {
		switch was, ok := before[name]; {
		case !ok, was.id != now.id, was.kind != now.kind:
			changes[name] = fsnotify.Create
		case was != now:
			changes[name] = fsnotify.Write
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			changes[name] = fsnotify.Remove
		}
	}
	return changes
}
