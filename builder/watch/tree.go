package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const (
	// maxSettle bounds how often settle follows up on what it did itself. What
	// is left then waits for the next event or poll.
	maxSettle = 4

	// maxLocate bounds how often a root that moves about is looked up again.
	maxLocate = 5
)

// A Tree is a directory that is watched with everything below it.
type Tree struct {
	w        *Watcher
	dir      string // absolute, as given to Add
	flat     bool   // without what lies in directories below
	debounce *debouncer

	// Guarded by w.mu.
	root    location // where dir leads to; its path is empty while there is nothing
	nodes   map[*node]struct{}
	links   map[string]fileID // symbolic links to directories, by their path below dir, and dangling ones
	anchors map[anchor]struct{}
}

// Add watches the directory dir and all below it and calls onChange when
// something changed; the package documentation says when and from where. dir is
// made absolute, and may be or contain symbolic links. Once Add has returned no
// change is missed. Add reads the whole tree; events wait meanwhile.
//
// The error is ErrClosed if the Watcher is closed, ErrNotDirectory if dir is
// something else, and wraps fs.ErrNotExist if there is nothing. That the system
// refuses to watch a directory is no error: it is polled.
func (w *Watcher) Add(dir string, onChange func(Change)) (*Tree, error) {
	return w.add(dir, false, onChange)
}

// AddDir is Add for the files in dir alone, without its directories.
func (w *Watcher) AddDir(dir string, onChange func(Change)) (*Tree, error) {
	return w.add(dir, true, onChange)
}

func (w *Watcher) add(dir string, flat bool, onChange func(Change)) (*Tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", dir, err)
	}
	t := &Tree{w: w, dir: abs, flat: flat, debounce: newDebouncer(w.cfg.Debounce, w.cfg.MaxDelay, onChange)}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	w.trees[t] = struct{}{}
	if err := w.populate(t); err != nil {
		w.forget(t)
		return nil, fmt.Errorf("watch %q: %w", dir, err)
	}
	w.settle()
	return t, nil
}

// Close stops watching the tree and waits for a running onChange; after it none
// is called. Changes not reported yet never are. It must not be called from the
// tree's own onChange. The error is always nil. Closing twice is harmless, also
// after the Watcher was closed.
func (t *Tree) Close() error {
	t.w.mu.Lock()
	t.w.forget(t)
	t.w.mu.Unlock()
	t.debounce.close()
	return nil
}

// forget removes a tree and what was watched for it alone.
func (w *Watcher) forget(t *Tree) {
	delete(w.trees, t)
	delete(w.dirty, t)
	for n := range t.nodes {
		w.unref(n, t)
	}
	w.setAnchors(t, nil)
}

// settle brings the dirty trees up to date and reports that they changed. To
// sync one tree may reveal that another one's directories are gone.
func (w *Watcher) settle() {
	for range maxSettle {
		if len(w.dirty) == 0 {
			return
		}
		trees := w.dirty
		w.dirty = make(map[*Tree]struct{})
		for t := range trees {
			if _, open := w.trees[t]; open {
				w.sync(t)
			}
		}
	}
}

// sync looks at a whole tree again, wherever its root is now.
func (w *Watcher) sync(t *Tree) {
	had := t.root.path != ""
	if err := w.populate(t); err != nil && !had {
		return // still missing
	}
	t.debounce.add(t.dir, true)
}

// populate watches the directories of a tree and no longer those that are not
// part of it any more. The error says why there is no root.
func (w *Watcher) populate(t *Tree) error {
	root, err := w.locate(t)
	old := t.nodes
	t.root, t.nodes, t.links = root, make(map[*node]struct{}), make(map[string]fileID)
	if err == nil {
		err = w.walk(t, root.path, t.dir, false)
	}
	for n := range old {
		if _, keep := t.nodes[n]; !keep {
			w.unref(n, t)
		}
	}
	if err != nil {
		t.root = location{}
	}
	return err
}

// locate finds a tree's root and watches its anchors. What happened before an
// anchor was watched is found by looking once more.
func (w *Watcher) locate(t *Tree) (location, error) {
	root, err := locate(t.dir)
	for range maxLocate {
		w.setAnchors(t, root.anchors)
		again, errAgain := locate(t.dir)
		same := again.path == root.path && again.id == root.id && slices.Equal(again.anchors, root.anchors)
		root, err = again, errAgain
		if same {
			break
		}
	}
	return root, err
}

// moved reports whether the tree's root, or a directory that it has a link to,
// is not the one that is watched.
func (t *Tree) moved() bool {
	info, err := os.Stat(t.dir)
	if t.root.path == "" {
		return err == nil && info.IsDir()
	}
	if err != nil || idOf(info) != t.root.id {
		return true
	}
	if t.root.path != t.dir {
		// A directory can be moved and its link corrected.
		if info, err := os.Lstat(t.root.path); err != nil || idOf(info) != t.root.id {
			return true
		}
	}
	for path, id := range t.links {
		if targetID(path) != id {
			return true
		}
	}
	return false
}

// targetID identifies the directory that a symbolic link leads to. It is zero
// if there is none.
func targetID(link string) fileID {
	info, err := os.Stat(link)
	if err != nil || !info.IsDir() {
		return fileID{}
	}
	return idOf(info)
}

// A scan is one walk through a tree or a part of it.
type scan struct {
	t      *Tree
	report bool       // report what is found as changed
	links  []scanLink // found and not followed yet
	linked bool       // below a link: do not enter what is watched already
}

// A scanLink is a symbolic link by its real path and its path in the tree.
type scanLink struct{ path, inTree string }

// walk watches the directory path, whose path in the tree is inTree, and all
// below it. Links are followed last, so that a directory that is in the tree by
// itself and by a link is known by its own path. The error says that there is
// no directory.
func (w *Watcher) walk(t *Tree, path, inTree string, report bool) error {
	s := &scan{t: t, report: report}
	err := w.descend(s, path, inTree)
	s.linked = true
	for len(s.links) > 0 {
		link := s.links[0]
		s.links = s.links[1:]
		w.follow(s, link)
	}
	return err
}

// descend watches one directory, then reads it: in the other order a file
// created in between would be missed.
func (w *Watcher) descend(s *scan, path, inTree string) error {
	if s.linked && s.t.contains(w.nodes[path]) {
		return nil
	}
	n, err := w.watch(path, true)
	if err != nil {
		return err
	}
	n.refs[s.t] = inTree
	s.t.nodes[n] = struct{}{}

	// A directory that cannot be read has no entries to report; it is
	// watched, or polled, for the case that it will be readable.
	entries, _ := os.ReadDir(path)
	for _, entry := range entries {
		below := filepath.Join(inTree, entry.Name())
		if w.ignored(s.t, below, entry.IsDir()) {
			continue
		}
		if s.report {
			s.t.debounce.add(below, false)
		}
		switch real := filepath.Join(path, entry.Name()); {
		case entry.IsDir():
			// If it is gone again there will be an event.
			_ = w.descend(s, real, below)
		case entry.Type()&os.ModeSymlink != 0:
			s.links = append(s.links, scanLink{real, below})
		}
	}
	return nil
}

// contains reports whether n is watched for the tree. n may be nil.
func (t *Tree) contains(n *node) bool {
	_, ok := t.nodes[n]
	return ok
}

// follow watches the directory that a symbolic link leads to, unless it is in
// the tree already or has the tree's root in it.
func (w *Watcher) follow(s *scan, link scanLink) {
	target, err := locate(link.path)
	if err != nil {
		if _, statErr := os.Stat(link.path); statErr != nil {
			s.t.links[link.inTree] = fileID{} // dangling: poll looks whether it still is
		}
		return
	}
	s.t.links[link.inTree] = target.id
	if !within(s.t.root.path, target.path) {
		_ = w.descend(s, target.path, link.inTree)
	}
}
