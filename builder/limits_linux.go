package builder

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// limitFileSize bounds every file that the process and its children write, in bytes.
func limitFileSize(pid int, size int64) {
	limit := unix.Rlimit{Cur: uint64(size), Max: uint64(size)}
	unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
}
