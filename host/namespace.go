package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/gitpush"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/host/runs"
	"github.com/fnhost/fnhost/trigger/event"
	"github.com/fnhost/fnhost/trigger/gateway"
	"github.com/fnhost/fnhost/trigger/kvwatch"
	"github.com/fnhost/fnhost/trigger/rpc"
)

// Namespace is an isolated set of functions, with all that is theirs: subjects, streams,
// buckets, configuration, secrets and runs. It is one account of the NATS server. Its
// methods are safe for concurrent use.
type Namespace struct {
	*shared
	name   string
	log    *slog.Logger
	conn   *nats.Conn // of its account
	limits atomic.Pointer[limits]

	gateway    *gateway.Gateway
	rpc        *rpc.Trigger
	events     *event.Trigger
	runStore   *runs.Store
	buckets    *buckets
	keeper     keeper
	configs    *configs
	sources    []*watched
	registry   *registry.Registry // nil if NATS has no JetStream
	noRegistry error              // why
	verify     atomic.Bool        // programs that are loaded are looked at in full

	index atomic.Pointer[map[string]*function] // a copy of functions that is never changed

	mu        sync.Mutex // guards what follows, and orders the updates of triggers
	functions map[string]*function
	outside   map[string]bool // directories watched beside the folders
	conflicts []conflict
	closed    bool

	runs deployRuns
	git  *gitpush.Server // nil without Config.GitPush

	deploying sync.Mutex         // guards deploys
	deploys   map[string]*deploy // the latest of each function, while it goes on

	discovering sync.Mutex             // held by discover, guards what follows
	strays      map[builder.Stray]bool // of which there is nothing more to say

	ctx     context.Context // of builds and of what goes on in the background
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	closers []func() // in the order of starting
}

// newNamespace returns one that has not started yet.
func newNamespace(all *shared, name string) *Namespace {
	h := &Namespace{shared: all, name: name, log: all.cfg.Logger, functions: make(map[string]*function)}
	if name != bus.DefaultAccount {
		h.log = h.log.With(logs.KeyNamespace, name)
	}
	h.setLimits(Limits{})
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.configs = newConfigs(h)
	h.reindex()
	return h
}

// Name returns the name of the namespace: "default" for that of the host itself.
func (h *Namespace) Name() string { return h.name }

// Conn returns the connection to NATS of the namespace. It is closed with the host.
func (h *Namespace) Conn() *nats.Conn { return h.conn }

// mount is what the paths of its functions begin with at the gateway.
func (h *Namespace) mount() string {
	if h == h.first {
		return ""
	}
	return "/@" + h.name
}

// open starts the parts of the namespace, each of which adds to closers.
func (h *Namespace) open() (err error) {
	if err := h.openBuckets(); err != nil {
		return err
	}
	if err := h.openSecrets(); err != nil {
		return err
	}
	h.closers = append(h.closers, h.stopFunctions)
	gate := gateway.Config{Invoker: invoker{h}, Publisher: publisher{h}, Index: h.cfg.Index, Async: async{h}, Logger: h.log}
	if h.authority() != nil {
		gate.Door = door{h}
	}
	h.gateway = gateway.New(gate)
	calls := rpc.Config{Conn: h.conn, Invoker: invoker{h}, Logger: h.log}
	if h.authority() != nil {
		calls.Identify = door{h}.identifyToken
	}
	if h.rpc, err = rpc.New(calls); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, h.rpc.Close)
	if err := h.openRuns(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if h.events, err = event.New(event.Config{Conn: h.conn, Invoker: invoker{h}, Logger: h.log, Report: h.triggerReport,
		Runs: h.runStore, State: effectState{h}, Sources: kvwatch.Sources}); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Drain)
		defer cancel()
		h.events.Close(ctx)
	})
	if h == h.first {
		if err := h.watchFolders(); err != nil { // first: what is watched keeps its names
			return err
		}
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

// refuse has nothing begin any more.
func (h *Namespace) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}

// close ends what open has started, and returns when all of it has ended.
func (h *Namespace) close() {
	h.refuse()
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.cancel()
	h.configs.cancel()
}

// reindex lets invocations see the functions as they are now. h.mu is held, but
// by New.
func (h *Namespace) reindex() {
	index := maps.Clone(h.functions)
	h.index.Store(&index)
}

// stopFunctions ends all builds, and then all workers.
func (h *Namespace) stopFunctions() {
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

// triggerReport adds to the log of a function that its trigger does not work, or
// does so again.
func (h *Namespace) triggerReport(function, subject string, err error) {
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

// addLog adds a record to the log of the namespace.
func (h *Namespace) addLog(r logs.Record) {
	r.Namespace = h.name
	h.logs.Add(r)
}

// emit tells who wants to know of an event. Without such, failures are logged.
func (h *Namespace) emit(e Event) {
	e.Namespace = h.name
	switch {
	case h.cfg.OnEvent != nil:
		h.cfg.OnEvent(e)
	case e.Function != "" && e.State == Failed:
		h.log.Error("the latest source does not serve: "+shortReason(e.Err, ""), logs.KeyFunction, e.Function, logs.KeyVersion, e.Version)
	case e.State == Failed:
		h.log.Error(shortReason(e.Err, ""), "dir", e.Dir)
	}
}
