package gitpush

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fetchTimeout bounds a fetch.
const fetchTimeout = 5 * time.Minute

// Fetched is what a [Server.Fetch] has found.
type Fetched struct {
	URL     string // without a password
	Commit  string
	Author  string // as the commit claims
	Subject string // the first line of its message
}

// Fetch writes the tree of a commit of another repository to the empty directory
// dir: of a branch, a tag, or a commit that its server lets be asked for; "" is
// its default branch. The URL is one of https, http or ssh. Limits, and what is
// said to notes, are as for a push. An error for a URL, a name or a tree that is
// not accepted, or for what git says, matches [ErrRejected]; others are
// [ErrClosed], [ErrNoGit], that of ctx, and those of the host's own files.
func (s *Server) Fetch(ctx context.Context, address, ref, dir string, notes io.Writer) (*Fetched, error) {
	if !s.begin() {
		return nil, ErrClosed
	}
	defer s.requests.Done()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh" {
		return nil, rejectf("%q is not the URL of a git repository: want https://…, http://… or ssh://…", redact(address))
	}
	if ref == "" {
		ref = "HEAD"
	}
	if strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, " \t\r\n:^~?*[\\\x00") {
		return nil, rejectf("%q is not the name of a branch, a tag or a commit", ref)
	}
	ctx, cancel := s.within(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, fetchTimeout, errTooLong(fetchTimeout))
	defer stop()
	tmp, err := os.MkdirTemp(s.path("tmp"), "fetch-")
	if err != nil {
		return nil, fmt.Errorf("gitpush: %w", err)
	}
	defer os.RemoveAll(tmp)
	repo := filepath.Join(tmp, "fetch.git")
	if err := writeEmpty(repo); err != nil {
		return nil, fmt.Errorf("gitpush: %w", err)
	}
	config := []string{"fetch.fsckObjects=true", "protocol.allow=never", "protocol.https.allow=always", "protocol.http.allow=always", "protocol.ssh.allow=always"}
	way, err := s.wayTo(ctx, u)
	if err != nil {
		return nil, err
	}
	defer way.close()
	if _, err := s.output(ctx, append(config, way.config...), way.env, "--git-dir="+repo, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", address, ref); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if refused := way.refused(); refused != nil {
			return nil, rejectf("%s: %v", u.Redacted(), refused)
		}
		return nil, rejectf("%s", strings.ReplaceAll(err.Error(), address, u.Redacted()))
	}
	out, err := s.output(ctx, nil, nil, "--git-dir="+repo, "log", "-1", "--format=%H%n%an <%ae>%n%s", "FETCH_HEAD")
	if err != nil {
		return nil, err
	}
	lines := strings.SplitN(strings.TrimSpace(string(out)), "\n", 3)
	if len(lines) < 2 || !isID(lines[0]) {
		return nil, fmt.Errorf("gitpush: git log has printed %.200q", out)
	}
	lines = append(lines, "")
	u.User = nil
	f := &Fetched{URL: u.String(), Commit: lines[0], Author: printable(lines[1]), Subject: printable(lines[2])}
	return f, s.extract(ctx, repo, nil, f.Commit, dir, notes)
}

// redact hides the password of an address that may be no URL.
func redact(address string) string {
	if before, after, ok := strings.Cut(address, "@"); ok {
		scheme, _, _ := strings.Cut(before, "://")
		return scheme + "://…@" + after
	}
	return address
}
