package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/watch"
	"github.com/fnhost/fnhost/host/logs"
)

// watched is a folder whose functions are kept up with.
type watched struct {
	h    *Host
	dir  string // as an absolute path, links not followed
	root string // the tree that sources in it may use
}

// watchFolders starts to keep up with the folders of Config.Watch.
func (h *Host) watchFolders() error {
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
func (h *Host) affectsDiscovery(paths []string) bool {
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
func (h *Host) sourceChanged(c watch.Change) {
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
func (h *Host) rediscover() {
	h.tasks.Go(h.discover)
}

// discover compares the functions that there are with the directories that hold
// one: new ones are built, and those that have gone are stopped.
func (h *Host) discover() {
	h.discovering.Lock()
	defer h.discovering.Unlock()
	var list []builder.Found
	for _, s := range h.sources {
		list = append(list, builder.Find(s.dir, s.root)...)
	}
	wanted := make(map[string]builder.Found)
	for _, d := range list {
		if other, taken := wanted[d.Name]; taken {
			h.conflict(d, other)
			continue
		}
		wanted[d.Name] = d
	}
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
		f := h.functions[name]
		if f == nil {
			f = newFunction(h, name, d.Source)
			f.routes = d.Routes
			h.functions[name] = f
			fresh = append(fresh, f)
		}
	}
	h.reindex()
	h.mu.Unlock()
	if len(gone)+len(fresh) > 0 {
		h.publish()
	}
	for _, f := range gone {
		h.remove(f)
	}
	slices.SortFunc(fresh, func(a, b *function) int { return strings.Compare(a.name, b.name) })
	for _, f := range fresh {
		f.requestBuild()
	}
}

// remove ends a function whose source has gone.
func (h *Host) remove(f *function) {
	h.emit(Event{Time: time.Now(), Function: f.name, State: Draining, Version: f.version()})
	h.tasks.Go(func() { f.stopWithin(h.cfg.Drain) })
}

// conflict says that two directories claim one name. It says so once.
func (h *Host) conflict(d, other builder.Found) {
	err := fmt.Errorf("%w: %s and %s are both called %q: rename one, or give it a `name` in its %s; %s is served",
		ErrDuplicate, other.Source.Dir, d.Source.Dir, d.Name, manifest.FileName, other.Source.Dir)
	if h.conflicts == nil {
		h.conflicts = make(map[string]bool)
	}
	if h.conflicts[err.Error()] {
		return
	}
	h.conflicts[err.Error()] = true
	h.emit(Event{Time: time.Now(), Function: d.Name, State: Failed, Err: err})
	h.logs.Add(logs.Record{Level: 8, Function: d.Name, Source: logs.Host, Message: err.Error()})
}

// ErrDuplicate is the error of a directory whose function has the name of another.
var ErrDuplicate = errors.New("two functions of one name")

// watchSource watches directories outside of the watched folders that a build
// has read: other packages of the module, and its go.mod.
func (h *Host) watchSource(f *function, a *builder.Artifact) {
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
