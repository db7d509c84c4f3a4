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

// limitOf returns the limit that err is about, or nil.
func limitOf(err error) *limit {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return &limit{"fs.inotify.max_user_watches", "sysctl fs.inotify.max_user_watches=524288"}
	case errors.Is(err, syscall.EMFILE):
		// The kernel answers the same when the process may open no more files.
		return &limit{
			"fs.inotify.max_user_instances (or open files: ulimit -n)",
			"sysctl fs.inotify.max_user_instances=512",
		}
	case errors.Is(err, syscall.ENFILE):
		return &limit{"fs.file-max", "sysctl fs.file-max=1000000"}
	}
	return nil
}
