package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse is returned by [New] for a data directory that another host uses.
var ErrInUse = errors.New("data directory is in use by another host")

// lockPatience is how long a directory may stay locked whose host has gone.
const lockPatience = 5 * time.Second

// lockName is the file of a data directory that is locked.
const lockName = "host.lock"

// lockDir makes the data directory and takes it for this process. The lock goes
// with the process, however it ends; if that was killed while it started a worker, the
// worker's process holds the lock until it has become the worker's program.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("host: data directory: %w", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("host: data directory: %w", err)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		owner, gone := lockOwner(path)
		if errors.Is(err, syscall.EWOULDBLOCK) && gone && time.Since(begin) < lockPatience {
			continue
		}
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("host: lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("host: %s: %w%s: stop it, or name another directory", dir, ErrInUse, owner)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

// isLocked reports whether a process has taken a data directory.
func isLocked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// lockOwner says who holds a lock, and whether that process has gone.
func lockOwner(path string) (owner string, gone bool) {
	b, err := os.ReadFile(path)
	text := strings.TrimSpace(string(b))
	if err != nil || text == "" {
		return "", false
	}
	pid, err := strconv.Atoi(text)
	return " (process " + text + ")", err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
