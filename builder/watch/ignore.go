package watch

import (
	"path/filepath"
	"strings"
)

// ignored reports whether path, below t's root, is not of interest.
func (w *Watcher) ignored(t *Tree, path string, dir bool) bool {
	if t.flat && dir || ignoredName(filepath.Base(path), dir) {
		return true
	}
	if w.cfg.Ignore == nil {
		return false
	}
	rel, err := filepath.Rel(t.dir, path)
	return err == nil && w.cfg.Ignore(filepath.ToSlash(rel), dir)
}

// ignoredName reports whether files, or directories, of this name are never of
// interest. For a name that was removed dir may be false although it was a
// directory, so names of directories are ignored for files as well.
func ignoredName(name string, dir bool) bool {
	switch {
	case name == ".gitignore" || name == ".fnhostignore":
		return dir
	case strings.HasPrefix(name, "."), name == "node_modules":
		return true
	case dir:
		return false
	}
	return editorFile(name)
}

// editorFile reports whether an editor uses name for a file of its own. Those
// that begin with a dot (vim's swap files, emacs' locks, .goutputstream-*) are
// ignored anyway.
func editorFile(name string) bool {
	switch {
	case name == "4913": // vim probes with it whether it may create files
		return true
	case strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#") && len(name) > 1: // emacs
		return true
	}
	for _, suffix := range []string{"~", "___jb_tmp___", "___jb_old___", ".kate-swp"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
