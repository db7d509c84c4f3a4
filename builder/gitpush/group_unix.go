//go:build unix

package gitpush

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd the leader of a process group, which is stopped as a whole.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// stopGroup asks a group to end: git removes what it has begun.
func stopGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }
