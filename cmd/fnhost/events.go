package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "Look at events that functions could not handle, and try them again", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.deadListCommand(), a.deadShowCommand(), a.deadRedriveCommand(), a.deadPurgeCommand())
	return cmd
}

func (a *app) deadListCommand() *cobra.Command {
	var q admin.DeadQuery
	cmd := &cobra.Command{
		Use: "ls [NAME]", Aliases: []string{"list"}, Short: "List dead letters, the oldest first",
		Args: between(0, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		q.Function = strings.Join(args, "")
		list, err := c.DeadLetters(cmd.Context(), q)
		if err == nil && len(list) == 0 {
			err = unknownFunction(cmd.Context(), c, q.Function)
		}
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 && !a.quiet {
			fmt.Fprintln(a.stderr, "no dead letters")
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tFUNCTION\tSUBJECT\tAGE\tATTEMPTS\tERROR")
		for _, l := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", l.ID, orDash(l.Function), l.Subject, age(&l.Died), l.Attempts, firstLine(l.Error))
		}
		if n := len(list); n == q.Limit && !a.quiet {
			fmt.Fprintf(a.stderr, "there may be more: --from %d\n", list[n-1].ID+1)
		}
		return w.Flush()
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "how many, at most 1000")
	cmd.Flags().StringVar(&q.Subject, "subject", "", "only of events on this subject, wildcards allowed")
	cmd.Flags().Uint64Var(&q.From, "from", 1, "the first ID")
	onlyFlags(cmd.Flags(), "limit", "subject", "from")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) deadShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a dead letter, with its data", Args: between(1, 1, "ID")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID(args[0])
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		l, err := c.DeadLetter(cmd.Context(), id)
		if err != nil {
			return err
		}
		if err := a.printJSON(l); err != nil || a.quiet {
			return err
		}
		_, err = fmt.Fprintf(a.stderr, "`fnhost dead redrive %d` runs %s on it once more; --version v2 tries that version\n", l.ID, l.Function)
		return err
	}
	return cmd
}

func parseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, usagef("%q is not the ID of a dead letter: `fnhost dead ls` lists them", s)
	}
	return id, nil
}

func (a *app) deadRedriveCommand() *cobra.Command {
	var version, function string
	cmd := &cobra.Command{
		Use: "redrive ID... | --function NAME", Short: "Run functions once more on events that they could not handle",
		Long: `Run the function of each dead letter once more, and remove the letter when that goes well. Others that the subject of the
event starts do not get it again.`,
		Example: "  fnhost dead redrive 7 8\n  fnhost dead redrive --function orders --version v4",
		Args:    between(0, 10_000, "ID"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		version, err := parseVersion("--version", version)
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		ids, err := chosenLetters(cmd.Context(), c, args, function)
		if err != nil {
			return err
		}
		failed, refused := 0, 0
		for _, id := range ids {
			if err := c.Redrive(cmd.Context(), id, version); err != nil {
				if cmd.Context().Err() != nil || errors.Is(err, admin.ErrUnreachable) {
					return err
				}
				if errors.Is(err, &wire.Error{Code: wire.Unprocessed}) {
					failed++
				} else {
					refused++
				}
				fmt.Fprintf(a.stderr, "%d: %v\n", id, err)
				continue
			}
			fmt.Fprintf(a.stdout, "%d handled\n", id)
		}
		switch {
		case failed > 0 && refused > 0:
			return fmt.Errorf("%d of %d failed again, and stay; %d could not be tried", failed, len(ids), refused)
		case failed > 0:
			return fmt.Errorf("%d of %d failed again, and stay", failed, len(ids))
		case refused > 0:
			return fmt.Errorf("%d of %d could not be tried", refused, len(ids))
		}
		if len(ids) != 1 && !a.quiet {
			fmt.Fprintf(a.stderr, "%d handled, none failed\n", len(ids))
		}
		return nil
	}
	cmd.Flags().StringVar(&version, "version", "", "version of the function to run, such as v4 (default what is released)")
	cmd.Flags().StringVar(&function, "function", "", "all dead letters of this function")
	onlyFlags(cmd.Flags(), "version", "function")
	return cmd
}

func (a *app) deadPurgeCommand() *cobra.Command {
	var function string
	cmd := &cobra.Command{Use: "purge ID... | --function NAME", Short: "Remove dead letters", Args: between(0, 10_000, "ID")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		ids, err := chosenLetters(cmd.Context(), c, args, function)
		if err != nil {
			return err
		}
		missing := 0
		for _, id := range ids {
			err := c.PurgeDeadLetter(cmd.Context(), id)
			if errors.Is(err, functions.ErrNotFound) {
				missing++
				fmt.Fprintf(a.stderr, "%d: %v\n", id, err)
			} else if err != nil {
				return err
			}
		}
		if removed := len(ids) - missing; !a.quiet && (removed > 0 || missing == 0) {
			fmt.Fprintf(a.stderr, "%d removed\n", removed)
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are not there: `fnhost dead ls` lists what is", missing, len(ids))
		}
		return nil
	}
	cmd.Flags().StringVar(&function, "function", "", "all dead letters of this function")
	onlyFlags(cmd.Flags(), "function")
	return cmd
}

// chosenLetters returns the letters that are named, or all of a function.
func chosenLetters(ctx context.Context, c *admin.Client, args []string, function string) ([]uint64, error) {
	if (len(args) > 0) == (function != "") {
		return nil, usagef("name dead letters by their IDs, or all of a function with --function")
	}
	var ids []uint64
	for _, arg := range args {
		id, err := parseID(arg)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if function == "" {
		return ids, nil
	}
	for q := (admin.DeadQuery{Function: function, Limit: 1000}); ; {
		list, err := c.DeadLetters(ctx, q)
		for _, l := range list {
			ids = append(ids, l.ID)
		}
		if err == nil && len(ids) == 0 {
			err = unknownFunction(ctx, c, function)
		}
		if err != nil || len(list) < q.Limit {
			return ids, err
		}
		q.From = ids[len(ids)-1] + 1
	}
}
