package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go/version"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

// finding is what doctor has to say about one thing.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "doctor", Short: "Check what fnhost needs of this machine", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := []finding{checkGo(cmd.Context()), checkGit(), checkCache(), checkInotify("max_user_watches", 65536, 524288),
			checkInotify("max_user_instances", 128, 512), checkFiles()}
		for _, port := range []string{"8080", "8081", "4222"} {
			list = append(list, checkPort(cmd.Context(), port))
		}
		failed := 0
		for _, f := range list {
			if f.Status == "fail" {
				failed++
			}
		}
		if err := a.printFindings(list); err != nil {
			return err
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d checks failed: what to do stands beside them", failed, len(list))
		}
		return nil
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printFindings(list []finding) error {
	if a.output == "json" {
		return a.printJSON(list)
	}
	p := a.painter(a.stdout)
	for _, f := range list {
		colour := map[string]int{"ok": green, "warn": yellow, "fail": red}[f.Status]
		fmt.Fprintf(a.stdout, "%s %-20s %s\n", p.paint(colour, fmt.Sprintf("%-4s", f.Status)), f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(a.stdout, "     %s\n", f.Fix)
		}
	}
	return nil
}

func checkGo(ctx context.Context) finding {
	f := finding{Check: "go command", Status: "ok"}
	path, err := exec.LookPath("go")
	if err != nil {
		f.Status, f.Detail, f.Fix = "fail", "not on PATH", "install Go 1.26 or later from https://go.dev/dl"
		return f
	}
	out, err := exec.CommandContext(ctx, path, "env", "GOVERSION").Output()
	v := strings.TrimSpace(string(out))
	f.Detail = v + " at " + path
	if err != nil || version.Compare(v, "go1.26") < 0 {
		f.Status, f.Fix = "fail", "install Go 1.26 or later from https://go.dev/dl"
	}
	return f
}

func checkGit() finding {
	path, err := exec.LookPath("git")
	if err != nil {
		return finding{"git", "warn", "not on PATH", "install git to deploy by git push"}
	}
	return finding{"git", "ok", path, ""}
}

func checkCache() finding {
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "fnhost")
		if err = os.MkdirAll(dir, 0o755); err == nil {
			var f *os.File
			if f, err = os.CreateTemp(dir, ".doctor-*"); err == nil {
				f.Close()
				err = os.Remove(f.Name())
			}
		}
	}
	if err != nil {
		return finding{"build cache", "fail", err.Error(), "make it writable, or name another one with --cache"}
	}
	return finding{"build cache", "ok", dir, ""}
}

func checkInotify(name string, least, better int) finding {
	f := finding{Check: "inotify " + strings.TrimPrefix(name, "max_user_"), Status: "ok"}
	if runtime.GOOS != "linux" {
		f.Detail = "not needed here"
		return f
	}
	b, err := os.ReadFile("/proc/sys/fs/inotify/" + name)
	n, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err = errors.Join(err, convErr); err != nil {
		f.Status, f.Detail = "warn", err.Error()
		return f
	}
	f.Detail = strconv.Itoa(n)
	if n < least {
		f.Status, f.Fix = "warn", fmt.Sprintf("large trees are polled, once a second: sysctl fs.inotify.%s=%d", name, better)
	}
	return f
}

func checkFiles() finding {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return finding{"open files", "warn", err.Error(), ""}
	}
	if limit.Cur < 1024 {
		return finding{"open files", "warn", fmt.Sprint(limit.Cur), "a worker takes 3, a connection 1: ulimit -n 65536"}
	}
	return finding{"open files", "ok", fmt.Sprint(limit.Cur), ""}
}

func checkPort(ctx context.Context, port string) finding {
	f := finding{Check: "port " + port, Status: "ok", Detail: "free"}
	address := net.JoinHostPort("127.0.0.1", port)
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
		return f
	}
	f.Status, f.Detail, f.Fix = "warn", "in use", "choose another port, or 0 for any: --http, --admin, --nats"
	if c, err := admin.NewClient(address); err == nil && port == "8081" {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if info, err := c.Info(ctx); err == nil {
			f.Status, f.Fix = "ok", ""
			f.Detail = fmt.Sprintf("used by fnhost %s, process %d", info.Version, info.PID)
		}
	}
	return f
}
