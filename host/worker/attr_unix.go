//go:build unix && !linux

package worker

import "syscall"

// sysProcAttr makes a worker the leader of a group. Here only the end of its
// channel tells it that its host has gone.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
