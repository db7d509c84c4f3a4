package gitpush

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config says how a Server works. Dir and Deploy are required.
type Config struct {
	// Dir holds the repositories and what pushes need while they run. It is made
	// if need be, with mode 0700, and belongs to one Server at a time.
	Dir string
	// Deploy is called once for each push of main or master, while the pusher
	// waits, and never twice at once for one repository. Its error rejects the
	// push and its text is shown to the pusher; the branch then stays where it
	// is and no object of the push is kept. It must return soon after its
	// context has ended, whose [context.Cause] is [ErrClosed], or says that the
	// push took longer than Timeout. The context carries the values of the
	// request's, and does not end when the pusher goes away.
	Deploy func(ctx context.Context, p Push) error
	// User names who sent a request, for [Push.User]. Default: nobody is named.
	User func(*http.Request) string

	// Dial makes the connections of a [Server.Fetch] by http and https, and Lookup finds
	// the addresses of a host for one by ssh: their errors end it. Default: git connects
	// to whatever it is told.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// MaxPush bounds the pack of one push, in bytes. Default: 256 MiB.
	MaxPush int64
	// MaxFiles bounds the number of files and links of a pushed tree. Default: 20,000.
	MaxFiles int
	// MaxFile bounds each file of a pushed tree, in bytes. Default: 64 MiB.
	MaxFile int64
	// MaxTree bounds all files of a pushed tree together, in bytes. Default: 512 MiB.
	MaxTree int64
	// Timeout bounds a push from its first byte to the end of Deploy, the wait for
	// another push to the same repository included. Default: 15 minutes.
	Timeout time.Duration
	// Logger gets what happens to pushes. Default: [slog.Default].
	Logger *slog.Logger
}

// Push is what Deploy is told of a push.
type Push struct {
	Repo    string    // "hello" of /hello.git, a valid name of a function
	Ref     string    // "refs/heads/main" or "refs/heads/master"
	Old     string    // the commit that Ref stood at, "" if Ref is new
	Commit  string    // the commit that Ref will stand at, in hexadecimal
	Author  string    // "Ada <ada@example.com>", as the commit claims
	Subject string    // the first line of the commit's message
	Time    time.Time // of the commit, as it claims
	Options []string  // git push -o OPTION, in their order
	User    string    // what Config.User says

	// Dir is the pushed tree. It holds nothing but that, no .git either, and is
	// removed when Deploy has returned.
	Dir string
	// Output shows lines to the pusher at once ("remote: ..."). It can be used by
	// several goroutines until Deploy returns. Writing never fails: what cannot be
	// shown, because the pusher has gone away, is dropped.
	Output io.Writer
}

// Server is a git remote as an [http.Handler]. It is safe for concurrent use.
type Server struct {
	cfg   Config
	log   *slog.Logger
	mux   *http.ServeMux
	repos repos

	ctx    context.Context // of everything; ends when Close is called
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup

	tidyCtx  context.Context // of what is done after pushes
	stopTidy context.CancelFunc
	tidying  sync.WaitGroup
}

// New returns a Server for the repositories in cfg.Dir, and removes what an
// earlier one that was killed has left there. It needs no git yet: without it,
// requests are answered with [ErrNoGit].
func New(cfg Config) (*Server, error) {
	if cfg.Deploy == nil {
		return nil, errors.New("gitpush: Config.Deploy is missing")
	}
	if cfg.Dir == "" {
		return nil, errors.New("gitpush: Config.Dir is missing")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("gitpush: %w", err)
	}
	cfg.Dir = dir
	cfg.setDefaults()
	s := &Server{cfg: cfg, log: cfg.Logger, repos: repos{open: make(map[string]*repo)}}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("gitpush: %w", err)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.tidyCtx, s.stopTidy = context.WithCancel(context.Background())
	s.routes()
	return s, nil
}

func (cfg *Config) setDefaults() {
	setDefault(&cfg.MaxPush, 256<<20)
	setDefault(&cfg.MaxFiles, 20_000)
	setDefault(&cfg.MaxFile, 64<<20)
	setDefault(&cfg.MaxTree, 512<<20)
	setDefault(&cfg.Timeout, 15*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
}

func setDefault[T int | int64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// path returns the path of something in the Server's directory.
func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elem...)...)
}

// prepare lays out the directory: repos/ stays, the rest is made anew.
func (s *Server) prepare() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(s.cfg.Dir) // git names its directories so
	if err != nil {
		return err
	}
	s.cfg.Dir, s.repos.dir = dir, filepath.Join(dir, "repos")
	for _, name := range []string{"home", "hooks", "run", "tmp"} {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"repos", "home", "hooks", "run", "tmp"} {
		if err := os.MkdirAll(s.path(name), 0o700); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := writeEmpty(s.path("tmp", "empty.git")); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(program, s.hook()); err != nil {
		return err
	}
	return s.repos.sweepAll()
}

func (s *Server) hook() string { return s.path("hooks", hookName) }

// begin counts a request in. It reports false once the Server is closed.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.requests.Add(1)
	}
	return !s.closed
}

// refuseNew answers all further requests with ErrClosed.
func (s *Server) refuseNew() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stopTidy()
}

// Shutdown refuses new requests and waits for those in progress. If ctx ends
// first, it stops them as [Server.Close] does and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.refuseNew()
	done := make(chan struct{})
	go func() {
		s.requests.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	<-done
	return err
}

// Close ends the contexts of running Deploys, waits until they have returned,
// stops git, and returns when nothing of the Server runs any more. Pushes that
// it stops are rejected, and leave nothing behind.
func (s *Server) Close() {
	s.refuseNew()
	s.cancel(ErrClosed)
	s.requests.Wait()
	s.tidying.Wait()
}
