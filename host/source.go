package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/watch"
)

// watched is a folder whose functions are kept up with.
type watched struct {
	h    *Namespace
	dir  string // as an absolute path, links not followed
	root string // the tree that sources in it may use
}

// watchFolders starts to keep up with the folders of Config.Watch.
func (h *Namespace) watchFolders() error {
	if len(h.cfg.Watch) == 0 {
		return nil
	}
	w, err := watch.New(watch.Config{Logger: h.log})
	if err != nil {
		return fmt.Errorf("host: watch: %w", err)
	}
	h.watcher = w
	h.closers = append(h.closers, func() { w.Close() })
	for _, dir := range h.cfg.Watch {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("host: watch %q: %w", dir, err)
		}
		if info, err := os.Stat(abs); err != nil {
			return fmt.Errorf("host: watch: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("host: watch %q: not a directory", dir)
		}
		s := &watched{h: h, dir: abs, root: abs}
		if module := builder.FindModule(abs, ""); module != "" {
			s.root = module
		}
		h.sources = append(h.sources, s)
		if _, err := w.Add(abs, s.onChange); err != nil {
			return fmt.Errorf("host: watch %q: %w", dir, err)
		}
	}
	h.discover()
	return nil
}

// onChange is told of changes below the folder.
func (s *watched) onChange(c watch.Change) {
	if c.Rescan || s.h.affectsDiscovery(c.Paths) {
		s.h.discover()
	}
	s.h.sourceChanged(c)
}

// affectsDiscovery reports whether a change may make or end a function: anything
// but a file in the directory of one.
func (h *Namespace) affectsDiscovery(paths []string) bool {
	h.mu.Lock()
	dirs := make(map[string]bool, len(h.functions))
	for _, f := range h.functions {
		dirs[f.src.Dir] = true
	}
	h.mu.Unlock()
	for _, p := range paths {
		base := filepath.Base(p)
		if base == manifest.FileName || base == "function.yml" || !dirs[filepath.Dir(p)] {
			return true
		}
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// sourceChanged has those functions looked at that a change may concern.
func (h *Namespace) sourceChanged(c watch.Change) {
	h.mu.Lock()
	var affected []*function
	for _, f := range h.functions {
		if f.src.Dir != "" && (c.Rescan || f.readsAny(c.Paths)) {
			affected = append(affected, f)
		}
	}
	h.mu.Unlock()
	for _, f := range affected {
		f.requestBuild()
	}
}

// readsAny reports whether a build of the function reads one of paths, as far as
// is known from the latest one.
func (f *function) readsAny(paths []string) bool {
	var dirs []string
	if a := f.latest.Load(); a != nil {
		dirs = *a
	}
	for _, p := range paths {
		if within(f.src.Dir, p) || slices.Contains(dirs, filepath.Dir(p)) {
			return true
		}
	}
	return false
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// rediscover looks for functions that have gone, outside of the goroutine of
// the function that has noticed.
func (h *Namespace) rediscover() {
	h.tasks.Go(h.discover)
}

// discover compares the functions that there are with the directories that hold
// one: new ones are built, and those that have gone are stopped.
func (h *Namespace) discover() {
	h.discovering.Lock()
	defer h.discovering.Unlock()
	wanted, left := h.find()
	var gone, fresh []*function
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	for name, f := range h.functions {
		if d, ok := wanted[name]; f.src.Dir != "" && (!ok || d.Source != f.src) {
			gone = append(gone, f)
			delete(h.functions, name)
		}
	}
	for name, d := range wanted {
		switch f := h.functions[name]; {
		case f == nil:
			f = newFunction(h, name, d.Source)
			f.routes = d.Routes
			h.functions[name] = f
			fresh = append(fresh, f)
		case f.deployed != nil:
			left = append(left, h.newConflict(d, "a deployed function"))
		case f.isLocal():
			left = append(left, h.newConflict(d, "a function of this program"))
		}
	}
	conflicts := h.setConflicts(left)
	h.reindex()
	h.mu.Unlock()
	if len(gone)+len(fresh) > 0 {
		h.publish()
	}
	for _, f := range gone {
		h.remove(f)
	}
	for _, c := range conflicts {
		c.tell(h)
	}
	slices.SortFunc(fresh, func(a, b *function) int { return strings.Compare(a.name, b.name) })
	for _, f := range fresh {
		f.requestBuild()
	}
	h.hintStrays(wanted)
}

// find returns the functions in the watched folders by their names, and the
// directories whose names others have.
func (h *Namespace) find() (map[string]builder.Found, []conflict) {
	wanted := make(map[string]builder.Found)
	var left []conflict
	for _, s := range h.sources {
		for _, d := range builder.Find(s.dir, s.root) {
			if other, taken := wanted[d.Name]; taken {
				left = append(left, h.newConflict(d, other.Source.Dir))
				continue
			}
			wanted[d.Name] = d
		}
	}
	return wanted, left
}

// remove ends a function whose source has gone, and says so unless nobody has
// heard of it.
func (h *Namespace) remove(f *function) {
	f.mu.Lock()
	known := f.deployed == nil || f.state != Building
	f.mu.Unlock()
	if known {
		h.emit(Event{Time: time.Now(), Function: f.name, State: Draining, Version: f.version()})
	}
	h.tasks.Go(func() { f.stopWithin(h.cfg.Drain) })
}

// watchSource watches directories outside of the watched folders that a build
// has read: other packages of the module, and its go.mod.
func (h *Namespace) watchSource(f *function, a *builder.Artifact) {
	dirs := a.Watch
	f.latest.Store(&dirs)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, dir := range dirs {
		if h.outside[dir] || slices.ContainsFunc(h.sources, func(s *watched) bool { return within(s.dir, dir) }) {
			continue
		}
		if h.outside == nil {
			h.outside = make(map[string]bool)
		}
		h.outside[dir] = true
		if _, err := h.watcher.AddDir(dir, h.sourceChanged); err != nil {
			h.log.Warn("a directory that a function is built from is not watched: "+err.Error(), "dir", dir)
		}
	}
}
