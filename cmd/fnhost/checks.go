package main

import (
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
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return finding{"build cache", statusFail, err.Error(), fix}
		}
		dir = filepath.Join(base, "fnhost")
	}
	return checkDir("build cache", dir, fix)
}

func checkData(dir string) finding {
	return checkDir("data directory", dir, "make it writable, or name another one with --data")
}

func checkDir(check, dir, fix string) finding {
	if err := writable(dir); err != nil {
		return finding{check, statusFail, err.Error(), fix}
	}
	return finding{Check: check, Status: statusOK, Detail: relative(dir)}
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

// checkPort finds out whether an address is free, or a running fnhost's.
func checkPort(ctx context.Context, flag, address string) finding {
	name := map[string]string{"gateway": "http"}[flag]
	if name == "" {
		name = flag
	}
	f := finding{Check: flag + " address", Status: statusOK, Detail: address + " is free"}
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
		return f
	}
	f.Status, f.Fix = statusFail, fmt.Sprintf("stop what uses it, or choose another one with --%s; port 0 picks any", name)
	if f.Detail = err.Error(); !errors.Is(err, syscall.EADDRINUSE) {
		f.Fix = fmt.Sprintf("choose another one with --%s", name)
		return f
	}
	f.Detail = address + " is in use"
	if flag != "admin" {
		f.Status = statusWarn // most likely by the fnhost that the admin address tells of
		return f
	}
	if c, err := admin.NewClient(address, admin.ClientOptions{}); err == nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if info, err := c.Info(ctx); err == nil {
			f.Status, f.Fix = statusOK, ""
			f.Detail = fmt.Sprintf("%s is used by fnhost %s, process %d", address, info.Version, info.PID)
		}
	}
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
