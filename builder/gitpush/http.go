package gitpush

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
)

// Limits of requests.
const (
	stall        = time.Minute // of a client that sends or takes nothing
	maxCommands  = 4 << 20     // bytes of a push beside its pack
	maxNegotiate = 16 << 20    // bytes of a request of a fetch
)

// The two services of git. A push talks to the one, clone and fetch to the other.
const (
	receivePack = "git-receive-pack"
	uploadPack  = "git-upload-pack"
)

func (s *Server) routes() {
	s.mux = http.NewServeMux()
	s.handle("GET /{repo}/info/refs", s.infoRefs)
	s.handle("POST /{repo}/git-receive-pack", s.receive)
	s.handle("POST /{repo}/git-upload-pack", s.upload)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		header(w, "text/plain; charset=utf-8")
		http.Error(w, "this is a git remote: git push URL/NAME.git HEAD:main", http.StatusNotFound)
	})
}

// ServeHTTP serves /NAME.git (or /NAME) to git. Who may push is for the caller to
// decide before; strip what comes before the name with [http.StripPrefix]. A
// ResponseWriter that wraps net/http's must have an Unwrap method
// ([http.ResponseController]).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// statusError is an answer other than 200. Git shows its text as "remote: ...".
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func statusf(status int, format string, args ...any) error {
	return &statusError{status, fmt.Sprintf(format, args...)}
}

// handle serves a pattern. An error of h is one from before it began to answer.
func (s *Server) handle(pattern string, h func(w http.ResponseWriter, r *http.Request, name string) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		err := ErrClosed
		if s.begin() {
			defer s.requests.Done()
			name := strings.TrimSuffix(r.PathValue("repo"), ".git")
			if err = manifest.ValidName(name); err != nil {
				err = statusf(http.StatusBadRequest, "%v", err)
			} else {
				err = h(w, r, name)
			}
		}
		var e *statusError
		switch {
		case err == nil:
			return
		case errors.As(err, &e):
		case errors.Is(err, ErrNoGit), errors.Is(err, ErrClosed):
			e = &statusError{http.StatusServiceUnavailable, err.Error()}
		default:
			s.log.Error("a request of git failed", "path", r.URL.Path, "error", err)
			e = &statusError{http.StatusInternalServerError, "the host could not serve this: its log says why"}
		}
		header(w, "text/plain; charset=utf-8")
		http.Error(w, e.text, e.status)
	})
}

// header sets what git's own server does.
func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	h.Set("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
}

// infoRefs says which refs there are.
func (s *Server) infoRefs(w http.ResponseWriter, r *http.Request, name string) error {
	service := r.URL.Query().Get("service")
	path := s.repos.path(name)
	var config, env []string
	switch {
	case service == receivePack:
		if err := s.checkHook(); err != nil {
			return err
		}
		config = s.receiving()
		if !s.repos.exists(name) {
			path = s.path("tmp", "empty.git") // only a push makes a repository
		}
	case service == uploadPack && s.repos.exists(name):
		env = protocol(r)
	case service == uploadPack:
		return statusf(http.StatusNotFound, "nothing was pushed to %s yet", name)
	default:
		return statusf(http.StatusForbidden, "service must be %s or %s: use a git client that speaks smart HTTP (1.6.6 or later)", receivePack, uploadPack)
	}
	ctx, cancel := s.requestContext(r)
	defer cancel(nil)
	out, err := s.output(ctx, config, env, strings.TrimPrefix(service, "git-"), "--stateless-rpc", "--advertise-refs", path)
	if err != nil {
		return err
	}
	header(w, "application/x-"+service+"-advertisement")
	line := "# service=" + service + "\n"
	fmt.Fprintf(w, "%04x%s0000", len(line)+4, line)
	w.Write(out)
	return nil
}

// protocol passes on the version of the protocol that a client asks for.
func protocol(r *http.Request) []string {
	for _, part := range strings.Split(r.Header.Get("Git-Protocol"), ":") {
		if part == "version=1" || part == "version=2" {
			return []string{"GIT_PROTOCOL=" + part}
		}
	}
	return nil
}

// requestContext returns a context that ends with the request, when the Server
// is closed, or after Timeout.
func (s *Server) requestContext(r *http.Request) (context.Context, context.CancelCauseFunc) {
	return s.within(r.Context())
}

// within returns ctx, ended also when the Server is closed or after Timeout.
func (s *Server) within(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, stopTimer := context.WithTimeoutCause(ctx, s.cfg.Timeout, errTooLong(s.cfg.Timeout))
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
		stopTimer()
	}
}

// upload serves clone and fetch.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, name string) error {
	if !s.repos.exists(name) {
		return statusf(http.StatusNotFound, "nothing was pushed to %s yet", name)
	}
	ctx, cancel := s.requestContext(r)
	defer cancel(nil)
	x, err := newExchange(ctx, w, r, uploadPack, maxNegotiate)
	if err != nil {
		return err
	}
	cmd, err := s.git(ctx, nil, protocol(r), "upload-pack", "--stateless-rpc", s.repos.path(name))
	if err != nil {
		return err
	}
	return x.run(cmd, cancel)
}
