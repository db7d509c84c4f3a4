package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/admin"
)

// servers are the listeners of a host that runs.
type servers struct {
	mu          sync.Mutex
	http, admin net.Listener
	challenges  net.Listener // of proofs that a domain is ours; nil without ACME over HTTP
}

// Timeouts and limits of both listeners.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second // of a body that is not streamed
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// errRunning is the error of a second Run.
var errRunning = errors.New("host: it runs already: Run can be called once")

// Run opens the listeners of Config and serves until ctx ends, [Host.Close] is
// called, or a listener fails. It then stops the host as Close does, and returns
// when all that the host has started has ended: nil, unless a listener was the
// reason. It can be called once: it returns an error at once while another Run goes
// on, and [ErrClosed] for a host that is closed.
func (h *Host) Run(ctx context.Context) error {
	if err := h.beginRun(); err != nil {
		return err
	}
	err := h.Listen()
	if err == nil {
		err = h.serve(ctx)
	}
	h.running.Done()
	if errors.Is(err, ErrClosed) {
		err = nil // closed while it began
	}
	return errors.Join(err, h.Close())
}

// beginRun reports why the host cannot run. If it can, Close waits from now on
// until h.running is done.
func (h *Host) beginRun() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return ErrClosed
	case h.ran:
		return errRunning
	}
	h.ran = true
	h.running.Add(1)
	return nil
}

// Listen opens the listeners of Config, so that [Host.Info] tells their
// addresses before [Host.Run] serves them. It returns an error for an address
// that is taken, and [ErrClosed].
func (h *Host) Listen() error {
	if h.isClosed() {
		return ErrClosed
	}
	s := &h.servers
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range []struct {
		address string
		what    string
		to      *net.Listener
	}{{h.cfg.HTTP, "gateway", &s.http}, {h.cfg.Admin, "management API", &s.admin}, {h.cfg.ACME.HTTP, "proofs of ACME", &s.challenges}} {
		if l.address == "" || *l.to != nil {
			continue
		}
		listener, err := net.Listen("tcp", l.address)
		if err != nil {
			return fmt.Errorf("host: %s: %w: stop what uses the port, or choose another one", l.what, err)
		}
		if !h.onClose(func() { listener.Close() }) {
			listener.Close()
			return ErrClosed
		}
		*l.to = listener
	}
	return nil
}

// onClose adds to what Close does first, unless that has begun.
func (h *Host) onClose(fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closers = append(h.closers, fn)
	}
	return !h.closed
}

func (h *Host) serve(ctx context.Context) error {
	gateway := h.server(h.Gateway(), h.tls != nil)
	gateway.RegisterOnShutdown(h.endWaits) // else who waits for a run would hold up the end
	o := admin.Options{Auth: h.authority(), Audit: h.auditRequest, TrustedProxies: h.cfg.TrustedProxies, Logger: h.log}
	if o.Auth != nil {
		o.Door = adminDoor{h}
	}
	if h.cfg.GitPush {
		o.Git = http.HandlerFunc(h.serveGit)
	}
	api := admin.NewServer(hostBackend{backend{invoker{h.first}, h}}, o)
	management := h.server(api, h.adminTLS())
	management.RegisterOnShutdown(api.Close)
	ended := make(chan error, 3)
	var running []*http.Server
	start := func(srv *http.Server, l net.Listener) {
		if l == nil {
			return
		}
		running = append(running, srv)
		go func() {
			var err error
			if srv.TLSConfig != nil {
				err = srv.ServeTLS(l, "", "")
			} else {
				err = srv.Serve(l)
			}
			ended <- err
		}()
	}
	start(gateway, h.servers.http)
	start(management, h.servers.admin)
	if h.servers.challenges != nil {
		start(h.challenges(), h.servers.challenges)
	}
	var err error
	select {
	case <-ctx.Done():
	case <-h.stopped:
	case err = <-ended:
		err = fmt.Errorf("host: %w", err)
	}
	return errors.Join(err, h.shutDown(running))
}

// shutDown ends servers: no new connections, then the requests in progress end,
// or the drain limit passes.
func (h *Host) shutDown(list []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Drain)
	defer cancel()
	var wg sync.WaitGroup
	for _, ns := range *h.live.Load() {
		if ns.git == nil {
			continue
		}
		wg.Go(func() {
			if err := ns.git.Shutdown(ctx); err != nil {
				ns.log.Warn("some git pushes did not end within the drain limit", "limit", h.cfg.Drain)
			}
		})
	}
	for _, srv := range list {
		wg.Go(func() {
			if err := srv.Shutdown(ctx); err != nil {
				h.log.Warn("some requests did not end within the drain limit", "limit", h.cfg.Drain)
				srv.Close()
			}
		})
	}
	wg.Wait()
	return nil
}

func (h *Host) server(handler http.Handler, secure bool) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler: handler, Protocols: protocols,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug), // what clients do to their connections
	}
	if secure {
		protocols.SetHTTP2(true)
		srv.TLSConfig = h.tls.Clone()
		srv.Handler = secured(handler)
	}
	return srv
}

// adminTLS reports whether the management API is served with TLS: on an address of
// this machine alone, commands need no certificate to trust.
func (h *shared) adminTLS() bool { return h.tls != nil && !isLoopback(h.cfg.Admin) }

func scheme(secure bool) string {
	if secure {
		return "https://"
	}
	return "http://"
}

// Version is that of fnhost.
const Version = "0.1.0"

// Info says where the host listens, once it does.
func (h *Namespace) Info() admin.Info {
	h.servers.mu.Lock()
	defer h.servers.mu.Unlock()
	info := admin.Info{Version: Version, Go: runtime.Version(), PID: os.Getpid(), Started: h.started, Dir: h.cfg.Dir, Watch: h.cfg.Watch}
	if l := h.servers.http; l != nil {
		info.HTTP = scheme(h.tls != nil) + l.Addr().String()
	}
	if l := h.servers.admin; l != nil {
		info.Admin = scheme(h.adminTLS()) + l.Addr().String()
	}
	if addr := h.bus.Addr(); addr != "" {
		info.NATS = "nats://" + addr
	}
	return info
}
