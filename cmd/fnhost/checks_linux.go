package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fnhost/fnhost/host/wall"
)

// checkSystem looks at limits and features of the kernel.
func checkSystem() []finding {
	return []finding{
		checkInotify("max_user_watches", 65536, 524288),
		checkInotify("max_user_instances", 128, 512),
		checkKernel(),
		checkWalls(),
	}
}

// checkWalls looks at what walls around workers can be built of.
func checkWalls() finding {
	machine := wall.Probe()
	f := finding{Check: "walls", Status: statusOK, Detail: strings.Join(machine.Parts(), ", ")}
	if len(machine.Missing) == 0 {
		return f
	}
	f.Status, f.Fix = statusWarn, "missing: "+machine.Summary()
	if !machine.Any() {
		f.Detail = "none: workers may do all that fnhost may"
	}
	return f
}

func checkInotify(name string, least, better int) finding {
	f := finding{Check: "inotify " + strings.TrimPrefix(name, "max_user_"), Status: statusOK}
	b, err := os.ReadFile("/proc/sys/fs/inotify/" + name)
	n, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err = errors.Join(err, convErr); err != nil {
		f.Status, f.Detail, f.Fix = statusWarn, firstLine(err.Error()), "without inotify, folders are polled"
		return f
	}
	if f.Detail = fmt.Sprintf("at most %d", n); n < least {
		f.Status, f.Fix = statusWarn, fmt.Sprintf("large folders are polled: sudo sysctl fs.inotify.%s=%d", name, better)
	}
	return f
}

// checkKernel looks for what keeps the processes of a function together: a worker
// that ends with its host, and a handle of it that no other process can take over.
func checkKernel() finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return finding{"kernel", statusWarn, err.Error(), ""}
	}
	f := finding{Check: "kernel", Status: statusOK, Detail: "Linux " + unix.ByteSliceToString(name.Release[:])}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		f.Status, f.Detail, f.Fix = statusWarn, f.Detail+" has no pidfd", "use Linux 5.4 or later"
		return f
	}
	unix.Close(fd)
	return f
}
