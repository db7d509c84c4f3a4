package gitpush

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// push is one push while it runs.
type push struct {
	s      *Server
	repo   *repo
	ctx    context.Context
	user   string
	secret string

	hooked atomic.Bool // the hook has come: git ends when it is answered
	locked bool        // this push holds repo.lock
	update *update     // what was deployed, once Deploy has succeeded
	err    error       // why the hook has rejected the push
	begun  time.Time
}

// receive serves a push.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, name string) error {
	// A pusher who has gone away does not stop what was begun.
	ctx, cancel := s.within(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	x, err := newExchange(ctx, w, r, receivePack, s.cfg.MaxPush+maxCommands)
	if err != nil {
		return err
	}
	if err := s.checkHook(); err != nil {
		return err
	}
	if err := s.repos.create(name, s.path("tmp")); err != nil {
		return err
	}
	p := &push{s: s, repo: s.repos.enter(name), ctx: ctx, secret: rand.Text(), begun: time.Now()}
	if s.cfg.User != nil {
		p.user = s.cfg.User(r)
	}
	err = p.run(x, cancel)
	if err := s.repos.leave(p.repo); err != nil {
		s.log.Warn("objects of a rejected push could not be removed", "function", name, "error", err)
	}
	return err
}

// checkHook returns an error if the program is gone that git is to ask about a
// push: git would do without.
func (s *Server) checkHook() error {
	if _, err := os.Stat(s.hook()); err != nil {
		s.log.Error("pushes are refused, because the program that git asks about them is gone", "error", err)
		return statusf(http.StatusServiceUnavailable, "the host's program was removed while it runs: start the host again, then push")
	}
	return nil
}

// run runs git receive-pack, and answers its hook.
func (p *push) run(x *exchange, cancel context.CancelCauseFunc) error {
	listener, err := p.s.listen()
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(listener.Addr().String()))
	env := []string{socketVar + "=" + listener.Addr().String(), secretVar + "=" + p.secret}
	cmd, err := p.s.git(p.ctx, p.s.receiving(), env, "receive-pack", "--stateless-rpc", p.repo.path)
	if err != nil {
		listener.Close()
		return err
	}
	var hook sync.WaitGroup
	hook.Go(func() { p.serveHook(listener) })
	x.leave = p.hooked.Load
	err = x.run(cmd, cancel)
	listener.Close()
	hook.Wait()
	p.settle(x, err)
	if p.locked {
		<-p.repo.lock
	}
	return err
}

// maxSocketPath is what all systems can bind, in bytes.
const maxSocketPath = 100

// listen returns a socket of this push alone, in a directory of its own.
func (s *Server) listen() (*net.UnixListener, error) {
	dir, err := os.MkdirTemp(s.path("run"), "")
	if err == nil && len(dir) > maxSocketPath-len("/hook") {
		os.Remove(dir)
		dir, err = os.MkdirTemp("", "fnhost-push-")
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "hook")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("gitpush: socket of the hook: %w", err)
	}
	return listener, nil
}

// logFailure logs why nothing was deployed, unless it was not to be, or git has
// told the pusher what is wrong.
func (p *push) logFailure(x *exchange, err error, log *slog.Logger) {
	var said *rejection
	switch {
	case err != nil: // the caller logs it
	case errors.As(p.err, &said):
		log.Info("push rejected", "error", p.err)
	case p.err != nil:
		log.Error("push failed", "error", p.err)
	case x.err != nil:
		log.Info("push broke off", "error", gitError(p.ctx, "receive-pack", x.err, &x.stderr))
	}
}

// settle looks at what has become of a push after git has ended.
func (p *push) settle(x *exchange, err error) {
	log := p.s.log.With("function", p.repo.name, "took", time.Since(p.begun).Round(time.Millisecond))
	if p.user != "" {
		log = log.With("user", p.user)
	}
	if p.update == nil {
		p.logFailure(x, err, log)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), grace)
	defer cancel()
	value, err := p.s.refValue(ctx, p.repo, p.update.ref)
	if err == nil && value == p.update.new {
		err = p.s.setHead(ctx, p.repo, p.update.ref)
	} else if err == nil {
		err = fmt.Errorf("%s stands at %q: %s", p.update.ref, value, strings.TrimSpace(x.stderr.String()))
	}
	if err != nil {
		log.Error("what was pushed is deployed, but its branch did not follow: push again", "commit", p.update.new, "error", err)
		return
	}
	log.Info("push deployed", "commit", p.update.new)
	p.s.tidy(p.repo)
}
