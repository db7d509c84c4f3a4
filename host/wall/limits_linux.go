package wall

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// openFiles is how many descriptors a process may have.
const openFiles = 4096

// Memory returns a part of the machine's memory, in bytes, and no more than most.
func Memory(percent, most int64) int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return most
	}
	return min(int64(uint64(info.Totalram)*uint64(info.Unit)/100)*percent, most)
}

// limit is one of setrlimit(2).
type limit struct {
	name  string
	what  int
	value uint64
}

// limits are those of one process, on a machine that can do what it says.
func (s *Spec) limits(m *Machine, rooted bool) []limit {
	list := []limit{
		{"core", unix.RLIMIT_CORE, 0},
		{"files", unix.RLIMIT_NOFILE, openFiles},
		{"locked memory", unix.RLIMIT_MEMLOCK, 64 << 10},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0},
	}
	if s.FileSize > 0 {
		list = append(list, limit{"file size", unix.RLIMIT_FSIZE, uint64(s.FileSize)})
	} else if !rooted {
		list = append(list, limit{"file size", unix.RLIMIT_FSIZE, uint64(s.Disk)}) // of each, where nothing bounds their sum
	}
	if !m.groups.has("memory") {
		// It bounds what is mapped to be written, which of a Go program is more than it has.
		list = append(list, limit{"data", unix.RLIMIT_DATA, uint64(2*s.Memory + 256<<20)})
	}
	if !m.groups.has("pids") {
		list = append(list, limit{"processes", unix.RLIMIT_NPROC, s.mostOfUser(rooted && !s.KeepUser)})
	}
	return list
}

// apply gives a process its limits; where it has a lower one already, that stays.
func apply(pid int, list []limit) error {
	for _, l := range list {
		var old unix.Rlimit
		if err := unix.Prlimit(pid, l.what, nil, &old); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
		value := min(l.value, old.Max)
		if err := unix.Prlimit(pid, l.what, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	return nil
}

// hold waits until a process that was started with PTRACE_TRACEME has been loaded
// and stands before its first instruction, so that it runs nothing without its
// limits; then it is for [release]. Both are called on the thread that started it.
func hold(p *os.Process) error {
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(p.Pid, &status, unix.WALL, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("wait for its start: %w", err)
		}
		break
	}
	if !status.Stopped() {
		return fmt.Errorf("it ended at its start: status %#x", uint32(status))
	}
	return nil
}

func release(p *os.Process) error {
	if err := unix.PtraceDetach(p.Pid); err != nil {
		return fmt.Errorf("let it go: %w", err)
	}
	return nil
}

// mostOfUser returns how many processes and threads the user may have. A user that is
// nobody else's has those of the wall; others of an ordinary user are not to be in the way.
func (s *Spec) mostOfUser(own bool) uint64 {
	if own {
		return uint64(s.Processes * s.Workers)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return math.MaxUint64
	}
	return uint64(info.Procs) + 4096
}
