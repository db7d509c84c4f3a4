package gitpush

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// grace is how long git may take to end after it was asked to.
const grace = 5 * time.Second

// settings are those of every git command. Those of the system and of the
// host's user are not read.
var settings = []string{
	"safe.directory=*", // the repositories are ours, whoever owns the disk they are on
	"core.logAllRefUpdates=false",
	"core.bigFileThreshold=32m", // larger ones are never whole in memory
	"core.packedGitWindowSize=32m",
	"core.packedGitLimit=256m",
	"gc.autoDetach=false",
	"gc.autoPackLimit=20",
	"gc.pruneExpire=1.day.ago",
	"gc.cruftPacks=true",
}

// receiving are the settings of git receive-pack. Deletions are refused by the
// hook first, with a better message.
func (s *Server) receiving() []string {
	return []string{
		"core.hooksPath=" + s.path("hooks"),
		"receive.fsckObjects=true",
		// What old tools have written into histories that cannot be changed any more.
		"receive.fsck.zeroPaddedFilemode=ignore",
		"receive.fsck.badTimezone=ignore",
		"receive.fsck.missingSpaceBeforeDate=ignore",
		fmt.Sprintf("receive.maxInputSize=%d", s.cfg.MaxPush),
		"receive.advertisePushOptions=true",
		"receive.denyDeletes=true",
		"receive.denyNonFastForwards=false", // a pusher may rewrite history
		"receive.shallowUpdate=true",        // CI systems push from clones of depth 1
		"receive.unpackLimit=1",             // one pack for each push
		"receive.autogc=false",
		"receive.keepAlive=5",
	}
}

// git returns a git command that runs in a process group of its own, with an
// environment made from scratch. When ctx ends it is asked to end, and killed
// after a grace period.
func (s *Server) git(ctx context.Context, config, env []string, args ...string) (*exec.Cmd, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, ErrNoGit
	}
	var all []string
	for _, c := range append(settings[:len(settings):len(settings)], config...) {
		all = append(all, "-c", c)
	}
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.Dir = s.path("home")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.path("home"), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOC_LIMIT=512m", // of one allocation: a pack can promise objects of any size
	}, env...)
	cmd.WaitDelay = grace
	ownGroup(cmd)
	cmd.Cancel = func() error { return stopGroup(cmd.Process.Pid) }
	return cmd, nil
}

// output runs a git command and returns what it prints.
func (s *Server) output(ctx context.Context, config, env []string, args ...string) ([]byte, error) {
	cmd, err := s.git(ctx, config, env, args...)
	if err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = cmd.Wait()
	killGroup(cmd.Process.Pid)
	if err != nil {
		return nil, gitError(ctx, args[0], err, &stderr)
	}
	return stdout.Bytes(), nil
}

// gitError says why a git command has failed.
func gitError(ctx context.Context, name string, err error, stderr *tail) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if text := strings.TrimSpace(stderr.String()); text != "" {
		return fmt.Errorf("git %s: %w: %s", name, err, text)
	}
	return fmt.Errorf("git %s: %w", name, err)
}

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.buf), "�") }
