package gitpush

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// repos are the repositories of a Server: bare ones, in the files format.
type repos struct {
	dir  string
	mu   sync.Mutex
	open map[string]*repo // those that are being pushed to
}

// repo is a repository that is being pushed to.
type repo struct {
	name, path string
	users      int           // pushes in progress
	lock       chan struct{} // capacity 1: held from before Deploy until the branch has moved
}

func (rs *repos) path(name string) string { return filepath.Join(rs.dir, name+".git") }

func (rs *repos) exists(name string) bool {
	info, err := os.Stat(rs.path(name))
	return err == nil && info.IsDir()
}

// enter begins a push.
func (rs *repos) enter(name string) *repo {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.open[name]
	if r == nil {
		r = &repo{name: name, path: rs.path(name), lock: make(chan struct{}, 1)}
		rs.open[name] = r
	}
	r.users++
	return r
}

// leave ends a push. The last one removes what a git that had to be killed has left.
func (rs *repos) leave(r *repo) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.users--; r.users > 0 {
		return nil
	}
	delete(rs.open, r.name)
	return sweepQuarantine(r.path)
}

// create makes a repository, in one step, unless it is there. It uses the
// directory tmp for that.
func (rs *repos) create(name, tmp string) error {
	if rs.exists(name) {
		return nil
	}
	dir, err := os.MkdirTemp(tmp, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "new.git")
	if err := writeEmpty(path); err != nil {
		return err
	}
	if err := os.Rename(path, rs.path(name)); err != nil && !rs.exists(name) {
		return err
	}
	return nil
}

// writeEmpty makes an empty bare repository. This is all that one consists of;
// git init would add what its templates hold.
func writeEmpty(path string) error {
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			return err
		}
	}
	const config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
	if err := os.WriteFile(filepath.Join(path, "config"), []byte(config), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(path, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600)
}

// sweepAll removes from all repositories what a host that was killed has left:
// objects of pushes that were not accepted, and locks that would stay for ever.
func (rs *repos) sweepAll() error {
	entries, err := os.ReadDir(rs.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(rs.dir, e.Name())
		errs = append(errs, sweepQuarantine(path))
		errs = append(errs, removeMatching(filepath.Join(path, "objects", "pack"), func(name string) bool {
			return strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-")
		}))
		errs = append(errs, removeMatching(path, func(name string) bool {
			return strings.HasSuffix(name, ".lock") || name == "gc.pid"
		}))
		errs = append(errs, filepath.WalkDir(filepath.Join(path, "refs"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(path, ".lock") {
				return os.Remove(path) // no branch can be called so
			}
			return ignoreMissing(err)
		}))
	}
	return errors.Join(errs...)
}

// sweepQuarantine removes the directories in which git keeps the objects of
// pushes that are not accepted yet.
func sweepQuarantine(path string) error {
	return removeMatching(filepath.Join(path, "objects"), func(name string) bool {
		return strings.HasPrefix(name, "tmp_objdir-incoming-") || strings.HasPrefix(name, "incoming-")
	})
}

func removeMatching(dir string, match func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	var errs []error
	for _, e := range entries {
		if match(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// refValue returns what a ref stands at, "" if there is none.
func (s *Server) refValue(ctx context.Context, r *repo, ref string) (string, error) {
	out, err := s.output(ctx, nil, nil, "--git-dir="+r.path, "for-each-ref", "--format=%(objectname)", ref)
	return strings.TrimSpace(string(out)), err
}

// setHead makes ref the branch that clones check out.
func (s *Server) setHead(ctx context.Context, r *repo, ref string) error {
	if b, err := os.ReadFile(filepath.Join(r.path, "HEAD")); err == nil && string(b) == "ref: "+ref+"\n" {
		return nil
	}
	_, err := s.output(ctx, nil, nil, "--git-dir="+r.path, "symbolic-ref", "HEAD", ref)
	return err
}

// maxTidy bounds how long a repository is tidied up.
const maxTidy = 10 * time.Minute

// tidy packs a repository if git finds that worth it: at every twentieth push or
// so. What no ref leads to any more goes a day later.
func (s *Server) tidy(r *repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.tidying.Go(func() {
		ctx, cancel := context.WithTimeout(s.tidyCtx, maxTidy)
		defer cancel()
		_, err := s.output(ctx, nil, nil, "--git-dir="+r.path, "gc", "--auto", "--quiet")
		if err != nil && s.tidyCtx.Err() == nil {
			s.log.Warn("a repository could not be tidied up", "function", r.name, "error", err)
		}
	})
}
