package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/gitpush"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/outbound"
	"github.com/fnhost/fnhost/host/registry"
	"github.com/fnhost/fnhost/trigger"
)

// openGit makes the git remote of the namespace, whose pushes are deploys.
func (h *Namespace) openGit() error {
	if gitpush.IsHook() {
		return errors.New("host: git has started this program as its hook: main must begin with what gitpush.IsHook says")
	}
	cfg := gitpush.Config{Dir: filepath.Join(h.spaceDir(h.name), "git"), Deploy: h.deployPush, Logger: h.log, Timeout: pushTimeout}
	if !h.cfg.PrivateGit {
		guard := outbound.Guard{Hint: "the host must allow repositories at such (--private-git)"}
		cfg.Dial, cfg.Lookup = guard.Dialer(dialTimeout).DialContext, guard.Lookup
	}
	git, err := gitpush.New(cfg)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.git = git
	h.closers = append(h.closers, git.Close)
	return nil
}

// serveGit hands what git asks for to the remote of its namespace: /NAME is of the default
// one, /@namespace/NAME of another.
func (h *Host) serveGit(w http.ResponseWriter, r *http.Request) {
	ns := h.first
	if rest, ok := strings.CutPrefix(r.URL.Path, "/@"); ok {
		name, _, _ := strings.Cut(rest, "/")
		err := h.spaces.missing(name)
		if name != "" { // which would be the default one
			ns, err = h.Namespace(name)
		}
		if err != nil {
			http.Error(w, err.Error(), trigger.StatusOf(err))
			return
		}
		r = without(r, "/@"+name)
	}
	ns.git.ServeHTTP(w, r)
}

// dialTimeout bounds a connection to a repository that is fetched.
const dialTimeout = 30 * time.Second

// pushTimeout bounds a push, the build included.
const pushTimeout = 15 * time.Minute

// deployPush deploys a tree that was pushed, while the pusher sees how.
func (h *Namespace) deployPush(ctx context.Context, p gitpush.Push) (err error) {
	served := ""
	defer func() { admin.NoteOutcome(ctx, err, served) }()
	o := DeployOptions{
		Name: p.Repo, By: cmp.Or(admin.WhoIn(ctx), p.Author), // a commit names whom it likes
		Source: registry.Source{Kind: registry.Push, Ref: strings.TrimPrefix(p.Ref, "refs/heads/"), Commit: p.Commit, Author: p.Author, Message: p.Subject},
	}
	if err := pushOptions(p.Options, &o); err != nil {
		return err
	}
	o.OnEvent = func(e admin.DeployEvent) {
		switch {
		case e.Step == admin.StepWarning:
			fmt.Fprintf(p.Output, "%s warning: %s\n", e.Function, e.Text)
		case e.Done:
			fmt.Fprintln(p.Output, strings.TrimSpace(fmt.Sprintf("%s %s %v %s", e.Function, e.Step, e.Took.Round(time.Millisecond), e.Text)))
		}
	}
	tree, remove, err := h.deployDir()
	if err != nil {
		return err
	}
	defer remove()
	if err := errors.Join(os.Remove(tree), os.Rename(p.Dir, tree)); err != nil {
		return fmt.Errorf("host: data directory: %w", err)
	}
	result, err := h.Deploy(ctx, tree, o)
	if err != nil {
		return pushError(err, tree)
	}
	served = admin.Served(result)
	for _, d := range result {
		line := fmt.Sprintf("%s %s serves: %s", d.Function, d.Version, d.Release)
		switch {
		case d.Release == "":
			line = fmt.Sprintf("%s %s is not released: X-Fn-Version: %s asks for it", d.Function, d.Version, d.Version)
		case d.Unchanged:
			line += " (unchanged)"
		}
		fmt.Fprintln(p.Output, strings.TrimSpace(line+"  "+d.URL))
	}
	return nil
}

// fetchGit puts the tree of a git repository into dir.
func (h *Namespace) fetchGit(ctx context.Context, dir string, o *DeployOptions) error {
	if h.git == nil {
		return wire.Errorf(wire.Unavailable, "this host fetches no git repositories: send the source itself")
	}
	start := time.Now()
	o.OnEvent(admin.DeployEvent{Step: admin.StepFetch})
	var notes strings.Builder
	f, err := h.git.Fetch(ctx, o.Source.URL, o.Source.Ref, dir, &notes)
	switch {
	case errors.Is(err, gitpush.ErrRejected):
		return wire.Errorf(wire.Unprocessed, "%v", err)
	case errors.Is(err, gitpush.ErrNoGit):
		return wire.Errorf(wire.Unavailable, "%v", err)
	case err != nil:
		return err
	}
	o.Source.URL, o.Source.Commit, o.Source.Author, o.Source.Message = f.URL, f.Commit, f.Author, f.Subject
	o.OnEvent(admin.DeployEvent{Step: admin.StepFetch, Done: true, Took: time.Since(start), Text: strings.TrimSpace(f.Commit + "\n" + notes.String())})
	return nil
}

// pushOptions fills in what `git push -o` says.
func pushOptions(list []string, o *DeployOptions) error {
	for _, option := range list {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "no-release":
			o.NoRelease = true
		case "dir":
			o.Dir = value
		case "canary":
			n, err := strconv.Atoi(strings.TrimSuffix(value, "%"))
			if err != nil || n < 1 || n > 99 {
				return wire.Errorf(wire.BadRequest, "push option %s: want a percentage, such as canary=10", option)
			}
			o.Canary = n
		default:
			return wire.Errorf(wire.BadRequest, "unknown push option %q: there are canary=PERCENT, no-release and dir=FOLDER", option)
		}
	}
	return nil
}

// pushError is the error of a push with the source's faults, as the pusher is to
// see them.
func pushError(err error, tree string) error {
	p := deployProblem(err, tree)
	failed := &failedPush{code: wire.Code(p.Code), text: p.Detail}
	if len(p.Diagnostics) == 0 {
		return failed
	}
	var b strings.Builder
	for _, d := range p.Diagnostics {
		fmt.Fprintf(&b, "%s\n%s", diagnosticLine(d), d.Excerpt)
	}
	b.WriteString("the source does not build; what serves is as it was")
	failed.text = b.String()
	return failed
}

// failedPush is an error whose text is the pusher's, and whose code is the audit's.
type failedPush struct {
	code wire.Code
	text string
}

func (f *failedPush) Error() string { return f.text }
func (f *failedPush) Unwrap() error { return &wire.Error{Code: f.code} }

func diagnosticLine(d admin.Diagnostic) string {
	switch {
	case d.File == "":
		return d.Message
	case d.Column == 0:
		return fmt.Sprintf("%s:%d: %s", d.File, d.Line, d.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
}
