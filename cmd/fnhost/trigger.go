package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) triggerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "trigger", Short: "Look at event and kv triggers and schedules, and pause them", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.triggerStatusCommand(), a.triggerPauseCommand(), a.triggerResumeCommand())
	return cmd
}

func (a *app) triggerStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status [NAME]", Short: "Show what event and kv triggers, schedules and subscriptions have to do, and what hinders them",
		Args: between(0, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Triggers(cmd.Context())
		if err != nil {
			return err
		}
		if len(args) > 0 {
			list = slices.DeleteFunc(list, func(t admin.EventTrigger) bool { return t.Function != args[0] })
			if len(list) == 0 {
				if err := unknownFunction(cmd.Context(), c, args[0]); err != nil {
					return err
				}
			}
		}
		return a.printTriggers(list)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printTriggers(list []admin.EventTrigger) error {
	if a.output == "json" {
		return a.printJSON(list)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tTRIGGER\tSTREAM\tWAITING\tIN FLIGHT\tRETRIED\tOLDEST\tSTATE")
	for _, t := range list {
		name, what, oldest := t.Function, t.Subject+t.Schedule, "-"
		if t.Endpoint != "" {
			name += "/" + t.Endpoint
		}
		if t.Oldest != nil {
			oldest = age(t.Oldest)
		}
		switch t.Kind {
		case "subscribe":
			what += " (subscribe)"
		case "kv":
			what = t.Bucket + "/" + t.Keys + " (kv)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", name, what, orDash(t.Stream), t.Pending, t.InFlight, t.Retried, oldest, triggerState(&t))
	}
	return w.Flush()
}

// triggerState says what hinders a trigger, and what it does next.
func triggerState(t *admin.EventTrigger) string {
	var parts []string
	switch {
	case t.Error != "":
		parts = append(parts, firstLine(t.Error))
	case t.PausedUntil != nil:
		parts = append(parts, "paused until "+t.PausedUntil.Local().Format(time.DateTime))
	case t.Paused:
		parts = append(parts, "paused")
	case t.Next != nil:
		parts = append(parts, "next "+t.Next.Local().Format(time.DateTime))
	}
	if t.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", t.Skipped))
	}
	if t.LastError != "" && !t.Recovered {
		parts = append(parts, fmt.Sprintf("failed %s ago: %s", age(t.LastFailed), firstLine(t.LastError)))
	}
	return orDash(strings.Join(parts, "; "))
}

func (a *app) triggerPauseCommand() *cobra.Command {
	var duration time.Duration
	cmd := &cobra.Command{
		Use: "pause NAME [SUBJECT|BUCKET]", Short: "Have no event of a function begin until 'trigger resume'",
		Long: `Have no event begin of a function's trigger on a subject, or of a schedule such as "every 1h", of a bucket such as sessions
or "sessions/user.**", or of all of them, until 'fnhost trigger resume'. What is in progress goes on, and events that come meanwhile wait in their stream, as long as that
keeps them. Of a schedule's runs the latest one waits, and is made up for on resume. All nodes keep to it, and hosts that
start anew. A bucket keeps its latest values, and deletes and expiries for five minutes. Subscriptions cannot be paused, since their messages are stored nowhere.`,
		Example: "  fnhost trigger pause orders\n  fnhost trigger pause orders orders.created --for 1h",
		Args:    between(1, 2, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var until time.Time
		if cmd.Flags().Changed("for") {
			if duration <= 0 {
				return usagef("--for %v: want a duration such as 1h", duration)
			}
			until = time.Now().Add(duration)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.PauseTrigger(cmd.Context(), args[0], strings.Join(args[1:], ""), until)
		if err != nil {
			return err
		}
		return a.printTriggers(list)
	}
	cmd.Flags().DurationVar(&duration, "for", 0, "resume by itself after this time, such as 1h (default until 'trigger resume')")
	onlyFlags(cmd.Flags(), "for")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) triggerResumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume NAME [SUBJECT|BUCKET]", Short: "End a pause: events that wait begin, and one run of a schedule",
		Args: between(1, 2, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.ResumeTrigger(cmd.Context(), args[0], strings.Join(args[1:], ""))
		if err != nil {
			return err
		}
		return a.printTriggers(list)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}
