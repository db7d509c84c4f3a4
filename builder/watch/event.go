package watch

import (
	"maps"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// gone are the operations after which a name does not lead where it did.
const gone = fsnotify.Remove | fsnotify.Rename

// handle handles one event, from the kernel or from polling. What it costs
// depends on the number of trees that contain the path, not on all trees.
func (w *Watcher) handle(path string, op fsnotify.Op) {
	switch {
	case op.Has(fsnotify.Create | gone):
		w.entryChanged(path, op.Has(gone))
	case op.Has(fsnotify.Write):
		w.written(path)
	}
	// What is left are changes of mode and times, which are noise.
}

// written reports that a file was written to.
func (w *Watcher) written(path string) {
	if w.nodes[path] != nil {
		return // some systems say that a directory was written to if an entry was
	}
	dir := w.nodes[filepath.Dir(path)]
	if dir == nil {
		return
	}
	for t, inTree := range dir.refs {
		if path := filepath.Join(inTree, filepath.Base(path)); !w.ignored(t, path, false) {
			t.debounce.add(path, false)
		}
	}
}

// entryChanged handles that a name in a directory is new, is gone, or leads to
// another file. Events are old news: what counts is what is there now. Even a
// name that was removed or renamed may be there again, because two directories
// can be exchanged in one step.
func (w *Watcher) entryChanged(path string, gone bool) {
	info, err := os.Lstat(path)
	if err != nil {
		info = nil
	}
	self := w.nodes[path]
	wasDir := self != nil
	if wasDir && (gone || info == nil || self.state != unwatched && self.id != idOf(info)) {
		w.drop(self)
	}
	dir, name := w.nodes[filepath.Dir(path)], filepath.Base(path)
	if dir == nil {
		return
	}
	for t := range dir.anchors[name] {
		w.anchorChanged(t, gone)
	}
	// Walking a tree may change refs.
	for t, inTree := range maps.Clone(dir.refs) {
		w.entryChangedIn(t, path, filepath.Join(inTree, name), info, wasDir)
	}
}

// anchorChanged handles that a name on which t's root depends has changed. If
// it leads to the same root nothing is reported: often the event is that of the
// root's creation, just before it was added. But the way there may be another.
func (w *Watcher) anchorChanged(t *Tree, gone bool) {
	if !gone && !t.moved() {
		if root, err := w.locate(t); err == nil && root.path == t.root.path && root.id == t.root.id {
			return
		}
	}
	w.dirty[t] = struct{}{}
}

// entryChangedIn is entryChanged for one tree, in which path is inTree. info is
// nil if there is nothing now.
func (w *Watcher) entryChangedIn(t *Tree, path, inTree string, info os.FileInfo, wasDir bool) {
	isDir := info != nil && info.IsDir()
	if w.ignored(t, inTree, isDir || wasDir) {
		return
	}
	t.debounce.add(inTree, false)
	if _, dirty := w.dirty[t]; dirty {
		return // the whole tree will be walked
	}
	_, wasLink := t.links[inTree]
	switch {
	case wasLink, info != nil && leadsToDir(path, info):
		w.dirty[t] = struct{}{}
	case isDir:
		_ = w.walk(t, path, inTree, true) // if it is gone again there will be an event
	}
}

// leadsToDir reports whether path is a symbolic link to a directory, or to
// nothing, which may become one.
func leadsToDir(path string, info os.FileInfo) bool {
	if info.Mode()&os.ModeSymlink == 0 {
		return false
	}
	target, err := os.Stat(path)
	return err != nil || target.IsDir()
}
