package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) runsCommand() *cobra.Command {
	var q admin.RunQuery
	cmd := &cobra.Command{
		Use: "runs [NAME]", Short: "Show what has become of asynchronous calls and of events",
		Long: `Show the runs of a function, the newest first: asynchronous calls, and attempts at events and schedules, of which those
that failed are kept, and some of those that went well.

An asynchronous call is one run, however often it is tried. Each attempt at an event is one of its own, done or failed,
and its ID begins with @: those are numbers of the host, for 'runs show', and cannot be chosen or canceled.`,
		Example: "  fnhost runs orders --state failed\n  fnhost runs show 3F2KQ0",
		Args:    between(0, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Function = strings.Join(args, "")
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Runs(cmd.Context(), q)
		if err == nil && len(list) == 0 {
			err = unknownFunction(cmd.Context(), c, q.Function)
		}
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		return a.printRuns(list)
	}
	cmd.Flags().StringVar(&q.State, "state", "", "only those that are queued, running, retrying, done, failed or canceled; an attempt at an event is done or failed")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "how many, at most 1000")
	onlyFlags(cmd.Flags(), "state", "limit")
	a.outputFlag(cmd, "table", "json")
	cmd.AddCommand(a.runsShowCommand(), a.runsCancelCommand(), a.runsSecretCommand())
	return cmd
}

func (a *app) printRuns(list []admin.Run) error {
	if len(list) == 0 {
		if !a.quiet {
			fmt.Fprintln(a.stderr, "no runs: `fnhost invoke NAME --async` makes one")
		}
		return nil
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tFUNCTION\tSTATE\tTRIGGER\tVERSION\tATTEMPTS\tAGE\tDURATION\tERROR")
	for _, r := range list {
		started := r.Started
		if started == nil {
			started = r.Queued
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.ID, runName(&r), r.State, r.Trigger, orDash(r.Version), r.Attempts, age(started),
			orDash(r.Duration), orDash(oneLine(r.Error)))
	}
	w.Flush()
	_, err := io.WriteString(a.stdout, cutLines(table.String(), columns(a.stdout)))
	return err
}

func runName(r *admin.Run) string {
	if r.Endpoint != "" {
		return r.Function + "/" + r.Endpoint
	}
	return r.Function
}

func (a *app) runsShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a run, with its input, output and logs", Args: between(1, 1, "ID"),
		Long: `Show a run, with its input and output as far as they are kept, and what was logged in its latest attempt.

The lines are those of functions.Log(ctx), which name the invocation; what the function wrote to stdout and stderr does not, and
is in 'fnhost logs' alone. The input of a call that is done or was canceled is not kept; that of one that failed
is, and that of an event as long as its stream has it.`}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		r, err := c.Run(cmd.Context(), args[0], 0)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(r)
		}
		return a.printRun(&r)
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// printRun shows a run, field by field.
func (a *app) printRun(r *admin.Run) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	when := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.Local().Format("2006-01-02 15:04:05.000")
	}
	status := ""
	if r.Status > 0 {
		status = fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	}
	input := ""
	if r.Stream != "" {
		input = fmt.Sprintf("%d in %s, on %s", r.Sequence, r.Stream, r.Subject)
	}
	for _, f := range []struct{ name, value string }{
		{"id", r.ID}, {"function", runName(r)}, {"version", r.Version}, {"state", r.State}, {"trigger", r.Trigger}, {"attempts", fmt.Sprint(r.Attempts)},
		{"queued", when(r.Queued)}, {"started", when(r.Started)}, {"next", when(r.Next)}, {"ended", when(r.Ended)}, {"duration", r.Duration},
		{"status", status}, {"error", r.Error}, {"callback", r.Callback}, {"message", input},
	} {
		if f.value != "" {
			fmt.Fprintf(w, "%s\t%s\n", f.name, f.value)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.printContent("input", r.Input, r.InputSize, r.InputSize > 0)
	a.printContent("output", r.Output, r.OutputSize, r.OutputSize > 0)
	if len(r.Logs) > 0 {
		fmt.Fprintln(a.stdout, "\nlogs")
		line := a.logLine()
		for _, rec := range r.Logs {
			if err := line(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) printContent(what string, c *admin.Content, size int64, was bool) {
	switch {
	case c == nil && was:
		fmt.Fprintf(a.stdout, "\n%s of %d bytes, which is not kept\n", what, size)
	case c == nil:
	case c.Base64 != "":
		fmt.Fprintf(a.stdout, "\n%s, in base64\n%s\n", what, c.Base64)
	default:
		fmt.Fprintf(a.stdout, "\n%s\n%s\n", what, strings.TrimSuffix(c.Text, "\n"))
	}
	if c != nil && c.Cut {
		fmt.Fprintln(a.stdout, "…")
	}
}

func (a *app) runsCancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Cancel asynchronous calls: those that wait never run, and the others are told to end",
		Args: between(1, 1000, "ID"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		for _, id := range args {
			if err := c.CancelRun(cmd.Context(), id); err != nil {
				return err
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "%s canceled\n", id)
			}
		}
		return nil
	}
	return cmd
}

func (a *app) runsSecretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret", Short: "Print the key that callbacks are signed with",
		Long: `Print the key that callbacks of the host are signed with. Their header X-Fn-Signature is t=SECONDS,v1=HEX: the HMAC-SHA256,
with this key, of SECONDS.FUNCTION.ID.STATUS.BODY, of which the headers X-Function-Name, X-Call-Id and X-Function-Status
are the middle three.`,
		Args: between(0, 0, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		secret, err := c.CallbackSecret(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(admin.CallbackKey{Secret: secret})
		}
		_, err = fmt.Fprintln(a.stdout, secret)
		return err
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// awaitRun returns a run, with its output, when it has ended. The run goes on where
// the waiting ends before.
func (a *app) awaitRun(ctx context.Context, c *admin.Client, id string) (admin.Run, error) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "run %s\n", id)
	}
	for {
		r, err := c.Run(ctx, id, 30*time.Second)
		if err != nil && !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
			fmt.Fprintf(a.stderr, "run %s goes on: `fnhost runs show %s` tells how\n", id, id)
		}
		if err != nil || r.Ended != nil {
			return r, err
		}
	}
}

// submit has the function run later; with --await it waits, and prints the answer as
// that of a call that is not asynchronous.
func (a *app) submit(ctx context.Context, c *admin.Client, f *invokeFlags, name string, header http.Header, body []byte) error {
	r, err := c.Submit(ctx, name, strings.ToUpper(f.method), f.path, header, bytes.NewReader(body), admin.AsyncOptions{ID: f.callID, Callback: f.callback})
	if err != nil {
		return badRequest(err)
	}
	if !f.await {
		if f.output == "json" {
			return a.printJSON(r)
		}
		if !a.quiet {
			fmt.Fprintf(a.stderr, "%s: `fnhost runs show %s` tells how it goes\n", r.State, r.ID)
		}
		_, err := fmt.Fprintln(a.stdout, r.ID)
		return err
	}
	if r, err = a.awaitRun(ctx, c, r.ID); err != nil {
		return err
	}
	if f.include {
		fmt.Fprintf(a.stderr, "run %s, %s, status %d, version %s, attempts %d\n", r.ID, r.State, r.Status, orDash(r.Version), r.Attempts)
	}
	switch {
	case r.Status == 0:
		return &wire.Error{Code: wire.Code(r.Code), Message: fmt.Sprintf("%s is %s: %s", name, r.State, orDash(r.Error))}
	case r.OutputDropped:
		return fmt.Errorf("the run %s is %s with status %d, but its output of %d bytes was too large to be kept", r.ID, r.State, r.Status, r.OutputSize)
	}
	return a.printAnswer(f, name, &admin.Result{ContentType: r.ContentType, Status: r.Status, Version: r.Version, Invocation: r.Invocation,
		Body: io.NopCloser(bytes.NewReader(r.Output.Bytes()))})
}
