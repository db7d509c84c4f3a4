package watch

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// deadline is how long a test waits for what must happen.
const deadline = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder keeps the changes that a tree reports.
type recorder struct {
	root string

	mu      sync.Mutex
	changes []Change
	news    chan struct{}
	flushed int
}

func newRecorder(root string) *recorder {
	return &recorder{root: root, news: make(chan struct{}, 1)}
}

func (r *recorder) onChange(c Change) {
	r.mu.Lock()
	r.changes = append(r.changes, c)
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// seen returns all paths reported since the last flush and whether a rescan was.
func (r *recorder) seen() (paths []string, rescan bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := make(map[string]struct{})
	for _, c := range r.changes {
		rescan = rescan || c.Rescan
		for _, p := range c.Paths {
			set[p] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set)), rescan
}

// wait waits until what was seen satisfies cond.
func (r *recorder) wait(t *testing.T, what string, cond func(paths []string, rescan bool) bool) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		paths, rescan := r.seen()
		if cond(paths, rescan) {
			return
		}
		select {
		case <-r.news:
		case <-timeout:
			t.Fatalf("no %s; seen %d paths, rescan %t:\n%s", what, len(paths), rescan, strings.Join(paths, "\n"))
		}
	}
}

// waitPaths waits until all these paths, relative to the root, were reported.
func (r *recorder) waitPaths(t *testing.T, rel ...string) {
	t.Helper()
	r.wait(t, fmt.Sprintf("change of %q", rel), func(paths []string, _ bool) bool {
		for _, p := range rel {
			if !slices.Contains(paths, filepath.Join(r.root, p)) {
				return false
			}
		}
		return true
	})
}

// waitRescan waits for a change with Rescan.
func (r *recorder) waitRescan(t *testing.T) {
	t.Helper()
	r.wait(t, "rescan", func(_ []string, rescan bool) bool { return rescan })
}

// flush returns the paths, relative to the root, that were reported since the
// last flush, and forgets them. It writes a file and waits until that is
// reported: events keep their order, so what came before has been reported, too.
func (r *recorder) flush(t *testing.T) []string {
	t.Helper()
	r.flushed++
	name := fmt.Sprintf("flush%d", r.flushed)
	write(t, filepath.Join(r.root, name), "")
	r.waitPaths(t, name)
	paths, _ := r.seen()
	r.clear()
	rel := []string{}
	for _, p := range paths {
		if name, err := filepath.Rel(r.root, p); err == nil && !strings.HasPrefix(name, "flush") {
			rel = append(rel, filepath.ToSlash(name))
		}
	}
	return rel
}

// clear forgets what was reported.
func (r *recorder) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = nil
}

// expect checks what was reported since the last flush.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := r.flush(t); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// watcher starts a Watcher that is closed when the test ends.
func watcher(t *testing.T, cfg Config) *Watcher {
	t.Helper()
	return watcherOn(t, cfg, openNotifier)
}

func watcherOn(t *testing.T, cfg Config, open func() (*notifier, error)) *Watcher {
	t.Helper()
	if cfg.Debounce == 0 {
		cfg.Debounce = 5 * time.Millisecond // most tests wait for it many times
	}
	w, err := start(cfg, open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// add watches dir.
func add(t *testing.T, w *Watcher, dir string) (*Tree, *recorder) {
	t.Helper()
	r := newRecorder(dir)
	tree, err := w.Add(dir, r.onChange)
	if err != nil {
		t.Fatal(err)
	}
	return tree, r
}

// watched returns the directories in this state, relative to dir if below it.
func (w *Watcher) watched(in state, dir string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	paths := []string{}
	for _, n := range w.nodes {
		if n.state == in && len(n.refs) > 0 && within(n.path, dir) {
			rel, _ := filepath.Rel(dir, n.path)
			paths = append(paths, filepath.ToSlash(rel))
		}
	}
	slices.Sort(paths)
	return paths
}

// logBuffer is a logger's output.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(strings.Split(b.buf.String(), "\n"), func(s string) bool { return s == "" })
}

// A gate is an Ignore function that holds up the Watcher when it is asked about
// a file called "gate", until it is opened.
type gate struct{ entered, open chan struct{} }

func newGate() *gate { return &gate{entered: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) ignore(rel string, _ bool) bool {
	if filepath.Base(rel) == "gate" {
		select {
		case <-g.open:
		case g.entered <- struct{}{}:
			<-g.open
		}
	}
	return false
}

// hold makes the Watcher wait until the returned function is called.
func (g *gate) hold(t *testing.T, dir string) (release func()) {
	t.Helper()
	mkdir(t, filepath.Join(dir, "gate")) // a directory gives one event, a file could give two
	select {
	case <-g.entered:
	case <-time.After(deadline):
		t.Fatal("the watcher did not come to the gate")
	}
	release = sync.OnceFunc(func() { close(g.open) })
	t.Cleanup(release) // a test that fails before must not keep the Watcher from closing
	return release
}

// realTemp is t.TempDir free of symbolic links.
func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// writeAll writes a file and the directories above it.
func writeAll(t *testing.T, path, content string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	write(t, path, content)
}

func mkdir(t *testing.T, path string) { t.Helper(); must(t, os.MkdirAll(path, 0o755)) }

func rename(t *testing.T, from, to string) { t.Helper(); must(t, os.Rename(from, to)) }

func symlink(t *testing.T, target, link string) { t.Helper(); must(t, os.Symlink(target, link)) }

// relink points a link elsewhere in one step, as ln -sfn does.
func relink(t *testing.T, target, link string) {
	t.Helper()
	symlink(t, target, link+".new")
	rename(t, link+".new", link)
}
