package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) sendCommand() *cobra.Command {
	var data, id string
	var headers []string
	cmd := &cobra.Command{
		Use: "send SUBJECT", Short: "Send a message, such as an event",
		Long: `Send a message on a subject. If a stream takes the subject, as where a function's event trigger names it, the message is
stored when the command ends, and its place is printed. Otherwise it reaches those who listen at that moment.`,
		Example: "  fnhost send orders.created -d '{\"id\":7}'\n  fnhost send uploads.picture -d @picture.png --id upload-1",
		Args:    between(1, 1, "SUBJECT"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		header := make(map[string][]string)
		for _, h := range headers {
			key, value, ok := strings.Cut(h, ":")
			if !ok {
				return usagef("-H %q: want NAME: VALUE", h)
			}
			header[strings.TrimSpace(key)] = append(header[strings.TrimSpace(key)], strings.TrimSpace(value))
		}
		if id != "" {
			header["Nats-Msg-Id"] = []string{id}
		}
		body, err := a.message(data)
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		s, err := c.Publish(cmd.Context(), args[0], header, body)
		if err != nil {
			return err
		}
		return a.printStored(s)
	}
	flags := cmd.Flags()
	flags.StringVarP(&data, "data", "d", "", "what to send: text, @FILE, or @- for standard input")
	flags.StringVar(&id, "id", "", "id of the message: a stream takes one of an id once")
	flags.StringArrayVarP(&headers, "header", "H", nil, "header of the message, as NAME: VALUE; repeatable")
	onlyFlags(flags, "data", "id", "header")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// message reads what -d names.
func (a *app) message(data string) (io.Reader, error) {
	switch file, ok := strings.CutPrefix(data, "@"); {
	case data == "@-":
		return a.stdin, nil
	case ok:
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("-d %s: %w", data, err)
		}
		return bytes.NewReader(b), nil
	}
	return strings.NewReader(data), nil
}

func (a *app) printStored(s admin.Receipt) error {
	if a.output == "json" {
		return a.printJSON(s)
	}
	text := fmt.Sprintf("stored in %s as %d", s.Stream, s.Sequence)
	switch {
	case s.Stream == "":
		text = "sent to who listens; no stream takes this subject"
	case s.Duplicate:
		text += " before"
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

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
		if err != nil {
			return err
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
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", l.ID, l.Function, l.Subject, age(&l.Died), l.Attempts, firstLine(l.Error))
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
		c, err := a.client()
		if err != nil {
			return err
		}
		ids, err := chosenLetters(cmd.Context(), c, args, function)
		if err != nil {
			return err
		}
		failed := 0
		for _, id := range ids {
			if err := c.Redrive(cmd.Context(), id, version); err != nil {
				if cmd.Context().Err() != nil || errors.Is(err, admin.ErrUnreachable) {
					return err
				}
				failed++
				fmt.Fprintf(a.stderr, "%d: %v\n", id, err)
				continue
			}
			fmt.Fprintf(a.stdout, "%d handled\n", id)
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d failed again, and stay", failed, len(ids))
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
		for _, id := range ids {
			if err := c.PurgeDeadLetter(cmd.Context(), id); err != nil {
				return err
			}
		}
		if !a.quiet {
			fmt.Fprintf(a.stderr, "%d removed\n", len(ids))
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
		if err != nil || len(list) < q.Limit {
			return ids, err
		}
		q.From = ids[len(ids)-1] + 1
	}
}
