package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) logsCommand() *cobra.Command {
	var q logs.Query
	var since, tail string
	cmd := &cobra.Command{
		Use:               "logs [NAME]",
		Short:             "Show what functions wrote and logged",
		Example:           "  fnhost logs hello -f\n  fnhost logs --since 10m --tail 100",
		Args:              between(0, 1, "NAME"),
		ValidArgsFunction: a.completeFunctions,
	}
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes, until interrupted")
	cmd.Flags().StringVar(&q.Invocation, "invocation", "", "only what belongs to the invocation of this ID (header X-Fn-Invocation of an answer)")
	cmd.Flags().StringVar(&since, "since", "", "from then on: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&tail, "tail", "all", "only the latest N records")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			q.Function = args[0]
		}
		var err error
		if q.Since, err = parseSince(since); err != nil {
			return err
		}
		if q.Tail, err = parseTail(tail); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		err = c.Logs(cmd.Context(), q, a.logLine())
		if q.Follow && cmd.Context().Err() == nil && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) {
			return fmt.Errorf("the host at %s has stopped: %w there any more", c.URL(), admin.ErrUnreachable)
		}
		return err
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// logLine returns what prints a record.
func (a *app) logLine() func(logs.Record) error {
	p := a.painter(a.stdout)
	return func(r logs.Record) error {
		if a.output != "json" {
			_, err := fmt.Fprintln(a.stdout, recordText(p, &r))
			return err
		}
		b, err := codec.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		return err
	}
}

func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("--since %q: want a duration such as 10m, or a time such as 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}

// parseTail returns N as [logs.Query] has it: 0 for all, negative for none.
func parseTail(s string) (int, error) {
	if s == "all" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, usagef("--tail %q: want a number, or all", s)
	}
	if n == 0 {
		return -1, nil
	}
	return n, nil
}
