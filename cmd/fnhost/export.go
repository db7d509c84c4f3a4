package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) exportCommand() *cobra.Command {
	return a.exportChange(&cobra.Command{
		Use: "export FROM TO", Short: "Let a namespace call a function of another one, or have what is published on a subject there",
		Long: `Let a namespace call a function of another one, or have what is published on a subject there. Nothing else of the one
can be reached from the other.

A function there calls it as functions.Call(ctx, "@FROM/NAME", …); who has access.functions in its function.yaml needs
"@FROM/NAME" there, too. What is published on the subject in FROM reaches the subscribers and streams in TO as well, and
not the other way.`,
		Example: "  fnhost namespace export acme globex --function orders\n  fnhost namespace export acme globex --subject 'news.>'",
	}, "exported", func(c *admin.Client, ctx context.Context, e admin.Export) (string, error) {
		exported, err := c.Export(ctx, e)
		if exported.Missing {
			return "the function is not there yet, and can be called when it is deployed", err
		}
		return "", err
	})
}

func (a *app) unexportCommand() *cobra.Command {
	return a.exportChange(&cobra.Command{Use: "unexport FROM TO", Short: "End an export, at once"}, "not exported any more", func(c *admin.Client, ctx context.Context, e admin.Export) (string, error) {
		return "", c.Unexport(ctx, e)
	})
}

// exportChange is a command that changes an export; change may return what there is to know of it.
func (a *app) exportChange(cmd *cobra.Command, done string, change func(*admin.Client, context.Context, admin.Export) (string, error)) *cobra.Command {
	var e admin.Export
	cmd.Args = between(2, 2, "FROM and TO")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (e.Function == "") == (e.Subject == "") {
			return usagef("an export is of a function or of a subject: name one, with --function or --subject")
		}
		e.From, e.To = args[0], args[1]
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		note, err := change(c, cmd.Context(), e)
		if err != nil {
			return badRequest(err)
		}
		a.confirm("%s: %s", e, done)
		if note != "" {
			a.confirm("%s", note)
		}
		return nil
	}
	cmd.Flags().StringVar(&e.Function, "function", "", "function, or endpoint of one, as orders/create")
	cmd.Flags().StringVar(&e.Subject, "subject", "", "subject, with or without wildcards, as 'news.>'")
	onlyFlags(cmd.Flags(), "function", "subject")
	return cmd
}

func (a *app) exportsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "exports", Short: "List what namespaces export to others", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Exports(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			a.confirm("no exports: namespaces reach nothing of each other")
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "FROM\tTO\tFUNCTION\tSUBJECT")
		for _, e := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.From, e.To, cmp.Or(e.Function, "-"), cmp.Or(e.Subject, "-"))
		}
		return w.Flush()
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}
