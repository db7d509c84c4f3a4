package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/version"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/admin"
)

// leastGo is the oldest toolchain that builds functions.
const leastGo = "go1.26"

func checkGo(ctx context.Context) finding {
	f := finding{Check: "go command", Status: statusFail, Fix: "install Go 1.26 or later from https://go.dev/dl"}
	path, err := exec.LookPath("go")
	if err != nil {
		f.Detail = "not on PATH"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "env", "GOVERSION").Output()
	v := strings.TrimSpace(string(out))
	switch {
	case err != nil:
		f.Detail = fmt.Sprintf("%s does not run: %v", path, err)
	case version.IsValid(v) && version.Compare(v, leastGo) < 0:
		f.Detail = fmt.Sprintf("%s at %s is too old", v, path)
	default: // a development version says something else
		f.Status, f.Detail, f.Fix = statusOK, v+" at "+path, ""
	}
	return f
}

func checkGit() finding {
	path, err := exec.LookPath("git")
	if err != nil {
		return finding{"git", statusWarn, "not on PATH", "install git to deploy by git push"}
	}
	return finding{Check: "git", Status: statusOK, Detail: path}
}

func checkCache(dir string) finding {
	const fix = "make it writable, or name another one with --cache"
	dir, err := cacheDir(dir)
	if err != nil {
		return finding{"build cache", statusFail, err.Error(), fix}
	}
	return checkDir("build cache", dir, fix)
}

// cacheDir is the build cache that --cache names, or else the default one.
func cacheDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	return filepath.Join(base, "fnhost"), err
}

func checkData(dir string) finding {
	return checkDir("data directory", dir, "make it writable, or name another one with --data")
}

// checkFolder looks at a folder to watch.
func checkFolder(dir string) finding {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return finding{"folder", statusFail, err.Error(), ""}
	}
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		return finding{"folder", statusFail, homePath(abs) + " is a file", "name its folder, " + filepath.Dir(dir)}
	}
	if err != nil {
		return finding{"folder", statusFail, homePath(abs) + " is no directory", fmt.Sprintf("`fnhost init %s` makes a function there", dir)}
	}
	found := "no functions"
	switch n := len(builder.Find(abs, cmp.Or(builder.FindModule(abs, ""), abs))); n {
	case 0:
	case 1:
		found = "1 function"
	default:
		found = fmt.Sprintf("%d functions", n)
	}
	return finding{Check: "folder", Status: statusOK, Detail: homePath(abs) + ": " + found}
}

func checkDir(check, dir, fix string) finding {
	if err := writable(dir); err != nil {
		return finding{check, statusFail, err.Error(), fix}
	}
	return finding{Check: check, Status: statusOK, Detail: homePath(dir)}
}

// writable reports whether files can be made in dir, or, if it is not there yet,
// in what would hold it. It leaves nothing behind.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir {
			return err
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".fnhost-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// checkPort finds out whether an address is free, or that of the fnhost that runs
// here, if one does.
func checkPort(l listener, running *admin.Info) finding {
	f := finding{Check: l.what + " address", Status: statusOK}
	if _, port, err := net.SplitHostPort(l.address); err == nil && port == "0" {
		f.Detail = l.address + ": any free port"
		return f
	}
	listener, err := net.Listen("tcp", l.address)
	if err == nil {
		listener.Close()
		f.Detail = l.address + " is free"
		return f
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		f.Status, f.Detail, f.Fix = statusFail, err.Error(), fmt.Sprintf("choose another one with --%s", l.flag)
		return f
	}
	by := processAt(l.address)
	f.Detail = l.address + " is in use"
	if running != nil && (isOf(l.address, l.info(*running)) || by.pid != 0 && by.pid == running.PID) {
		f.Detail += strings.TrimRight(" by fnhost "+running.Version, " ")
		if running.PID != 0 {
			f.Detail += fmt.Sprintf(" (process %d)", running.PID)
		}
		f.Detail += ", which is running here"
		return f
	}
	if by.pid != 0 {
		f.Detail += " by " + by.String()
	}
	f.Status, f.Fix = statusFail, fmt.Sprintf("stop it, or choose another one with --%s; port 0 picks any", l.flag)
	return f
}

// checkFiles looks at how many files the process may open.
func checkFiles() finding {
	const least, workers = 1024, 4 // of a worker: its socket, its output, its process
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return finding{"open files", statusWarn, err.Error(), ""}
	}
	f := finding{Check: "open files", Status: statusOK, Detail: fmt.Sprintf("at most %d", limit.Cur)}
	if limit.Cur < least {
		f.Status, f.Fix = statusWarn, fmt.Sprintf("a worker takes %d, a connection 1: ulimit -n 65536", workers)
	}
	return f
}
