package worker

import "syscall"

// sysProcAttr makes a worker the leader of a group, and mortal with its host.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
