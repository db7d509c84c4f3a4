package backup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A repository whose branches are all packed has empty directories, without which it is none.
func TestRepositoryIsRestored(t *testing.T) {
	s := newServer(t)
	path := filepath.Join(s.dir, "git", "repos", "hello.git")
	git := func(path string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "safe.directory=*", "--git-dir=" + path}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	git(path, "init", "--bare", "--quiet", "--initial-branch=main")
	tree := git(path, "hash-object", "-t", "tree", "-w", os.DevNull)
	commit := git(path, "commit-tree", tree, "-m", "first")
	git(path, "update-ref", "refs/heads/main", commit)
	git(path, "gc", "--quiet")
	loose := git(path, "commit-tree", tree, "-p", commit, "-m", "second")
	git(path, "update-ref", "refs/heads/other", loose)
	r := restored(t, s.backup())
	again := filepath.Join(r.dir, "git", "repos", "hello.git")
	git(again, "fsck", "--full", "--strict")
	for branch, want := range map[string]string{"main": commit, "other": loose} {
		if got := git(again, "rev-parse", "refs/heads/"+branch); got != want {
			t.Errorf("%s is at %s, want %s", branch, got, want)
		}
	}
}
