package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/worker"
	"github.com/fnhost/fnhost/trigger/codec"
)

func (a *app) listCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the functions", Args: between(0, 0, "")}
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
		return a.printList(list)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printList(list []admin.Function) error {
	if len(list) == 0 {
		if !a.quiet {
			fmt.Fprintln(a.stderr, "no functions yet: `fnhost init DIR` makes one, in a watched folder")
		}
		return nil
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSERVES\tAGE\tWORKERS\tSOURCE\tERROR")
	for _, f := range list {
		source := f.Kind
		if f.Dir != "" {
			source = relative(f.Dir)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", f.Name, f.State, orDash(partsText(f.Release)), age(f.Since), f.Workers.Workers, source, shortError(&f))
	}
	w.Flush()
	_, err := io.WriteString(a.stdout, cutLines(table.String(), columns(a.stdout)))
	return err
}

// cutLines cuts lines to a width; 0 is none.
func cutLines(text string, width int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if runes := []rune(line); len(runes) > width+1 { // the newline is no column
			line = string(runes[:width-1]) + "…\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// shortError is why the latest source does not serve, in a line.
func shortError(f *admin.Function) string {
	if len(f.Diagnostics) == 0 {
		return orDash(oneLine(worker.CutOutput(f.Error)))
	}
	text := oneLine(diagnosticOf(f.Diagnostics[0]))
	if n := len(f.Diagnostics) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
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

// printJSON prints what the management API says, for people and programs.
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
