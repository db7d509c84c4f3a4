package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errAlias says that the kernel already watches a directory by another path
// that still leads to it, which happens with bind mounts. inotify has one watch
// per inode, so the second path must be polled.
var errAlias = errors.New("watched by another path")

// state is how a node's directory is observed.
type state int

const (
	unwatched state = iota // an ancestor of watched ones, or an anchor that cannot be watched
	kernel
	polling
)

// A node is a directory, by its real path, that is watched or that contains one
// that is. Nodes form a tree so that what is below a renamed directory is found
// without a search.
type node struct {
	path    string
	parent  *node // nil at the top
	kids    map[*node]struct{}
	state   state
	id      fileID                        // valid unless unwatched
	refs    map[*Tree]string              // the trees that contain it, and its path in them
	anchors map[string]map[*Tree]struct{} // the trees whose root depends on a name in it
	snap    snapshot                      // if polling
}

// node returns the node of a path and creates it, and those above, if need be.
func (w *Watcher) node(path string) *node {
	if n := w.nodes[path]; n != nil {
		return n
	}
	n := &node{
		path:    path,
		kids:    make(map[*node]struct{}),
		refs:    make(map[*Tree]string),
		anchors: make(map[string]map[*Tree]struct{}),
	}
	w.nodes[path] = n
	if dir := filepath.Dir(path); dir != path {
		n.parent = w.node(dir)
		n.parent.kids[n] = struct{}{}
	}
	return n
}

// watch makes the kernel watch the directory path, which must be free of
// symbolic links. If the kernel refuses, the directory is polled if poll is
// set. It is safe, and renews a watch that was lost, to call it again. The only
// error is that there is no such directory.
func (w *Watcher) watch(path string, poll bool) (*node, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s", ErrNotDirectory, path)
	}
	id := idOf(info)
	err = w.evict(path, id)
	n := w.node(path)
	if n.state != unwatched && n.id != id {
		w.unwatch(n)
	}
	if err == nil {
		err = w.fs.add(path)
	}
	switch {
	case err == nil:
		w.setKernel(n, id)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		w.drop(n)
		return nil, err
	case poll, len(n.refs) > 0: // a tree needs it, whatever this caller does
		w.setPolling(n, id, err)
	default:
		w.unwatch(n)
	}
	return n, nil
}

// evict makes sure that the directory id is not watched by a path other than
// this one. fsnotify would accept the new path and go on to report the old one,
// because inotify answers with the watch that it already has. This happens when
// a scan finds a directory under its new name before the event that it was
// renamed has arrived.
func (w *Watcher) evict(path string, id fileID) error {
	other := w.byID[id]
	if other == nil || other.path == path {
		return nil
	}
	if info, err := os.Lstat(other.path); err == nil && idOf(info) == id {
		return errAlias
	}
	w.drop(other)
	return nil
}

func (w *Watcher) setKernel(n *node, id fileID) {
	delete(w.polled, n)
	n.state, n.id, n.snap = kernel, id, nil
	if id != (fileID{}) {
		w.byID[id] = n
	}
}

// setPolling makes n polled, because of err.
func (w *Watcher) setPolling(n *node, id fileID, err error) {
	if n.state == polling {
		return
	}
	w.unwatch(n)
	n.state, n.id, n.snap = polling, id, takeSnapshot(n.path)
	w.polled[n] = struct{}{}
	if limit := limitOf(err); limit != nil {
		w.warnLimit(limit, err, n.path)
	} else if !errors.Is(err, errAlias) {
		w.cfg.Logger.Warn("watch: directory is polled", "dir", n.path, "error", err)
	}
}

// unwatch stops observing n's directory.
func (w *Watcher) unwatch(n *node) {
	if n.state == kernel {
		// It fails if the directory is gone, and the watch with it.
		_ = w.fs.remove(n.path)
	}
	if w.byID[n.id] == n {
		delete(w.byID, n.id)
	}
	delete(w.polled, n)
	n.state, n.id, n.snap = unwatched, fileID{}, nil
}

// drop forgets n and all below it, because the directory is no longer there.
// Trees that have their root there, or a link to it, become dirty.
func (w *Watcher) drop(n *node) {
	for kid := range n.kids {
		w.drop(kid)
	}
	for t, path := range n.refs {
		if _, linked := t.links[path]; linked || n.path == t.root.path {
			w.dirty[t] = struct{}{}
		}
		delete(t.nodes, n)
	}
	for _, trees := range n.anchors {
		for t := range trees {
			w.dirty[t] = struct{}{}
		}
	}
	clear(n.refs)
	clear(n.anchors)
	w.release(n)
}

// unref removes t from n.
func (w *Watcher) unref(n *node, t *Tree) {
	delete(n.refs, t)
	delete(t.nodes, n)
	w.release(n)
}

// release stops watching n if no tree needs it, and forgets the nodes that are
// of no more use.
func (w *Watcher) release(n *node) {
	if len(n.refs) > 0 || len(n.anchors) > 0 {
		return
	}
	w.unwatch(n)
	for n != nil && len(n.kids) == 0 && len(n.refs) == 0 && len(n.anchors) == 0 {
		if w.nodes[n.path] != n {
			return // dropped before, and another took its place
		}
		delete(w.nodes, n.path)
		if n.parent != nil {
			delete(n.parent.kids, n)
		}
		n = n.parent
	}
}

// setAnchors makes t depend on these anchors and no others.
func (w *Watcher) setAnchors(t *Tree, anchors []anchor) {
	old := t.anchors
	t.anchors = make(map[anchor]struct{}, len(anchors))
	for _, a := range anchors {
		t.anchors[a] = struct{}{}
		// An anchor that cannot be watched is not lost: poll looks at all roots.
		n, err := w.watch(a.dir, false)
		if err != nil {
			continue
		}
		if n.anchors[a.name] == nil {
			n.anchors[a.name] = make(map[*Tree]struct{})
		}
		n.anchors[a.name][t] = struct{}{}
	}
	for a := range old {
		if _, keep := t.anchors[a]; keep {
			continue
		}
		if n := w.nodes[a.dir]; n != nil {
			delete(n.anchors[a.name], t)
			if len(n.anchors[a.name]) == 0 {
				delete(n.anchors, a.name)
			}
			w.release(n)
		}
	}
}
