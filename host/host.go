package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/gitpush"
	"github.com/fnhost/fnhost/builder/watch"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/runs"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger/event"
	"github.com/fnhost/fnhost/trigger/gateway"
	"github.com/fnhost/fnhost/trigger/kvwatch"
	"github.com/fnhost/fnhost/trigger/rpc"
)

// ErrClosed is returned by what needs a host that runs, once it has been closed.
var ErrClosed = errors.New("host: closed")

// closedError is ErrClosed for those who invoke, with a code.
type closedError struct{}

func (closedError) Error() string { return ErrClosed.Error() }

func (closedError) Unwrap() []error {
	return []error{ErrClosed, wire.Errorf(wire.Unavailable, "%v", ErrClosed)}
}

// Host runs functions. Make one with [New]. Its methods are safe for concurrent
// use.
type Host struct {
	cfg        Config
	log        *slog.Logger
	logs       *logs.Hub
	bus        *bus.Bus
	builder    *builder.Builder // nil without a go command and a cache
	noBuild    error            // why
	spawner    *worker.Spawner
	walls      *wall.Machine // what builds walls around workers, nil without
	gateway    *gateway.Gateway
	rpc        *rpc.Trigger
	events     *event.Trigger
	runStore   *runs.Store
	buckets    *buckets
	keeper     keeper
	ids        idSource
	sources    []*watched
	registry   *registry.Registry // nil if NATS has no JetStream
	noRegistry error              // why
	verify     atomic.Bool        // programs that are loaded are looked at in full
	watcher    *watch.Watcher     // nil if no folder is watched

	index atomic.Pointer[map[string]*function] // a copy of functions that is never changed

	mu        sync.Mutex // guards what follows, and orders the updates of triggers
	functions map[string]*function
	outside   map[string]bool // directories watched beside the folders
	conflicts []conflict
	closed    bool
	ran       bool // Run was called

	configs *configs

	runs deployRuns
	git  *gitpush.Server // nil without Config.GitPush

	backingUp sync.RWMutex // held while a backup is made; read-held while the master key is changed

	deploying sync.Mutex         // guards deploys
	deploys   map[string]*deploy // the latest of each function, while it goes on

	discovering sync.Mutex             // held by discover, guards what follows
	strays      map[builder.Stray]bool // of which there is nothing more to say

	ctx      context.Context // of builds and of what goes on in the background
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	waits    context.Context // of requests that wait for a run
	endWaits context.CancelFunc
	check    func(*http.Request) error // of requests to the management API; nil lets all in
	token    string                    // that was made at this start
	closers  []func()                  // in the order of starting
	closing  sync.Once
	stopped  chan struct{}  // closed when Close begins
	running  sync.WaitGroup // of Run, until its requests have ended
	servers  servers
	cert     *tls.Certificate // of the gateway, nil for plain HTTP
	started  time.Time
}

// New starts a host: its NATS server, and the building of the functions in the
// watched folders, which goes on in the background. [Host.Invoke] and
// [Host.Gateway] work from then on; the listeners of Config open with [Host.Run].
//
// It returns [ErrInUse] if another host uses the data directory, and errors for
// a bad Config, a certificate that cannot be used, an address that is taken, a
// NATS server that cannot be reached, or a folder that is not there. A host
// without a go command on PATH starts, with a warning: it can run in-process and
// deployed functions, and watched ones that were built before as they are, with
// the same Config.Builder.Cache.
func New(cfg Config) (*Host, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, log: cfg.Logger, logs: logs.NewHub(0), started: time.Now(), functions: make(map[string]*function), stopped: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.waits, h.endWaits = context.WithCancel(h.ctx)
	h.configs = newConfigs(h)
	h.reindex()
	if err := h.start(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// start starts the parts of the host, each of which adds to closers.
func (h *Host) start() error {
	if err := h.loadCert(); err != nil {
		return err
	}
	lock, err := lockDir(h.cfg.Dir)
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() { lock.Close() })
	run := filepath.Join(h.cfg.Dir, "run")
	os.RemoveAll(run) // what workers of a host that was killed have left
	if err := os.MkdirAll(run, 0o700); err != nil {
		return fmt.Errorf("host: data directory: %w", err)
	}
	if h.cfg.AdminToken {
		t, fresh, err := auth.Open(h.cfg.Dir)
		if err != nil {
			return fmt.Errorf("host: %w", err)
		}
		h.check, h.token = t.Check, fresh
	}
	if err := h.openKeys(); err != nil {
		return err
	}
	storeKey, err := h.openStoreKey()
	if err != nil {
		return err
	}
	h.bus, err = bus.Start(bus.Config{
		URL: h.cfg.NATSURL, Listen: h.cfg.NATS, StoreDir: h.cfg.Dir, StoreKey: storeKey, Durability: h.cfg.Durability, Logger: h.log,
	})
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, func() {
		if err := h.bus.Close(); err != nil {
			h.log.Warn("closing NATS: " + err.Error())
		}
	})
	if err := h.openBuckets(); err != nil {
		return err
	}
	if err := h.openSecrets(); err != nil {
		return err
	}
	if err := h.openWalls(); err != nil {
		return err
	}
	if h.spawner, err = worker.NewSpawner(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, h.spawner.Close, h.stopFunctions)
	h.gateway = gateway.New(gateway.Config{Invoker: invoker{h}, Publisher: publisher{h}, Index: h.cfg.Index, Async: async{h}, Logger: h.log})
	if h.rpc, err = rpc.New(rpc.Config{Conn: h.bus.Conn(), Invoker: invoker{h}, Logger: h.log}); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, h.rpc.Close)
	if err := h.openRuns(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if h.events, err = event.New(event.Config{Conn: h.bus.Conn(), Invoker: invoker{h}, Logger: h.log, Report: h.triggerReport,
		Runs: h.runStore, State: effectState{h}, Sources: kvwatch.Sources}); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Drain)
		defer cancel()
		h.events.Close(ctx)
	})
	if err := h.openBuilder(); err != nil {
		return err
	}
	if err := h.watchFolders(); err != nil { // first: what is watched keeps its names
		return err
	}
	if err := h.followRegistry(); err != nil {
		return err
	}
	if h.registry != nil { // else there may be functions of which nothing is known
		h.events.ForgetSchedules(h.knows, h.cfg.NATSURL == "")
	}
	if h.cfg.GitPush {
		return h.openGit()
	}
	return nil
}

// openBuilder makes the builder. Without a go command there may be none, or one
// that only has what was built before.
func (h *Host) openBuilder() error {
	h.builder, h.noBuild = builder.New(h.cfg.Builder)
	err := h.noBuild
	if err == nil {
		h.tasks.Go(h.keepArtifacts)
		err = h.builder.CanCompile()
	}
	if err != nil && !errors.Is(err, builder.ErrNoGo) {
		return fmt.Errorf("host: %w", err)
	}
	if err != nil {
		h.log.Warn(err.Error())
	}
	return nil
}

// reindex lets invocations see the functions as they are now. h.mu is held, but
// by New.
func (h *Host) reindex() {
	index := maps.Clone(h.functions)
	h.index.Store(&index)
}

// stopFunctions ends all builds, and then all workers.
func (h *Host) stopFunctions() {
	h.cancel()
	h.mu.Lock()
	list := make([]*function, 0, len(h.functions))
	for _, f := range h.functions {
		list = append(list, f)
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Drain)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range list {
		wg.Go(func() { f.stop(ctx) })
	}
	wg.Wait()
	h.configs.cancel()
	h.tasks.Wait()
}

// Close stops the host: no more invocations, then those in progress end or the
// drain limit of Config passes, then workers, then NATS. It returns when all
// that the host has started has ended; calls after the first wait for it, too.
// [Host.Run] returns then, if it runs.
func (h *Host) Close() error {
	h.closing.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		close(h.stopped)
		h.running.Wait()
		for i := len(h.closers) - 1; i >= 0; i-- {
			h.closers[i]()
		}
		h.cancel()
		h.configs.cancel()
	})
	return nil
}

// Gateway returns the HTTP handler of the functions, at paths /function[/…], to
// mount in a server of your own. [Host.Run] serves it at Config.HTTP.
func (h *Host) Gateway() http.Handler { return h.gateway }

// Conn returns the host's connection to NATS. It is closed with the host.
func (h *Host) Conn() *nats.Conn { return h.bus.Conn() }

// FreshToken returns the token of the management API if it was made at this
// start, and "" otherwise: it is not kept, only its hash.
func (h *Host) FreshToken() string { return h.token }

// Logs returns the latest output and log records of the functions.
func (h *Host) Logs() *logs.Hub { return h.logs }

// triggerReport adds to the log of a function that its trigger does not work, or
// does so again.
func (h *Host) triggerReport(function, subject string, err error) {
	if err != nil {
		level := slog.LevelError
		switch {
		case errors.Is(err, event.ErrNoBucket):
			level = slog.LevelInfo // the first use of the bucket makes it
		case errors.Is(err, event.ErrNoStream):
			level = slog.LevelWarn // it may yet be made
		}
		h.note(level, function, "", "events on %s: %v", subject, err)
		return
	}
	h.note(slog.LevelInfo, function, "", "events on %s arrive again", subject)
}

// emit tells who wants to know of an event. Without such, failures are logged.
func (h *Host) emit(e Event) {
	switch {
	case h.cfg.OnEvent != nil:
		h.cfg.OnEvent(e)
	case e.Function != "" && e.State == Failed:
		h.log.Error("the latest source does not serve: "+shortReason(e.Err, ""), logs.KeyFunction, e.Function, logs.KeyVersion, e.Version)
	case e.State == Failed:
		h.log.Error(shortReason(e.Err, ""), "dir", e.Dir)
	}
}
