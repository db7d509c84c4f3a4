package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// workPrefix begins the names of the directories that builds work in, below
// [os.TempDir].
const workPrefix = "fnhost-build-"

// workDir is the directory that one build works in. It is locked while the build
// goes on. The lock ends with the process, however that ends, so one without a
// lock belongs to nobody.
type workDir struct {
	path string
	lock *os.File // nil on a file system without locks
}

func newWorkDir() (*workDir, error) {
	for range 10 {
		path, err := os.MkdirTemp("", workPrefix)
		if err != nil {
			return nil, fmt.Errorf("builder: %w", err)
		}
		lock, err := lockWork(path)
		switch {
		case err == nil:
			return &workDir{path, lock}, nil
		case errors.Is(err, errTaken): // by a Sweep, before it was locked
		default: // nobody else gets a lock there, either
			return &workDir{path, nil}, nil
		}
	}
	return nil, fmt.Errorf("builder: directories that are made below %s go away at once", os.TempDir())
}

// remove ends the use of the directory.
func (w *workDir) remove() {
	os.RemoveAll(w.path)
	if w.lock != nil {
		w.lock.Close()
	}
}

// errTaken is the error of lockWork for a directory that another one has locked,
// or removed.
var errTaken = errors.New("builder: taken")

// lockWork locks a directory, until the file that it returns is closed.
func lockWork(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errTaken
	}
	if err == nil && !isAt(f, path) {
		err = errTaken
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isAt reports whether f is what lies at path now.
func isAt(f *os.File, path string) bool {
	locked, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(locked, there)
}

// sweepAge is how old a directory must be: between its making and its locking it
// looks as if it belonged to nobody.
const sweepAge = time.Minute

// Sweep removes the directories, below [os.TempDir], that builds of processes
// which were killed have left, and returns how many these were. Those in which
// another process builds stay, as do those of the last minute, and so do those of other users. Hosts call it
// when they start.
func (b *Builder) Sweep() (removed int, err error) {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return 0, fmt.Errorf("builder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		path := filepath.Join(os.TempDir(), e.Name())
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		lock, err := lockWork(path)
		if err != nil {
			continue // in use, or not ours to know
		}
		if err := os.RemoveAll(path); err != nil {
			errs = append(errs, fmt.Errorf("builder: %w", err))
		} else {
			removed++
		}
		lock.Close()
	}
	return removed, errors.Join(errs...)
}
