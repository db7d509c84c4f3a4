package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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

// found is a directory that holds a function.
type found struct {
	name   string
	src    builder.Source
	routes []manifest.Route
}

// discover compares the functions that there are with the directories that hold
// one: new ones are built, and those that have gone are stopped.
func (h *Host) discover() {
	h.discovering.Lock()
	defer h.discovering.Unlock()
	var list []found
	for _, s := range h.sources {
		list = append(list, s.find()...)
	}
	wanted := make(map[string]found)
	for _, d := range list {
		if other, taken := wanted[d.name]; taken {
			h.conflict(d, other)
			continue
		}
		wanted[d.name] = d
	}
	var gone, fresh []*function
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	for name, f := range h.functions {
		if d, ok := wanted[name]; f.src.Dir != "" && (!ok || d.src != f.src) {
			gone = append(gone, f)
			delete(h.functions, name)
		}
	}
	for name, d := range wanted {
		f := h.functions[name]
		if f == nil {
			f = newFunction(h, name, d.src)
			f.routes = d.routes
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
func (h *Host) conflict(d, other found) {
	err := fmt.Errorf("%w: %s and %s are both called %q: rename one, or give it a `name` in its %s; %s is served",
		ErrDuplicate, other.src.Dir, d.src.Dir, d.name, manifest.FileName, other.src.Dir)
	if h.conflicts == nil {
		h.conflicts = make(map[string]bool)
	}
	if h.conflicts[err.Error()] {
		return
	}
	h.conflicts[err.Error()] = true
	h.emit(Event{Time: time.Now(), Function: d.name, State: Failed, Err: err})
	h.logs.Add(logs.Record{Level: 8, Function: d.name, Source: logs.Host, Message: err.Error()})
}

// ErrDuplicate is the error of a directory whose function has the name of another.
var ErrDuplicate = errors.New("two functions of one name")

// find lists the functions below a folder: the folder itself if it is one, else
// its immediate subdirectories that hold a handler, and all those, at any depth,
// that hold a manifest.
func (s *watched) find() []found {
	if holdsFunction(s.dir) {
		return []found{s.found(s.dir)}
	}
	var list []found
	filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return nil
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 && filepath.Dir(path) == s.dir {
			info, err := os.Stat(path)
			isDir = err == nil && info.IsDir()
		}
		if !isDir {
			return nil
		}
		if strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") || e.Name() == "node_modules" || e.Name() == "testdata" || e.Name() == "vendor" {
			return filepath.SkipDir
		}
		if hasManifest(path) || filepath.Dir(path) == s.dir && holdsFunction(path) {
			list = append(list, s.found(path))
		}
		return nil
	})
	return list
}

func (s *watched) found(dir string) found {
	name := ""
	var routes []manifest.Route
	if m, err := manifest.Load(dir); err == nil {
		name, routes = m.Name, m.Triggers.HTTP
	}
	if name == "" {
		name = manifest.NameFromDir(filepath.Base(dir))
	}
	if manifest.ValidName(name) != nil {
		name = "function-" + name // "v1", or nothing that could be kept
	}
	return found{name: name, src: builder.Source{Dir: dir, Root: s.root}, routes: routes}
}

func hasManifest(dir string) bool {
	for _, name := range []string{manifest.FileName, "function.yml"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// holdsFunction reports whether a directory is meant to be a function: it has
// handlers, good ones or not, or it looks as if it had, but for a syntax error.
func holdsFunction(dir string) bool {
	if hasManifest(dir) {
		return true
	}
	_, err := builder.Detect(dir)
	var bad *builder.Error
	switch {
	case err == nil:
		return true
	case errors.As(err, &bad):
		return mentionsHandler(dir)
	}
	return false
}

func mentionsHandler(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err == nil && (bytes.Contains(b, []byte("func Handle")) || bytes.Contains(b, []byte("functions.Serve("))) {
			return true
		}
	}
	return false
}

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
