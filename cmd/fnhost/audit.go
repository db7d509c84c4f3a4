package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) auditCommand() *cobra.Command {
	var q audit.Query
	var since string
	var verify bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who has changed what, or was refused",
		Long: `Show who has changed what over the management API and by pushes, or was refused, the oldest first: names, and never a
value, a body or a token. Records are kept for 90 days (serve --audit-days).

Each record holds the SHA-256 of the one before. --verify compares all that are kept, and fails if one was changed or
taken out. What it cannot see is that the newest ones are gone, or that all from some record on were made anew by
somebody who may write to the data directory: keep the hash that it prints elsewhere, and compare.`,
		Example: "  fnhost audit --since 24h --action functions\n  fnhost audit -f -o json\n  fnhost audit --verify",
		Args:    between(0, 0, ""),
	}
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "", "from then on: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	flags.StringVar(&q.Account, "account", "", "only what this account has asked for")
	flags.StringVar(&q.Action, "action", "", "only this: functions.release, or functions for all that begin so")
	flags.IntVar(&q.Limit, "limit", 1000, "only the latest N, at most 100000")
	flags.BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes, until interrupted")
	flags.BoolVar(&verify, "verify", false, "compare each record with what the next one says of it, and show none")
	onlyFlags(flags, "since", "account", "action", "limit", "follow", "verify")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if verify && (q.Follow || since != "" || q.Account != "" || q.Action != "") {
			return usagef("--verify is about all records: leave the other flags out")
		}
		if q.Limit < 1 {
			return usagef("--limit %d: want a number from 1 to 100000", q.Limit)
		}
		var err error
		if q.Since, err = parseSince(since); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if verify {
			return a.verifyAudit(cmd.Context(), c)
		}
		return a.printAudit(cmd.Context(), c, q)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) verifyAudit(ctx context.Context, c *admin.Client) error {
	v, err := c.VerifyAudit(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		if err := a.printJSON(v); err != nil {
			return err
		}
	}
	if v.Broken != 0 {
		return fmt.Errorf("the audit log was changed at record %d: %s; the %d before it are as they were: restore the log from a backup to see what was there", v.Broken, v.Reason, v.Records)
	}
	if a.output == "json" {
		return nil
	}
	if v.Records == 0 {
		fmt.Fprintln(a.stdout, "no records")
		return nil
	}
	fmt.Fprintf(a.stdout, "%d records, %d to %d, follow from one another since %s\n", v.Records, v.First, v.Last, v.Since.Local().Format(time.DateTime))
	if v.Missing > 0 {
		fmt.Fprintf(a.stdout, "%d more could not be stored when they were made: the host's log has them\n", v.Missing)
	}
	fmt.Fprintf(a.stdout, "sha256 of record %d: %s\n", v.Last, v.Hash)
	return nil
}

// printAudit shows records, as a table whose columns are as wide as they usually need
// to be when more may come.
func (a *app) printAudit(ctx context.Context, c *admin.Client, q audit.Query) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	n := 0
	row := func(r *audit.Record) error {
		line := strings.Join([]string{r.Time.Local().Format(time.DateTime), orDash(r.Account), r.Action, orDash(r.Resource), auditResult(r), orDash(r.Remote), orDash(oneLine(r.Detail))}, "\t")
		if r.Damaged {
			line = fmt.Sprintf("record %d is damaged: `fnhost audit --verify`", r.Sequence)
		}
		if q.Follow {
			_, err := fmt.Fprintln(a.stdout, strings.ReplaceAll(line, "\t", "  "))
			return err
		}
		if n++; n == 1 {
			fmt.Fprintln(w, "TIME\tACCOUNT\tACTION\tRESOURCE\tRESULT\tREMOTE\tDETAIL")
		}
		_, err := fmt.Fprintln(w, line)
		return err
	}
	err := c.Audit(ctx, q, func(r audit.Record) error {
		if a.output != "json" {
			return row(&r)
		}
		b, err := codec.Marshal(r)
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		}
		return err
	})
	if q.Follow && ctx.Err() == nil && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) {
		return fmt.Errorf("the host at %s has stopped: %w there any more", c.URL(), admin.ErrUnreachable)
	}
	if err == nil && n == 0 && a.output != "json" && !q.Follow && !a.quiet {
		fmt.Fprintln(a.stderr, "no records")
	}
	return errors.Join(err, w.Flush())
}

func auditResult(r *audit.Record) string {
	result := "ok"
	if !r.OK {
		result = r.Error
	}
	if r.Missing > 0 {
		result += fmt.Sprintf(" (%d before it are missing)", r.Missing)
	}
	return result
}
