package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/admin"
)

// deployFlags are the flags of deploy.
type deployFlags struct {
	canary    string
	noRelease bool
	wait      bool
	dryRun    bool
	name      string
	cancel    string
	follow    string
}

func (a *app) deployCommand() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use: "deploy [DIR | URL[#REF]]", Short: "Deploy functions to a host",
		Long: `Deploy the function in a folder, or all functions in it, to a host.

The source is packed, but for what .gitignore and .fnhostignore name, and sent. The host builds it, starts it, and only
then lets the new version serve, without a request lost; whatever fails leaves everything as it was. Source that has not
changed makes no new version. From the URL of a git repository the host fetches the source itself.

A deploy goes on when this command is interrupted; --follow shows it again, and --cancel ends it.`,
		Example: "  fnhost deploy\n  fnhost deploy functions/hello --canary 10%\n  fnhost deploy https://git.example.com/team/functions.git#main",
		Args:    between(0, 1, "DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			dir = args[0]
		}
		if err := cmp.Or(exclusive(cmd.Flags(), "canary", "no-release"), exclusive(cmd.Flags(), "cancel", "follow", "dry-run", "no-wait")); err != nil {
			return err
		}
		return a.deploy(cmd.Context(), dir, &f)
	}
	flags := cmd.Flags()
	flags.StringVar(&f.canary, "canary", "", "percentage of the invocations that the new version gets, such as 10%; the one that serves keeps the rest")
	flags.BoolVar(&f.noRelease, "no-release", false, "only make the version: requests get it by asking for it")
	flags.BoolVar(&f.wait, "wait", true, "return when the new version serves; --wait=false when the source is sent")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would be sent")
	flags.StringVar(&f.name, "name", "", "name of the function, if its manifest has none (default that of the folder)")
	flags.StringVar(&f.cancel, "cancel", "", "end the deploy of this ID")
	flags.StringVar(&f.follow, "follow", "", "show the deploy of this ID")
	onlyFlags(flags, "canary", "no-release", "wait", "dry-run", "name", "cancel", "follow")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) deploy(ctx context.Context, dir string, f *deployFlags) error {
	req := admin.DeployRequest{ID: strings.ToLower(rand.Text()[:16]), NoRelease: f.noRelease, Name: f.name, By: whoami()}
	var err error
	if req.Canary, err = parsePercent(f.canary); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	show := &deployPrinter{a: a, p: a.painter(a.stderr)}
	if !f.dryRun {
		a.sayServer()
	}
	switch {
	case f.cancel != "":
		return c.CancelDeploy(ctx, f.cancel)
	case f.follow != "":
		result, err := c.FollowDeploy(ctx, f.follow, show.event)
		return a.deployed(result, err, f.follow, "")
	}
	var body *packed
	if strings.Contains(dir, "://") {
		req.URL, req.Ref, _ = strings.Cut(dir, "#")
	} else {
		if body, err = pack(ctx, dir); err != nil {
			return err
		}
		defer body.close()
		show.sending(body, f.dryRun)
		if f.dryRun {
			return nil
		}
		req.Dir = body.dir
		if req.Name == "" {
			req.Name = functionName(dir)
		}
		gitState(ctx, dir, &req)
	}
	if !f.wait {
		return a.deployWithoutWaiting(ctx, c, req, body)
	}
	result, err := sendDeploy(ctx, c, req, body, show.event)
	tree := ""
	if body != nil {
		tree = body.tree
	}
	return a.deployed(result, err, req.ID, tree)
}

// parsePercent parses 10% or 10; "" is 0.
func parsePercent(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 1 || n > 99 {
		return 0, usagef("--canary %s: want a percentage from 1%% to 99%%", s)
	}
	return n, nil
}

// whoami says who deploys.
func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

// tries is how often a deploy is sent, if the host goes away: under its ID the
// host knows it again.
const tries = 4

func sendDeploy(ctx context.Context, c *admin.Client, req admin.DeployRequest, body *packed, event func(admin.DeployEvent)) (result []admin.Deployed, err error) {
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(try) * 500 * time.Millisecond):
			}
		}
		var r io.Reader
		if body != nil {
			if _, err := body.file.Seek(0, io.SeekStart); err != nil {
				return nil, err
			}
			r = io.NopCloser(body.file)
		}
		result, err = c.Deploy(ctx, req, r, event)
		if ctx.Err() != nil || !errors.Is(err, admin.ErrBrokenOff) && (try == 0 || !errors.Is(err, admin.ErrUnreachable)) {
			return result, err
		}
	}
	return result, err
}

// errSent ends the following of a deploy that is not waited for.
var errSent = errors.New("sent")

func (a *app) deployWithoutWaiting(ctx context.Context, c *admin.Client, req admin.DeployRequest, body *packed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, err := sendDeploy(ctx, c, req, body, func(e admin.DeployEvent) {
		if !e.Last() {
			cancel(errSent) // the host has all it needs
		}
	})
	if err != nil && context.Cause(ctx) != errSent {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, req.ID)
	return err
}

// deployed shows what became of a deploy. The files of tree, if it is known, lie
// on this machine.
func (a *app) deployed(result []admin.Deployed, err error, id, tree string) error {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(a.stderr, "the deploy goes on: `fnhost deploy --follow %s` shows it, and --cancel ends it\n", id)
		return err
	}
	var problem *admin.Problem
	if errors.As(err, &problem) && len(problem.Diagnostics) > 0 {
		p := a.painter(a.stderr)
		for _, d := range problem.Diagnostics {
			if tree != "" && d.File != "" {
				d.File = relative(filepath.Join(tree, filepath.FromSlash(d.File)))
			}
			fmt.Fprintf(a.stderr, "%s\n%s", p.paint(bold, diagnosticOf(d)), p.paint(dim, d.Excerpt))
		}
		return fmt.Errorf("the source does not build; what serves is as it was")
	}
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(result)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, d := range result {
		what := "serves: " + d.Release
		switch {
		case d.Release == "":
			what = "not released; X-Fn-Version: " + d.Version + " asks for it"
		case d.Unchanged:
			what = "unchanged; " + what
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\n", d.Function, d.Version, orDash(d.URL), what, round(d.Took))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.sayWhoMayCall(result)
	return nil
}

// sayWhoMayCall says how to call a function over HTTP that lets nobody yet.
func (a *app) sayWhoMayCall(result []admin.Deployed) {
	at := slices.IndexFunc(result, func(d admin.Deployed) bool { return d.Asks && d.URL != "" })
	if at < 0 || a.quiet {
		return
	}
	in := ""
	if a.namespace != "" && a.namespace != admin.DefaultNamespace { // or the command would be about all
		in = " -n " + a.namespace
	}
	d, p := &result[at], a.painter(a.stderr)
	for _, line := range []string{
		"this host asks who comes: " + `curl -H "Authorization: Bearer TOKEN" ` + d.URL + ", with one of `fnhost token create" + in + "` (the scope invoker is enough)",
		"anybody may call it with public: true in its " + manifest.FileName + ", or after `fnhost rule add function:" + d.Function + " --scope public" + in + "`",
	} {
		fmt.Fprintln(a.stderr, p.paint(dim, line))
	}
}

// deployPrinter shows the progress of a deploy.
type deployPrinter struct {
	a *app
	p painter
}

func (d *deployPrinter) sending(body *packed, all bool) {
	if all {
		for _, e := range body.summary.Entries {
			fmt.Fprintf(d.a.stdout, "%s\t%s\n", e.Path, cmp.Or(size(e.Size), "0 B"))
		}
		for _, o := range body.summary.LeftOut {
			fmt.Fprintf(d.a.stderr, "%s %s (%s)\n", d.p.paint(dim, "left out"), o.Path, o.Rule)
		}
	}
	if d.a.quiet {
		return
	}
	var names []string
	for _, f := range body.found {
		names = append(names, f.Name)
	}
	if len(names) == 1 {
		names = nil
	}
	verb, files := "sending", fmt.Sprintf("%d files", len(body.summary.Entries))
	if all {
		verb = "would send"
	}
	if len(body.summary.Entries) == 1 {
		files = "1 file"
	}
	text := fmt.Sprintf("%s %s, %s", verb, files, cmp.Or(size(body.summary.Bytes), "0 B"))
	if n := len(body.summary.LeftOut); n > 0 && all {
		text += fmt.Sprintf(" (%d left out by rules)", n)
	} else if n > 0 {
		text += fmt.Sprintf(" (%d left out by rules; --dry-run lists all)", n)
	}
	if len(names) > 0 {
		text += ": " + strings.Join(names, ", ")
	}
	fmt.Fprintln(d.a.stderr, d.p.paint(dim, text))
}

func (d *deployPrinter) event(e admin.DeployEvent) {
	if d.a.quiet || e.Last() {
		return
	}
	head := ""
	if e.Function != "" {
		head = d.p.name(e.Function, e.Function) + " "
	}
	switch {
	case e.Step == admin.StepWarning:
		fmt.Fprintf(d.a.stderr, "%s%s: %s\n", head, d.p.paint(yellow, e.Step), e.Text)
	case e.Done:
		fmt.Fprintf(d.a.stderr, "%s%s %s\n", head, e.Step, d.p.paint(dim, strings.TrimSpace(fmt.Sprintf("%s %s", tookText(e.Took), e.Text))))
	case e.Text != "":
		fmt.Fprintf(d.a.stderr, "%s%s %s\n", head, e.Step, e.Text)
	case isTerminal(d.a.stderr):
		fmt.Fprintf(d.a.stderr, "%s%s %s\r", head, e.Step, d.p.paint(dim, "…"))
	}
}
