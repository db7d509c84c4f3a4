package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) listCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the functions", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Functions(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			fmt.Fprintln(a.stderr, "no functions yet: make one with `fnhost init DIR` in a watched folder")
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tSTATE\tVERSION\tAGE\tWORKERS\tSOURCE\tERROR")
		for _, f := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", f.Name, f.State, orDash(f.Version), age(f.Since), f.Workers.Workers, orDash(f.Dir), firstLine(f.Error))
		}
		return w.Flush()
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func age(t *time.Time) string {
	if t == nil {
		return "-"
	}
	d := time.Since(*t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func (a *app) printJSON(v any) error {
	b, err := codec.Marshal(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, out.String())
	return err
}

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "describe NAME", Short: "Describe a function and its endpoints", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFunctions}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		f, err := c.Function(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(f)
		}
		info, err := c.Info(cmd.Context())
		if err != nil {
			return err
		}
		a.printFunction(&f, info.HTTP)
		return nil
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printFunction(f *admin.Function, gateway string) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"name", f.Name}, {"about", firstLine(f.Doc)}, {"state", f.State}, {"version", f.Version}, {"age", age(f.Since)}, {"source", f.Dir},
		{"artifact", f.Artifact}, {"timeout", f.Timeout}, {"routes", strings.Join(f.Routes, ", ")},
		{"workers", fmt.Sprintf("%d, running %d, waiting %d, started %d, crashed %d", f.Workers.Workers, f.Workers.Running, f.Workers.Waiting, f.Workers.Started, f.Workers.Crashed)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	w.Flush()
	for _, e := range f.Endpoints {
		fmt.Fprintf(a.stdout, "\n%s%s  %s  (%s)\n", gateway, e.Path, e.Subject, e.Kind)
		if e.Doc != "" {
			fmt.Fprintf(a.stdout, "  %s\n", strings.ReplaceAll(e.Doc, "\n", "\n  "))
		}
		for _, side := range []struct {
			what string
			raw  json.RawMessage
		}{{"request", e.Request}, {"response", e.Response}} {
			if s := parseSchema(side.raw); s != nil {
				fmt.Fprintf(a.stdout, "  %s\n", side.what)
				printSchema(a.stdout, s, "    ")
			}
		}
	}
	if f.Error != "" {
		fmt.Fprintf(a.stdout, "\nthe latest source does not serve:\n%s\n", f.Error)
	}
}

// completeFunctions offers the names that the host knows.
func (a *app) completeFunctions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := c.Functions(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
