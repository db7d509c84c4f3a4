package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/time/rate"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/watch"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/host/worker"
)

// ErrClosed is returned by what needs a host that runs, once it has been closed.
var ErrClosed = errors.New("host: closed")

// closedError is ErrClosed for those who invoke, with a code.
type closedError struct{}

func (closedError) Error() string { return ErrClosed.Error() }

func (closedError) Unwrap() []error {
	return []error{ErrClosed, wire.Errorf(wire.Unavailable, "%v", ErrClosed)}
}

// Host runs functions. Make one with [New]. It is its own default namespace, so that it has
// all methods of a [Namespace], and has what all namespaces share. Its methods are safe for
// concurrent use.
type Host struct {
	*defaultNamespace

	token   string   // that was made at this start
	ran     bool     // Run was called; guarded by mu
	closers []func() // in the order of starting
	closing sync.Once
	spaces  *spaces        // nil with a NATS server that runs elsewhere
	running sync.WaitGroup // of Run, until its requests have ended
}

// defaultNamespace is a name for what a host embeds: its Namespace is a method.
type defaultNamespace = Namespace

// shared is what the namespaces of a host have in common.
type shared struct {
	cfg     Config
	logs    *logs.Hub
	bus     *bus.Bus
	builder *builder.Builder // nil without a go command and a cache
	noBuild error            // why
	spawner *worker.Spawner
	walls   *wall.Machine  // what builds walls around workers, nil without
	watcher *watch.Watcher // nil if no folder is watched
	master  masterKeys
	auth    atomic.Pointer[auth.Authority] // nil where nobody is asked who they are
	ids     idSource

	first *Namespace                            // the default one
	live  atomic.Pointer[map[string]*Namespace] // all that serve, by name; a map that is never changed

	exported atomic.Pointer[[]Export] // what namespaces that serve export; a slice that is never changed

	backingUp sync.RWMutex // held while a backup is made; read-held while the master key or the namespaces are changed

	waits    context.Context // of requests that wait for a run
	endWaits context.CancelFunc
	stopped  chan struct{} // closed when Close begins
	servers  servers
	tls      *tls.Config       // of the gateway, nil for plain HTTP
	acme     *autocert.Manager // where its certificates come from; nil for files
	acmeWarn rate.Sometimes
	started  time.Time

	audit    *audit.Log
	refusals refusals // that were told of
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
	all := &shared{cfg: cfg, logs: logs.NewHub(0), started: time.Now(), stopped: make(chan struct{})}
	all.waits, all.endWaits = context.WithCancel(context.Background())
	all.first = newNamespace(all, bus.DefaultAccount)
	all.live.Store(&map[string]*Namespace{bus.DefaultAccount: all.first})
	all.exported.Store(&[]Export{})
	h := &Host{defaultNamespace: all.first}
	if err := h.start(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// start starts the parts of the host, each of which adds to closers.
func (h *Host) start() error {
	if err := h.openTLS(); err != nil {
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
	if err := h.openKeys(); err != nil {
		return err
	}
	storeKey, err := h.openStoreKey()
	if err != nil {
		return err
	}
	listen := bus.Config{URL: h.cfg.NATSURL, Listen: h.cfg.NATS, StoreDir: h.cfg.Dir, StoreKey: storeKey, Durability: h.cfg.Durability, Logger: h.log}
	clients := &natsDoor{h: h}
	if h.cfg.Auth {
		listen.Authenticate = clients.authenticate
	}
	if !isLoopback(h.cfg.NATS) {
		listen.TLS = h.tls
	}
	h.bus, err = bus.Start(listen)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, func() {
		if err := h.bus.Close(); err != nil {
			h.log.Warn("closing NATS: " + err.Error())
		}
	})
	h.conn = h.bus.Conn()
	if err := h.openAudit(); err != nil {
		return err
	}
	if err := h.openWalls(); err != nil {
		return err
	}
	if h.spawner, err = worker.NewSpawner(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.closers = append(h.closers, h.spawner.Close)
	if err := h.openBuilder(); err != nil {
		return err
	}
	if err := h.openPrograms(); err != nil {
		return fmt.Errorf("host: data directory: %w", err)
	}
	if err := h.openAuth(clients); err != nil {
		return err
	}
	h.closers = append(h.closers, h.close)
	if err := h.open(); err != nil {
		return err
	}
	if h.builder != nil {
		h.tasks.Go(h.keepArtifacts)
	}
	if h.cfg.NATSURL == "" {
		if err := h.openSpaces(); err != nil {
			return err
		}
	}
	return nil
}

// openBuilder makes the builder. Without a go command there may be none, or one
// that only has what was built before.
func (h *Host) openBuilder() error {
	if err := h.wallBuilds(); err != nil {
		return fmt.Errorf("host: data directory: %w", err)
	}
	h.builder, h.noBuild = builder.New(h.cfg.Builder)
	err := h.noBuild
	if err == nil {
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

// Close stops the host: no more invocations, then those in progress end or the
// drain limit of Config passes, then workers, then NATS. It returns when all
// that the host has started has ended; calls after the first wait for it, too.
// [Host.Run] returns then, if it runs.
func (h *Host) Close() error {
	h.closing.Do(func() {
		for _, ns := range *h.live.Load() {
			ns.refuse()
		}
		close(h.stopped)
		h.running.Wait()
		for i := len(h.closers) - 1; i >= 0; i-- {
			h.closers[i]()
		}
		h.cancel()
		h.configs.cancel()
		h.endWaits()
	})
	return nil
}

// FreshToken returns the root token, which may do all, if it was made at this
// start, and "" otherwise: it is not kept, only its hash.
func (h *Host) FreshToken() string { return h.token }

// Logs returns the latest output and log records of the functions.
func (h *Host) Logs() *logs.Hub { return h.logs }
