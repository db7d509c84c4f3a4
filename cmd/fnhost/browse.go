package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Look at the events that streams hold", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.eventsListCommand(), a.eventsGetCommand())
	return cmd
}

func (a *app) eventsListCommand() *cobra.Command {
	var q admin.EventQuery
	cmd := &cobra.Command{
		Use: "ls [SUBJECT]", Aliases: []string{"list"}, Short: "List events, the newest last",
		Long: `List the events that streams hold on a subject, wildcards allowed, or all of them: the latest ones, or with --from the first
ones from there on. The host's own streams, of dead letters and schedules, and those of buckets are left out unless --stream
names one.`,
		Example: "  fnhost events ls\n  fnhost events ls 'orders.*' --from 2h\n  fnhost events ls --stream events --from 1200 --limit 10",
		Args:    between(0, 1, "SUBJECT"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := q
		q.Subject = strings.Join(args, "")
		if q.Limit < 1 {
			return usagef("--limit %d: want 1 to 10000", q.Limit)
		}
		var err error
		if q.From, err = parsePoint("--from", q.From); err != nil {
			return err
		}
		if q.To, err = parsePoint("--to", q.To); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.StoredEvents(cmd.Context(), q)
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		return a.printEvents(list, &q)
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Stream, "stream", "", "only of this stream")
	flags.StringVar(&q.From, "from", "", "from then on: a duration such as 2h, a time such as 2026-01-02T15:04:05Z, or a sequence number")
	flags.StringVar(&q.To, "to", "", "up to then, in the same way")
	flags.IntVar(&q.Limit, "limit", 50, "how many, at most 10000")
	onlyFlags(flags, "stream", "from", "to", "limit")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printEvents(list []admin.StoredEvent, q *admin.EventQuery) error {
	if len(list) == 0 {
		if !a.quiet {
			fmt.Fprintln(a.stderr, "no events")
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tSEQUENCE\tTIME\tSUBJECT\tSIZE\tTYPE\tDATA")
	for _, e := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", e.Stream, e.Sequence, e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Subject,
			cmp.Or(size(int64(e.Size)), "0 B"), orDash(e.Type), beginOf(e.Begin, 60))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if last := list[len(list)-1]; q.From != "" && len(list) == q.Limit && !a.quiet {
		fmt.Fprintf(a.stderr, "there may be more: --stream %s --from %d\n", last.Stream, last.Sequence+1)
	}
	return nil
}

// beginOf is the begin of a text, fit for a table and a terminal.
func beginOf(s string, most int) string {
	quoted := strconv.Quote(s)
	r := []rune(quoted[1 : len(quoted)-1])
	if len(r) > most {
		r = append(r[:most-1], '…')
	}
	return strings.ReplaceAll(string(r), `\"`, `"`)
}

// parsePoint returns a place in a stream as the API has it. A duration is one
// before now.
func parsePoint(flag, s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 64); err == nil || s == "" {
		return s, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d).UTC().Format(time.RFC3339Nano), nil
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		return "", usagef("%s %q: want a duration such as 2h, a time such as 2026-01-02T15:04:05Z, or a sequence number", flag, s)
	}
	return s, nil
}

func (a *app) eventsGetCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use: "get STREAM SEQUENCE", Short: "Print the data of an event",
		Example: "  fnhost events get events 1207 > order.json",
		Args:    between(2, 2, "STREAM SEQUENCE"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sequence, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return usagef("%q is no sequence number: `fnhost events ls` lists events", args[1])
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		e, err := c.StoredEvent(cmd.Context(), args[0], sequence)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(e)
		}
		if verbose {
			fmt.Fprintf(a.stderr, "%s  %s\n", e.Subject, e.Time.Format(time.RFC3339Nano))
			for _, key := range slices.Sorted(maps.Keys(e.Header)) {
				for _, value := range e.Header[key] {
					fmt.Fprintf(a.stderr, "%s: %s\n", key, value)
				}
			}
		}
		data := []byte(e.Data)
		if e.Base64 != "" {
			if data, err = base64.StdEncoding.DecodeString(e.Base64); err != nil {
				return err
			}
		}
		return a.printData(data)
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print subject, time and headers on standard error")
	onlyFlags(cmd.Flags(), "verbose")
	a.outputFlag(cmd, "data", "json")
	return cmd
}

// printData prints data as they are, on a terminal with a line end.
func (a *app) printData(data []byte) error {
	_, err := a.stdout.Write(data)
	if err == nil && isTerminal(a.stdout) && len(data) > 0 && data[len(data)-1] != '\n' {
		_, err = io.WriteString(a.stdout, "\n")
	}
	return err
}
