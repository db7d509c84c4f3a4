//go:build !linux

package watch

import (
	"errors"
	"syscall"
)

// A limit is a setting of the system that stops further watches.
type limit struct {
	name  string
	raise string // how to raise it
}

// limitOf returns the limit that err is about, or nil. Without inotify a watch
// is an open file.
func limitOf(err error) *limit {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOSPC) {
		return &limit{"open files", "ulimit -n 10240"}
	}
	return nil
}
