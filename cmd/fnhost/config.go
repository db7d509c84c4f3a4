package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Get and set the configuration that functions read while they run", Args: unknownSubcommand, RunE: help,
		Long: `Get and set the configuration that functions read while they run (functions.Config in Go).

What a function reads is merged of layers, the later ones winning: the defaults in its function.yaml, what is set for
the namespace (which is what these commands change), for the function (--function), and for one version of it (--version).
Values are at paths such as limits.rate. A change reaches running workers at once; one that does not fit the schema
of a function that serves is refused.`,
		Example: `  fnhost config set limits.rate 20
  fnhost config set beta true --function shop
  fnhost config get --function shop --effective`,
	}
	cmd.AddCommand(a.configGetCommand(), a.configSetCommand(), a.configRemoveCommand(), a.configDiffCommand(), a.configHistoryCommand(), a.configRollbackCommand())
	return cmd
}

// layerFlags gives a command the flags that name a layer.
func (a *app) layerFlags(cmd *cobra.Command) func() (admin.ConfigLayer, error) {
	var l admin.ConfigLayer
	cmd.Flags().StringVar(&l.Function, "function", "", "that of this function, instead of the namespace")
	cmd.Flags().StringVar(&l.Version, "version", "", "that of this version of the function")
	onlyFlags(cmd.Flags(), "function", "version")
	cmd.RegisterFlagCompletionFunc("function", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return a.completeFunctions(cmd, nil, typed)
	})
	return func() (admin.ConfigLayer, error) {
		if l.Version != "" && l.Function == "" {
			return l, usagef("--version %s: of which function? Name it with --function", l.Version)
		}
		version, err := parseVersion("--version", l.Version)
		return admin.ConfigLayer{Function: l.Function, Version: version}, err
	}
}

// withLayer has a command do something with a layer of a host.
func (a *app) withLayer(cmd *cobra.Command, do func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error) {
	layer := a.layerFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := layer()
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		return badRequest(do(cmd.Context(), c, l, args))
	}
}

func (a *app) configGetCommand() *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use: "get [PATH]", Short: "Show what is set, or what a function reads",
		Example: "  fnhost config get\n  fnhost config get limits.rate --function shop\n  fnhost config get --function shop --effective",
		Args:    between(0, 1, "PATH"),
	}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error {
		path := strings.Join(args, "")
		if effective {
			return a.getEffective(ctx, c, l, path)
		}
		v, err := c.Config(ctx, l)
		if err != nil {
			return err
		}
		if a.output == "json" && path == "" {
			return a.printJSON(v)
		}
		return a.printValue(v.Values, path, "in the "+v.Layer+": what functions read beside it, `fnhost config get --function NAME --effective` shows")
	})
	cmd.Flags().BoolVar(&effective, "effective", false, "show what the function reads, and from which layer each value comes")
	onlyFlags(cmd.Flags(), "effective")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// getEffective shows what a function reads.
func (a *app) getEffective(ctx context.Context, c *admin.Client, l admin.ConfigLayer, path string) error {
	if l.Function == "" {
		return usagef("--effective: of which function? Name it with --function")
	}
	e, err := c.EffectiveConfig(ctx, l)
	if err != nil {
		return err
	}
	if a.output == "json" && path == "" {
		return a.printJSON(e)
	}
	if a.output == "json" {
		return a.printValue(e.Values, path, "in what "+l.Function+" reads")
	}
	doc, err := config.ParseObject(e.Values)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PATH\tVALUE\tFROM")
	shown := 0
	for _, leaf := range config.Leaves(doc) {
		if path == "" || leaf.Path == path || strings.HasPrefix(leaf.Path, path+".") {
			fmt.Fprintf(w, "%s\t%s\t%s\n", leaf.Path, config.Short(leaf.Value), e.From[leaf.Path])
			shown++
		}
	}
	if shown == 0 && path != "" {
		return notSet(doc, path, "in what "+l.Function+" reads")
	}
	if err := w.Flush(); err != nil || a.quiet {
		return err
	}
	if e.Version == "" {
		fmt.Fprintf(a.stderr, "there is no function %s: it would read this, and its own defaults\n", l.Function)
	}
	if e.Partial {
		fmt.Fprintln(a.stderr, "what access.config in its function.yaml does not list is left out")
	}
	if e.Misfit != "" {
		fmt.Fprintf(a.stderr, "this does not fit its schema: %s\n", e.Misfit)
	}
	return nil
}

// notSet is the error of a path at which nothing is.
func notSet(doc map[string]any, path, where string) error {
	var have []string
	for _, leaf := range config.Leaves(doc) {
		have = append(have, leaf.Path)
	}
	return fmt.Errorf("nothing is set at %q%s %s", path, nearest.DidYouMean(path, have), where)
}

// printValue shows what is at a path: text as it is, all else as JSON.
func (a *app) printValue(values json.RawMessage, path, where string) error {
	doc, err := config.ParseObject(values)
	if err != nil {
		return err
	}
	v, err := config.Get(doc, path)
	if err != nil {
		return notSet(doc, path, where)
	}
	if text, ok := v.(string); ok && a.output != "json" {
		_, err := fmt.Fprintln(a.stdout, text)
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, config.Marshal(v), "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, out.String())
	return err
}

// changed shows what has come of a change.
func (a *app) changed(ctx context.Context, c *admin.Client, l admin.ConfigLayer, v admin.Config) error {
	if a.output == "json" {
		return a.printJSON(v)
	}
	if a.quiet {
		return nil
	}
	fmt.Fprintf(a.stderr, "%s: %s (revision %d)\n", v.Layer, v.Change, v.Revision)
	if v.Note != "" {
		fmt.Fprintln(a.stderr, v.Note)
	}
	if err := unknownFunction(ctx, c, l.Function); err != nil {
		fmt.Fprintf(a.stderr, "%v: it is for when there is one\n", err)
	}
	return nil
}

func (a *app) configSetCommand() *cobra.Command {
	var text bool
	cmd := &cobra.Command{
		Use: "set PATH VALUE", Short: "Set a value",
		Long: `Set a value. VALUE is JSON, such as 20, true, null or {"rate": 20}; what is no JSON, and does not begin with { or [,
is taken as text, and with --string everything is. A number below 0 stands behind --, as in config set -- rate -5. null takes away what earlier layers have at the path. The path "" is the whole layer.`,
		Example: "  fnhost config set limits.rate 20\n  fnhost config set region eu --function shop\n  fnhost config set zip 01067 --string",
		Args:    between(2, 2, "PATH VALUE"),
	}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error {
		value := json.RawMessage(args[1])
		if !text && !json.Valid(value) && strings.ContainsAny(args[1][:min(len(args[1]), 1)], "{[") {
			return usagef("VALUE begins as JSON and is none: %v: mend it, or have it taken as text with --string", json.Unmarshal(value, new(any)))
		}
		if text || !json.Valid(value) {
			value = config.Marshal(args[1])
		}
		a.sayServer()
		v, err := c.SetConfig(ctx, l, whoami(), args[0], value)
		if err != nil {
			return err
		}
		return a.changed(ctx, c, l, v)
	})
	cmd.Flags().BoolVar(&text, "string", false, "VALUE is text, whatever it looks like")
	onlyFlags(cmd.Flags(), "string")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) configRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm PATH", Short: "Remove a value, so that earlier layers are read there again",
		Example: "  fnhost config rm limits.rate --function shop", Args: between(1, 1, "PATH"),
	}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error {
		a.sayServer()
		v, err := c.RemoveConfig(ctx, l, whoami(), args[0])
		if err != nil {
			return err
		}
		return a.changed(ctx, c, l, v)
	})
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) configRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback REVISION", Short: "Make an earlier revision of a layer the current one again",
		Example: "  fnhost config history\n  fnhost config rollback 12", Args: between(1, 1, "REVISION"),
	}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error {
		revision, err := parseRevision(args[0])
		if err != nil {
			return err
		}
		a.sayServer()
		v, err := c.RollbackConfig(ctx, l, whoami(), revision)
		if err != nil {
			return err
		}
		return a.changed(ctx, c, l, v)
	})
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func parseRevision(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is not a revision: `fnhost config history` lists them", s)
	}
	return n, nil
}

func (a *app) configHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "history", Short: "List the revisions of a layer, the newest first", Args: between(0, 0, "")}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, _ []string) error {
		list, err := c.ConfigHistory(ctx, l)
		if err != nil {
			return err
		}
		slices.Reverse(list)
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			if !a.quiet {
				fmt.Fprintln(a.stderr, "nothing was ever set here: `fnhost config set PATH VALUE` does")
			}
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "REVISION\tAGE\tBY\tCHANGE")
		for _, v := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", v.Revision, age(v.Time), orDash(v.By), oneLine(v.Change))
		}
		return w.Flush()
	})
	a.outputFlag(cmd, "table", "json")
	return cmd
}

// difference is a path at which two documents are not the same.
type difference struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

func (a *app) configDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff [REVISION [REVISION]]", Short: "Show in what two revisions differ, or what is set from the defaults",
		Long: `Show in what two revisions of a layer differ; one is compared with the current one. Without a revision, show what
a function reads instead of the defaults in its function.yaml, or, of the namespace, all that is set.`,
		Example: "  fnhost config diff 12\n  fnhost config diff 12 15 --function shop\n  fnhost config diff --function shop",
		Args:    between(0, 2, "REVISION"),
	}
	a.withLayer(cmd, func(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) error {
		before, after, err := compared(ctx, c, l, args)
		if err != nil {
			return err
		}
		return a.printDifferences(before, after)
	})
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// compared returns the two documents that diff is about.
func compared(ctx context.Context, c *admin.Client, l admin.ConfigLayer, args []string) (before, after map[string]any, err error) {
	if len(args) == 0 && l.Function != "" {
		e, err := c.EffectiveConfig(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		if before, err = config.ParseObject(e.Defaults); err == nil {
			after, err = config.ParseObject(e.Values)
		}
		return before, after, err
	}
	now, err := c.Config(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	list, err := c.ConfigHistory(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	docs := []json.RawMessage{json.RawMessage("{}"), now.Values}
	for i, arg := range args {
		revision, err := parseRevision(arg)
		if err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(list, func(v admin.Config) bool { return v.Revision == revision })
		if at < 0 {
			return nil, nil, fmt.Errorf("no revision %d of the %s is kept: `fnhost config history` lists those that are", revision, now.Layer)
		}
		docs[i] = list[at].Values
	}
	if before, err = config.ParseObject(docs[0]); err == nil {
		after, err = config.ParseObject(docs[1])
	}
	return before, after, err
}

func (a *app) printDifferences(before, after map[string]any) error {
	was, paths := make(map[string]json.RawMessage), []string{}
	for _, leaf := range config.Leaves(before) {
		was[leaf.Path] = config.Marshal(leaf.Value)
		paths = append(paths, leaf.Path)
	}
	is := make(map[string]json.RawMessage)
	for _, leaf := range config.Leaves(after) {
		is[leaf.Path] = config.Marshal(leaf.Value)
		paths = append(paths, leaf.Path)
	}
	slices.Sort(paths)
	list := []difference{}
	for _, path := range slices.Compact(paths) {
		if !bytes.Equal(was[path], is[path]) {
			list = append(list, difference{path, was[path], is[path]})
		}
	}
	if a.output == "json" {
		return a.printJSON(list)
	}
	p := a.painter(a.stdout)
	for _, d := range list {
		if d.Before != nil {
			fmt.Fprintln(a.stdout, p.paint(red, fmt.Sprintf("- %s: %s", d.Path, d.Before)))
		}
		if d.After != nil {
			fmt.Fprintln(a.stdout, p.paint(green, fmt.Sprintf("+ %s: %s", d.Path, d.After)))
		}
	}
	return nil
}
