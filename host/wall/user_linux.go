package wall

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"
)

// Users that belong to nobody: the range that systemd keeps for such.
const (
	firstUser = 61184
	lastUser  = 65519
)

var users = struct {
	sync.Mutex
	taken map[int]bool
}{taken: make(map[int]bool)}

// takeUser returns a user that no other wall of this process has.
func takeUser() (int, error) {
	users.Lock()
	defer users.Unlock()
	const n = lastUser - firstUser + 1
	for i, first := 0, rand.IntN(n); i < n; i++ { // other hosts begin elsewhere
		uid := firstUser + (first+i)%n
		if !users.taken[uid] {
			users.taken[uid] = true
			return uid, nil
		}
	}
	return 0, errors.New("wall: all user ids are in use")
}

func giveUser(uid int) {
	users.Lock()
	defer users.Unlock()
	delete(users.taken, uid)
}

// assume makes uid the real user and group of the calling thread, which stays root in
// all that it does: so it may set limits of processes of that user, also on a
// machine where root may not set those of others.
func assume(uid int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), 0, 0); errno != 0 {
		return fmt.Errorf("group: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), 0, 0); errno != 0 {
		return fmt.Errorf("user: %w", errno)
	}
	return nil
}
