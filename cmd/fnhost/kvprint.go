package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
)

func (a *app) kvWatchCommand() *cobra.Command {
	var o kv.WatchOptions
	cmd := &cobra.Command{
		Use: "watch BUCKET", Short: "Print changes of keys as they come, until interrupted",
		Long: `Print changes of keys as they come, until interrupted: revision, what has happened (put, delete or expire), key and value.
With --initial they begin with the keys that are there, whose end is a line "ready" in -o json; with --from with the changes at
that revision and later ones that the bucket still has.`,
		Example: "  fnhost kv watch orders --glob 'order.*'\n  fnhost kv watch sessions --initial -o json",
		Args:    between(1, 1, "BUCKET"), ValidArgsFunction: a.completeBuckets(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := exclusive(cmd.Flags(), "initial", "from"); err != nil {
			return err
		}
		if cmd.Flags().Changed("from") && o.From == 0 {
			return usagef("--from 0: want a revision, from 1 on")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		last := uint64(0)
		err = c.WatchKeys(cmd.Context(), args[0], o, func(e admin.KeyEntry) error {
			last = max(last, e.Revision)
			return a.printChange(&e)
		})
		if cmd.Context().Err() == nil && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) {
			next := ""
			if last > 0 {
				next = fmt.Sprintf("; go on with --from %d", last+1)
			}
			return fmt.Errorf("the host at %s has stopped: %w there any more%s", c.URL(), admin.ErrUnreachable, next)
		}
		return badRequest(err)
	}
	flags := cmd.Flags()
	filterFlags(flags, &o.Filter)
	flags.BoolVar(&o.Initial, "initial", false, "begin with what is there")
	flags.Uint64Var(&o.From, "from", 0, "begin with the changes from this revision on")
	flags.BoolVar(&o.KeysOnly, "keys-only", false, "without values")
	onlyFlags(flags, "initial", "from", "keys-only")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printChange(e *admin.KeyEntry) error {
	if a.output == "json" {
		return a.printJSONLine(e)
	}
	if e.Op == kv.OpReady.String() {
		return nil
	}
	line := fmt.Sprintf("%d  %-6s  %s", e.Revision, e.Op, e.Key)
	if text := valueText(e); text != "-" {
		line += "  " + text
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

// keyPrinter prints entries: a table, or one object of JSON a line, or keys alone. A table is
// printed by parts, so that a long list is not held as a whole.
type keyPrinter struct {
	a      *app
	plain  bool
	header string
	table  *tabwriter.Writer
	rows   int
}

// row prints an entry, whose value comes last.
func (p *keyPrinter) row(e *admin.KeyEntry, columns string) error {
	if p.a.output == "json" {
		return p.a.printJSONLine(e)
	}
	if p.plain {
		_, err := fmt.Fprintln(p.a.stdout, e.Key)
		return err
	}
	if p.table == nil {
		p.table = tabwriter.NewWriter(p.a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(p.table, p.header)
	}
	if p.rows++; p.rows%1000 == 0 {
		p.table.Flush()
	}
	_, err := fmt.Fprintf(p.table, "%s\t%s\n", columns, valueText(e))
	return err
}

func (p *keyPrinter) flush() error {
	if p.table == nil {
		return nil
	}
	return p.table.Flush()
}

const shownValue = 80 // bytes of a value in a table

// valueText is a value in a line: its begin, or its size if it is no text.
func valueText(e *admin.KeyEntry) string {
	switch {
	case e.Base64 != "":
		return fmt.Sprintf("(%s of binary data)", size(int64(len(e.Data()))))
	case e.Value == nil:
		return "-"
	case *e.Value == "":
		return "(empty)"
	}
	text := *e.Value
	if len(text) > shownValue {
		text = strings.ToValidUTF8(text[:shownValue], "") + "…"
	}
	return strings.Map(func(r rune) rune { // it must neither end the line nor speak to the terminal
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// until says how long it is up to a time, "-" for never.
func until(t *time.Time) string {
	if t == nil {
		return "-"
	}
	left := time.Until(*t)
	if left <= 0 {
		return "now"
	}
	return "in " + left.Round(time.Second).String()
}
