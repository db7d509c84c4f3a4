//go:build unix && !linux

package builder

import (
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
}

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// limitFileSize needs prlimit, which only Linux has: elsewhere the size of the
// result is checked when it is there.
func limitFileSize(int, int64) {}
