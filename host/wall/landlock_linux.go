package wall

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock's versions can refuse, beyond the version before.
const (
	lockFiles = 1<<13 - 1                           // 1: files and directories
	lockRefer = unix.LANDLOCK_ACCESS_FS_REFER       // 2: links and renames between directories
	lockCut   = unix.LANDLOCK_ACCESS_FS_TRUNCATE    // 3
	lockTCP   = unix.LANDLOCK_ACCESS_NET_BIND_TCP | // 4
		unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	lockDevice = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV                                     // 5
	lockScopes = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL // 6

	lockRead   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	lockOnFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | lockCut | lockDevice
)

// landlockVersion returns the version of Landlock that the kernel has, 0 without.
func landlockVersion() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// lockRule lets what is at path be read, or written, too.
type lockRule struct {
	path   string
	access Access
}

// names lets the names in a directory be read, and not what is in it.
const names Access = -1

// lock bounds the thread to what the rules name, and the network to what the wall
// has, as far as the version goes. rooted says that the wall has process IDs of its own.
func (s *Spec) lock(version int, rooted bool, rules []lockRule) error {
	var attr unix.LandlockRulesetAttr
	attr.Handled_access_fs = lockFiles
	if version >= 2 {
		attr.Handled_access_fs |= lockRefer
	}
	if version >= 3 {
		attr.Handled_access_fs |= lockCut
	}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if version >= 4 {
		if attr.Handled_access_net = lockTCP; s.Network == Outbound {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		}
		size = unsafe.Offsetof(attr.Scoped)
	}
	if version >= 5 {
		attr.Handled_access_fs |= lockDevice
	}
	if version >= 6 {
		if attr.Scoped = lockScopes; rooted {
			// No other process is in sight, and kernels before 6.15 would keep the thread from
			// signals to others of this process, by which the Go runtime interrupts them.
			attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		}
		size = unsafe.Offsetof(attr.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, r := range rules {
		if err := r.add(int(fd), attr.Handled_access_fs); err != nil {
			return fmt.Errorf("landlock: %s: %w", r.path, err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

// add adds the rule to a ruleset that handles the given access. What is not there
// needs none.
func (r lockRule) add(ruleset int, handled uint64) error {
	fd, err := unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: lockRead, Parent_fd: int32(fd)}
	switch r.access {
	case names:
		rule.Allowed_access = unix.LANDLOCK_ACCESS_FS_READ_DIR
	case Write:
		rule.Allowed_access = handled &^ (unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rule.Allowed_access &= lockOnFile
	}
	rule.Allowed_access &= handled
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
