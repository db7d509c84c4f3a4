package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

// fetchTimeout bounds the fetching of a git repository.
const fetchTimeout = 5 * time.Minute

// fetchGit puts the tree of a git repository into dir: the latest commit of a
// branch, a tag, or a commit, of its default branch if none is named. It runs the
// git command, without any configuration, hooks or filters.
func (h *Host) fetchGit(ctx context.Context, dir string, o *DeployOptions) error {
	src := &o.Source
	u, err := url.Parse(src.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh" {
		return wire.Errorf(wire.BadRequest, "%q is not the URL of a git repository that a host fetches: want https://…, http://… or ssh://…", src.URL)
	}
	ref := src.Ref
	if ref == "" {
		ref = "HEAD"
	}
	if strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, " \t\n:^~?*[\\") {
		return wire.Errorf(wire.BadRequest, "%q is not the name of a branch, a tag or a commit", ref)
	}
	start := time.Now()
	o.OnEvent(admin.DeployEvent{Step: admin.StepFetch, Text: u.Redacted()})
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	repo := filepath.Join(filepath.Dir(dir), "repository.git")
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", repo},
		{"-C", repo, "fetch", "--quiet", "--depth=1", "--no-tags", "--", src.URL, ref},
		{"-C", repo, "--work-tree", dir, "-c", "core.bare=false", "-c", "core.symlinks=true", "-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null",
			"checkout", "--quiet", "FETCH_HEAD", "--", "."},
	} {
		if _, err := git(ctx, args...); err != nil {
			return err
		}
	}
	out, err := git(ctx, "-C", repo, "log", "-1", "--format=%H%n%an <%ae>%n%s", "FETCH_HEAD")
	if err != nil {
		return err
	}
	if lines := strings.SplitN(strings.TrimSpace(out), "\n", 3); len(lines) == 3 {
		src.Commit, src.Author, src.Message = lines[0], lines[1], lines[2]
	}
	src.URL = u.Redacted() // what is kept
	o.OnEvent(admin.DeployEvent{Step: admin.StepFetch, Done: true, Took: time.Since(start), Text: src.Commit})
	return nil
}

// git runs the git command with an environment of its own.
func git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:http:ssh", "GIT_SSH_COMMAND=ssh -o BatchMode=yes"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(err, exec.ErrNotFound):
		return "", wire.Errorf(wire.Unavailable, "the host has no git command: install git there, or send the source itself")
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	message := strings.TrimSpace(errs.String())
	return "", wire.Errorf(wire.Unprocessed, "git: %s", fmt.Sprintf("%.2000s", message))
}
