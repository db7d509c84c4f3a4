package main

import (
	"encoding/json"
	"fmt"
	"go/doc"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe NAME", Short: "Describe a function and its endpoints",
		Args: between(1, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
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
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printFunction(f *admin.Function, gateway string) {
	source := ""
	if f.Dir != "" {
		source = relative(f.Dir)
	}
	timeout := f.Timeout
	if timeout == "0s" {
		timeout = "none"
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"name", f.Name}, {"about", synopsis(f.Doc)}, {"kind", f.Kind}, {"state", f.State}, {"serves", partsText(f.Release)}, {"age", age(f.Since)},
		{"source", source}, {"artifact", f.Artifact}, {"size", size(f.Size)}, {"timeout", timeout},
		{"network", f.Network}, {"walls", strings.Join(f.Walls, ", ")},
		{"routes", strings.Join(f.Routes, ", ")},
		{"workers", fmt.Sprintf("%d (%d started, %d crashed)", f.Workers.Workers, f.Workers.Started, f.Workers.Crashed)},
		{"running", fmt.Sprintf("%d, and %d waiting", f.Workers.Running, f.Workers.Waiting)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	w.Flush()
	for _, e := range f.Endpoints {
		a.printEndpoint(&e, gateway)
	}
	a.printFault(f)
}

func (a *app) printEndpoint(e *admin.Endpoint, gateway string) {
	p := a.painter(a.stdout)
	fmt.Fprintf(a.stdout, "\n%s  %s  (%s)\n", p.paint(bold, gateway+e.Path), e.Subject, e.Kind)
	if e.Doc != "" {
		fmt.Fprintf(a.stdout, "  %s\n", strings.ReplaceAll(strings.TrimSpace(e.Doc), "\n", "\n  "))
	}
	for _, side := range []struct {
		what string
		raw  json.RawMessage
	}{{"request", e.Request}, {"response", e.Response}} {
		if s := parseSchema(side.raw); s != nil {
			fmt.Fprintf(a.stdout, "  %s%s\n", p.paint(dim, side.what), remark(s.Schema))
			printSchema(a.stdout, s.Schema, side.what == "request", "    ")
		}
	}
}

// printFault prints why the latest source does not serve.
func (a *app) printFault(f *admin.Function) {
	if f.Error == "" {
		return
	}
	p := a.painter(a.stdout)
	fmt.Fprintf(a.stdout, "\n%s\n", p.paint(red, "the latest source does not serve: "+keeps(f.Version)))
	if len(f.Diagnostics) == 0 {
		fmt.Fprintln(a.stdout, f.Error)
	}
	for _, d := range f.Diagnostics {
		fmt.Fprintf(a.stdout, "%s\n%s", diagnosticOf(d), d.Excerpt)
	}
}

func diagnosticOf(d admin.Diagnostic) string { return diagnosticText(builder.Diagnostic(d)) }

// synopsis is the first sentence of a comment.
func synopsis(text string) string { return new(doc.Package).Synopsis(text) }

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
