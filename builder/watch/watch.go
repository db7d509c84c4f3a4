package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	defaultDebounce     = 20 * time.Millisecond
	defaultMaxDelay     = 250 * time.Millisecond
	defaultPollInterval = time.Second

	// pollShare is the part of the time, one in pollShare, that polling may take.
	pollShare = 10
)

var (
	// ErrClosed is returned by Add after the Watcher was closed.
	ErrClosed = errors.New("watch: watcher closed")

	// ErrNotDirectory is returned by Add for a path that exists but is not a directory.
	ErrNotDirectory = errors.New("watch: not a directory")
)

// Config configures a Watcher. The zero value is ready to use.
type Config struct {
	// Debounce is how long a tree must have been quiet before its changes are
	// reported. Default: 20ms.
	Debounce time.Duration

	// MaxDelay is the longest time that a change waits for quiet. Default:
	// 250ms, or Debounce if that is longer.
	MaxDelay time.Duration

	// PollInterval is the time between two looks at the directories that
	// cannot be watched, and at the roots of all trees. Default: 1s.
	PollInterval time.Duration

	// Logger receives warnings. Default: slog.Default().
	Logger *slog.Logger

	// Ignore names further files and directories to ignore, beyond those that
	// always are. rel is the path below the tree's root, with slashes. For a
	// path that is gone dir says whether it was watched as a directory. What
	// is below an ignored directory is ignored as well. Ignore must be quick
	// and must not call the Watcher: no events are handled meanwhile.
	Ignore func(rel string, dir bool) bool
}

// withDefaults returns cfg with its zero fields filled in.
func (cfg Config) withDefaults() Config {
	if cfg.Debounce <= 0 {
		cfg.Debounce = defaultDebounce
	}
	if cfg.MaxDelay <= 0 {
		cfg.MaxDelay = max(defaultMaxDelay, cfg.Debounce)
	}
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = defaultPollInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}

// A Watcher watches any number of directory trees. Create it with New.
type Watcher struct {
	cfg Config
	fs  *notifier

	done     chan struct{}
	overflow chan struct{} // has room for one: several overflows need one rescan
	running  sync.WaitGroup

	mu     sync.Mutex // guards everything below, and the trees' fields
	closed bool
	warned bool // the one warning about a limit was logged
	trees  map[*Tree]struct{}
	dirty  map[*Tree]struct{} // trees that settle must sync
	nodes  map[string]*node   // by real path
	byID   map[fileID]*node   // nodes watched by the kernel
	polled map[*node]struct{}
}

// A notifier is the part of fsnotify.Watcher that is used here. Its fields are
// functions so that tests can make single calls fail.
type notifier struct {
	events <-chan fsnotify.Event
	errors <-chan error
	add    func(path string) error
	remove func(path string) error
	close  func() error
}

// openNotifier opens an inotify instance or its equivalent.
func openNotifier() (*notifier, error) {
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{
		events: fsw.Events,
		errors: fsw.Errors,
		add:    fsw.Add,
		remove: fsw.Remove,
		close:  fsw.Close,
	}, nil
}

// deafNotifier stands in for a notifier that could not be opened for the
// reason err: every directory it is asked to watch ends up polled.
func deafNotifier(err error) *notifier {
	return &notifier{
		add:    func(string) error { return err },
		remove: func(string) error { return nil },
		close:  func() error { return nil },
	}
}

// New starts a Watcher. When the system allows no further inotify instance the
// Watcher works by polling alone and New logs a warning; other errors of
// opening one are returned. The caller must Close the Watcher.
func New(cfg Config) (*Watcher, error) {
	return start(cfg, openNotifier)
}

// start is New with a seam for tests.
func start(cfg Config, open func() (*notifier, error)) (*Watcher, error) {
	w := &Watcher{
		cfg:      cfg.withDefaults(),
		done:     make(chan struct{}),
		overflow: make(chan struct{}, 1),
		trees:    make(map[*Tree]struct{}),
		dirty:    make(map[*Tree]struct{}),
		nodes:    make(map[string]*node),
		byID:     make(map[fileID]*node),
		polled:   make(map[*node]struct{}),
	}
	fs, err := open()
	if err != nil {
		limit := limitOf(err)
		if limit == nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		w.warnLimit(limit, err, "")
		fs = deafNotifier(err)
	}
	w.fs = fs
	w.running.Go(w.loop)
	w.running.Go(w.drainErrors)
	return w, nil
}

// Close stops watching all trees and waits for running onChange calls; after
// it none is made. Close must not be called from onChange. Closing twice is
// harmless.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		w.running.Wait()
		return nil
	}
	w.closed = true
	trees := w.trees
	w.trees = nil
	w.mu.Unlock()

	close(w.done)
	err := w.fs.close()
	w.running.Wait()
	for t := range trees {
		t.debounce.close()
	}
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// loop handles events until the Watcher is closed.
func (w *Watcher) loop() {
	timer := time.NewTimer(w.cfg.PollInterval)
	defer timer.Stop()
	events := w.fs.events
	for {
		select {
		case <-w.done:
			return
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			w.locked(func() { w.handle(event.Name, event.Op) })
		case <-w.overflow:
			w.locked(w.markAll)
		case <-timer.C:
			began := time.Now()
			w.locked(w.poll)
			timer.Reset(max(w.cfg.PollInterval, (pollShare-1)*time.Since(began)))
		}
	}
}

// locked runs f and what follows from it with the Watcher locked, unless the
// Watcher is closed.
func (w *Watcher) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	f()
	w.settle()
}

// drainErrors reads the notifier's errors. It is a goroutine of its own, one
// that never takes the Watcher's lock, because fsnotify can send an error while
// it holds the lock that adding a watch needs: a loop that reads errors and
// adds watches would wait for itself.
func (w *Watcher) drainErrors() {
	errs := w.fs.errors
	for {
		select {
		case <-w.done:
			return
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			w.fail(err)
		}
	}
}

// fail handles an error that the notifier reported.
func (w *Watcher) fail(err error) {
	if errors.Is(err, syscall.EINVAL) {
		return // fsnotify wanted to end the watch of a directory that was moved, and is gone
	}
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		w.cfg.Logger.Warn("watch: file system notification", "error", err)
		return
	}
	w.cfg.Logger.Debug("watch: event queue overflowed, rescanning")
	select {
	case w.overflow <- struct{}{}:
	default:
	}
}

// markAll makes settle sync every tree.
func (w *Watcher) markAll() {
	for t := range w.trees {
		w.dirty[t] = struct{}{}
	}
}

// warnLimit logs, once, that a limit was reached at dir, if dir is not empty.
func (w *Watcher) warnLimit(limit *limit, err error, dir string) {
	if w.warned {
		return
	}
	w.warned = true
	scope := "directories beyond the limit are polled, the others are watched as before"
	if dir == "" {
		scope = "all directories are polled"
	}
	attrs := []any{"limit", limit.name, "effect", scope, "every", w.cfg.PollInterval, "raise", limit.raise, "error", err}
	if dir != "" {
		attrs = append(attrs, "dir", dir)
	}
	w.cfg.Logger.Warn("watch: limit of file system watches reached, falling back to polling", attrs...)
}
