package host

import "syscall"

// freeSpace returns how many bytes may still be written where dir lies, -1 if
// that is not known.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
