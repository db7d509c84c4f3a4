package gitpush

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxHello bounds what a hook says, in bytes.
const maxHello = 4 * maxUpdates

// serveHook answers the hook of the push, which comes once, or not at all.
func (p *push) serveHook(listener *net.UnixListener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // git has ended
		}
		conn.SetReadDeadline(time.Now().Add(grace))
		var h hello
		err = json.NewDecoder(io.LimitReader(conn, maxHello)).Decode(&h)
		if err == nil && subtle.ConstantTimeCompare([]byte(h.Secret), []byte(p.secret)) == 1 {
			p.hooked.Store(true)
			listener.Close()
			p.answer(conn, h)
			return
		}
		conn.Close()
	}
}

// answer decides on a push, and tells the hook.
func (p *push) answer(conn net.Conn, h hello) {
	defer conn.Close()
	conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer conn.Close()
	wait.Go(func() {
		// The hook says nothing more, but for a newline that may not have come with the rest.
		io.Copy(io.Discard, conn)
		cancel(errHookGone)
	})
	out := &hookWriter{conn: conn, to: json.NewEncoder(conn)}
	p.err = p.decide(ctx, h, out)
	if p.err == nil {
		out.send(message{Done: true})
		return
	}
	if ctx.Err() != nil {
		p.err = reject(context.Cause(ctx))
	}
	text := "the host could not look at this push: its log says why"
	if e, ok := errors.AsType[*rejection](p.err); ok {
		text = e.Error()
	}
	fmt.Fprintln(out, strings.TrimRight(text, "\n"))
	out.send(message{Done: true, Status: 1})
}

// decide returns nil if the push is to be accepted.
func (p *push) decide(ctx context.Context, h hello, out io.Writer) error {
	if h.Version != hookVersion {
		return rejectf("the host's program was replaced while it runs: start the host again, then push")
	}
	list, err := parseUpdates(h.Updates)
	if err != nil {
		return err
	}
	u, err := choose(list)
	if err != nil {
		return err
	}
	if u == nil {
		fmt.Fprintln(out, "Tags are kept, and deploy nothing. To deploy: git push fnhost HEAD:main")
		return nil
	}
	if err := p.takeTurn(ctx, u, out); err != nil {
		return err
	}
	objects, err := p.quarantine(h.Env)
	if err != nil {
		return err
	}
	return p.deploy(ctx, u, pushOptions(h.Env), objects, out)
}

// takeTurn waits until no other push is between its Deploy and its end. Git
// itself compares where the branch stands only after the hook.
func (p *push) takeTurn(ctx context.Context, u *update, out io.Writer) error {
	select {
	case p.repo.lock <- struct{}{}:
	default:
		fmt.Fprintf(out, "Another push to %s is being deployed: waiting for it.\n", p.repo.name)
		select {
		case p.repo.lock <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.locked = true
	value, err := p.s.refValue(ctx, p.repo, u.ref)
	if err != nil {
		return err
	}
	if value != u.old && (value != "" || !u.create()) {
		return rejectf("%s has moved to %s while this push was on its way: git pull, then push again", u.short(), abbreviate(value))
	}
	return nil
}

// quarantine returns the environment in which git finds the objects of the push
// beside those of the repository.
func (p *push) quarantine(env map[string]string) ([]string, error) {
	dir := env["GIT_QUARANTINE_PATH"]
	objects := filepath.Join(p.repo.path, "objects")
	if rel, err := filepath.Rel(objects, dir); err != nil || !filepath.IsLocal(rel) || rel == "." {
		return nil, fmt.Errorf("gitpush: git keeps new objects in %q, which is not below %s", dir, objects)
	}
	// Git separates alternates by colons, but for those in quotes.
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(objects) + `"`
	return []string{"GIT_OBJECT_DIRECTORY=" + dir, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + quoted}, nil
}

// deploy extracts the tree and calls Config.Deploy.
func (p *push) deploy(ctx context.Context, u *update, options, objects []string, out io.Writer) error {
	info, err := p.commit(ctx, u, objects)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(p.s.path("tmp"), "push-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			p.s.log.Warn("a pushed tree could not be removed", "dir", dir, "error", err)
		}
	}()
	if err := p.s.extract(ctx, p.repo.path, objects, u.new, dir, out); err != nil {
		return err
	}
	info.Repo, info.Ref, info.Options, info.User = p.repo.name, u.ref, options, p.user
	info.Dir, info.Output = dir, out
	if !u.create() {
		info.Old = u.old
	}
	if err := p.s.cfg.Deploy(ctx, info); err != nil {
		return reject(err)
	}
	p.update = u
	return nil
}

// commit returns what a commit says of itself.
func (p *push) commit(ctx context.Context, u *update, objects []string) (Push, error) {
	out, err := p.s.output(ctx, nil, objects, "--git-dir="+p.repo.path, "log", "--no-walk", "--no-mailmap", "--no-show-signature",
		"--no-decorate", "--no-notes", "--encoding=UTF-8", "--format=%H%x00%an <%ae>%x00%ct%x00%s", u.new, "--")
	if err != nil {
		return Push{}, err
	}
	fields := strings.SplitN(strings.TrimSuffix(string(out), "\n"), "\x00", 4)
	if len(fields) != 4 {
		return Push{}, rejectf("%s is no commit: push one, as in git push fnhost HEAD:main", abbreviate(u.new))
	}
	if fields[0] != u.new {
		return Push{}, rejectf("what was pushed is a tag, and a branch holds commits: git push fnhost 'TAG^{}:%s'", u.short())
	}
	seconds, _ := strconv.ParseInt(fields[2], 10, 64)
	return Push{Commit: u.new, Author: printable(fields[1]), Subject: printable(fields[3]), Time: time.Unix(seconds, 0)}, nil
}

// maxText bounds what is taken over of a commit's texts, in bytes.
const maxText = 1000

// printable returns text without what terminals and logs could take for commands.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// hookWriter is the Output of a push.
type hookWriter struct {
	mu   sync.Mutex
	conn net.Conn
	to   *json.Encoder
	gone bool
}

func (w *hookWriter) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 32<<10)
		w.send(message{Output: rest[:n]})
		rest = rest[n:]
	}
	return len(b), nil
}

// send drops what a hook does not take within stall.
func (w *hookWriter) send(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	w.conn.SetWriteDeadline(time.Now().Add(stall))
	w.gone = w.to.Encode(m) != nil
}
