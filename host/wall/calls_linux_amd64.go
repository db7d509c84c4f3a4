package wall

import "golang.org/x/sys/unix"

const (
	filterArch = unix.AUDIT_ARCH_X86_64
	// filterFirstOther is the first number of what is no call of this machine: the x32
	// ABI begins there.
	filterFirstOther = 0x40000000
)

// machineCalls are those that this machine has beside those of all.
var machineCalls = []uint32{
	unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_POLL, unix.SYS_ACCESS, unix.SYS_PIPE, unix.SYS_SELECT, unix.SYS_DUP2,
	unix.SYS_PAUSE, unix.SYS_ALARM, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CREAT, unix.SYS_LINK, unix.SYS_UNLINK, unix.SYS_SYMLINK,
	unix.SYS_READLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_RENAME,
	unix.SYS_GETPGRP, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_ARCH_PRCTL, unix.SYS_TIME, unix.SYS_GETDENTS, unix.SYS_EPOLL_CREATE,
	unix.SYS_EPOLL_WAIT, unix.SYS_INOTIFY_INIT, unix.SYS_SIGNALFD, unix.SYS_EVENTFD, unix.SYS_MKNOD, unix.SYS_FUTIMESAT,
	unix.SYS_NEWFSTATAT, unix.SYS_RENAMEAT,
}

// machineModeCalls are those of modeCalls that this machine alone has.
var machineModeCalls = []callArg{{unix.SYS_CHMOD, 1}, {unix.SYS_CREAT, 1}, {unix.SYS_OPEN, 2}, {unix.SYS_MKNOD, 1}}

// machineInPlaceRefused are those of inPlaceRefused that this machine alone has.
var machineInPlaceRefused = []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT}
