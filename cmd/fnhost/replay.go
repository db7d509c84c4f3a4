package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) replayCommand() *cobra.Command {
	var req admin.ReplayRequest
	cmd := &cobra.Command{
		Use: "replay NAME[/ENDPOINT]", Short: "Run a function on events that were stored before, also a version that is not released",
		Long: `Run a function, as its event or kv trigger would, on the events that the stream still holds from a time on: all that were stored
when the command begins. A version that is not released can be tried so on what happened yesterday.

The trigger itself is not touched: its place in the stream stays, events that fail here are not tried again, and do not become
dead letters. The function sees functions.Event.Replayed. Interrupted, the command says where to go on.`,
		Example: "  fnhost replay orders --from 2h --dry-run\n  fnhost replay orders --from 24h --to-version v8\n  fnhost replay orders --from 1200 --to 1300 --at-once 8",
		Args:    between(1, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if req.From == "" {
			return usagef("--from is missing: from when on, such as 2h; --from 1 is all that the stream holds")
		}
		req := req
		req.Function, req.Endpoint, _ = strings.Cut(args[0], "/")
		if req.Limit < 0 || req.AtOnce < 1 || req.AtOnce > 1000 {
			return usagef("want --limit from 0, and --at-once from 1 to 1000")
		}
		var err error
		if req.Version, err = parseVersion("--to-version", req.Version); err != nil {
			return err
		}
		if req.From, err = parsePoint("--from", req.From); err != nil {
			return err
		}
		if req.To, err = parsePoint("--to", req.To); err != nil {
			return err
		}
		return a.replay(cmd.Context(), req)
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Subject, "subject", "", "subject of the event trigger, or a part of it, or bucket of the kv trigger (default that of the only one)")
	flags.StringVar(&req.From, "from", "", "from then on: a duration such as 2h, a time such as 2026-01-02T15:04:05Z, or a sequence number")
	flags.StringVar(&req.To, "to", "", "up to then, in the same way (default up to now)")
	flags.StringVar(&req.Version, "to-version", "", "version of the function to run, such as v7 (default what is released)")
	flags.IntVar(&req.Limit, "limit", 0, "how many events (default all)")
	flags.IntVar(&req.AtOnce, "at-once", 1, "how many events to handle at once, at most 1000; with 1 they come in their order")
	flags.BoolVar(&req.Dry, "dry-run", false, "only list the events")
	onlyFlags(flags, "subject", "from", "to", "to-version", "limit", "at-once", "dry-run")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// replayPrinter shows the progress of a replay.
type replayPrinter struct {
	a           *app
	dry         bool
	ran, failed int
	next        uint64
	said        time.Time
}

func (a *app) replay(ctx context.Context, req admin.ReplayRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if !req.Dry {
		a.sayServer()
	}
	p := &replayPrinter{a: a, dry: req.Dry, said: time.Now()}
	result, err := c.Replay(ctx, req, p.event)
	if err != nil {
		err = badRequest(err)
		if p.next > 0 {
			fmt.Fprintf(a.stderr, "stopped: %d ran, %d failed; what had begun goes to its end; go on with --from %d\n", p.ran, p.failed, p.next)
		}
		return err
	}
	if err := p.result(&req, &result); err != nil {
		return err
	}
	switch {
	case result.Stopped != "":
		return fmt.Errorf("the replay ended early: %s\ngo on with --from %d", result.Stopped, result.Next)
	case result.Failed > 0:
		return errors.New("some events failed; they are neither tried again nor dead letters")
	}
	return nil
}

func (p *replayPrinter) event(e admin.ReplayEvent) error {
	if e.Plan != nil {
		p.next = e.Plan.First
		if !p.a.quiet {
			fmt.Fprintf(p.a.stderr, "events on %s in stream %s, from %d to %d\n", e.Plan.Subject, e.Plan.Stream, e.Plan.First, e.Plan.Last)
		}
		return nil
	}
	p.ran, p.next = p.ran+1, e.Next
	if e.Error != "" {
		p.failed++
	}
	if time.Since(p.said) >= time.Second && !p.a.quiet && !p.dry {
		p.said = time.Now()
		fmt.Fprintf(p.a.stderr, "%d ran, %d failed, at %d\n", p.ran, p.failed, e.Sequence)
	}
	switch {
	case !p.dry && e.Error == "":
		return nil
	case p.a.output == "json":
		return p.a.printJSONLine(e)
	case p.dry:
		_, err := fmt.Fprintf(p.a.stdout, "%d  %s  %s  %s\n", e.Sequence, e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Subject, cmp.Or(size(int64(e.Size)), "0 B"))
		return err
	}
	_, err := fmt.Fprintf(p.a.stdout, "%d  %s  failed: %s\n", e.Sequence, e.Subject, firstLine(e.Error))
	return err
}

func (p *replayPrinter) result(req *admin.ReplayRequest, r *admin.ReplayResult) error {
	if p.a.output == "json" {
		return p.a.printJSONLine(r)
	}
	text := fmt.Sprintf("%d ran, %d ok, %d failed", r.Ran, r.OK, r.Failed)
	if req.Dry {
		text = fmt.Sprintf("%d would run", r.WouldRun)
	}
	_, err := fmt.Fprintln(p.a.stdout, text)
	return err
}

// printJSONLine prints one object of several, in a line.
func (a *app) printJSONLine(v any) error {
	b, err := codec.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}
