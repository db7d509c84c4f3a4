package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/registry"
)

// changeRelease asks the host for another release, and shows what serves then.
func (a *app) changeRelease(ctx context.Context, name string, req admin.ReleaseRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	req.By = whoami()
	a.sayServer()
	r, err := c.Release(ctx, name, req)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.stdout, "%s  serves: %s\n", name, partsText(r.Parts))
	return err
}

func partsText(parts []admin.Part) string {
	if len(parts) == 1 {
		return parts[0].Version
	}
	var list []string
	for _, p := range parts {
		list = append(list, fmt.Sprintf("%s=%d", p.Version, p.Weight))
	}
	return strings.Join(list, " ")
}

func (a *app) rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback NAME [VERSION]", Short: "Let an earlier version serve again",
		Long: `Let an earlier version serve again: VERSION, or the one that was released before the one that serves. Of a canary that
is the one beside it. No request is lost.`,
		Example: "  fnhost rollback hello\n  fnhost rollback hello v3",
		Args:    between(1, 2, "NAME"), ValidArgsFunction: a.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to := "previous"
		if len(args) > 1 {
			to = args[1]
		}
		return a.changeRelease(cmd.Context(), args[0], admin.ReleaseRequest{Rollback: to})
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) promoteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "promote NAME", Short: "Let a canary have all invocations",
		Args: between(1, 1, "NAME"), ValidArgsFunction: a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.changeRelease(cmd.Context(), args[0], admin.ReleaseRequest{Promote: true})
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Say which versions get the invocations", Args: unknownSubcommand, RunE: help}
	set := &cobra.Command{
		Use: "set NAME VERSION[=PERCENT]...", Short: "Release versions, with the percentage of the invocations that each gets",
		Example: "  fnhost release set hello v4\n  fnhost release set hello v3=90 v4=10",
		Args:    between(2, 100, "NAME VERSION"), ValidArgsFunction: a.completeVersions,
	}
	set.RunE = func(cmd *cobra.Command, args []string) error {
		var parts []admin.Part
		for _, arg := range args[1:] {
			version, weight, weighted := strings.Cut(arg, "=")
			p := admin.Part{Version: version, Weight: 100}
			if _, err := registry.ParseVersion(version); err != nil {
				return usagef("%v", err)
			}
			if weighted {
				if _, err := fmt.Sscanf(strings.TrimSuffix(weight, "%"), "%d", &p.Weight); err != nil {
					return usagef("%s: want VERSION=PERCENT, such as v3=90", arg)
				}
			}
			parts = append(parts, p)
		}
		return a.changeRelease(cmd.Context(), args[0], admin.ReleaseRequest{Parts: parts})
	}
	a.outputFlag(set, "text", "json")
	cmd.AddCommand(set)
	return cmd
}

func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Short: "Remove deployed functions, with all their versions",
		Args: between(1, 1000, "NAME"), ValidArgsFunction: a.completeFunctions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			a.sayServer()
			for _, name := range args {
				if err := c.Remove(cmd.Context(), name); err != nil {
					return err
				}
				if !a.quiet {
					fmt.Fprintf(a.stderr, "%s removed\n", name)
				}
			}
			return nil
		},
	}
}

func (a *app) versionsCommand() *cobra.Command {
	var diff string
	cmd := &cobra.Command{
		Use: "versions NAME [VERSION]", Short: "List the versions of a function, or show one",
		Example: "  fnhost versions hello\n  fnhost versions hello v3\n  fnhost versions hello --diff v3..v4",
		Args:    between(1, 2, "NAME"), ValidArgsFunction: a.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		switch {
		case diff != "":
			return a.diffVersions(cmd.Context(), c, args[0], diff)
		case len(args) > 1:
			v, err := c.Version(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.printDeployed(&v)
		}
		list, err := c.Versions(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "VERSION\tSERVES\tAGE\tSIZE\tSOURCE\tAUTHOR\tMESSAGE")
		for _, v := range list {
			serves := "-"
			if v.Weight > 0 {
				serves = fmt.Sprintf("%d%%", v.Weight)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Version, serves, age(&v.Created), size(v.Size), sourceText(&v.Source),
				orDash(v.Source.Author), orDash(v.Source.Message))
		}
		return w.Flush()
	}
	cmd.Flags().StringVar(&diff, "diff", "", "show in what two versions differ, such as v3..v4; v3 alone is compared with the latest")
	onlyFlags(cmd.Flags(), "diff")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

// sourceText says where a source came from, in a word or two.
func sourceText(s *admin.VersionSource) string {
	text := s.Kind
	if s.Commit != "" {
		text += " " + s.Commit[:min(len(s.Commit), 8)]
	}
	return text
}

func (a *app) printDeployed(v *admin.Version) error {
	if a.output == "json" {
		return a.printJSON(v)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, line := range versionLines(v) {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	w.Flush()
	if v.Log != "" {
		fmt.Fprintf(a.stdout, "\n%s", v.Log)
	}
	return nil
}

// versionLines are what there is to tell of a version, one thing a line.
func versionLines(v *admin.Version) [][2]string {
	serves := "no"
	if v.Weight > 0 {
		serves = fmt.Sprintf("%d%%", v.Weight)
	}
	endpoints := make([]string, len(v.Endpoints))
	for i, e := range v.Endpoints {
		if endpoints[i] = e; e == "" {
			endpoints[i] = "/"
		}
	}
	lines := [][2]string{
		{"version", v.Version}, {"serves", serves}, {"created", v.Created.Local().Format("2006-01-02 15:04:05")},
		{"source", sourceText(&v.Source)}, {"url", v.Source.URL}, {"ref", v.Source.Ref}, {"author", v.Source.Author}, {"message", v.Source.Message},
		{"bundle (source)", v.Source.Bundle}, {"artifact (build)", v.Artifact}, {"program", v.Program}, {"size", size(v.Size)}, {"toolchain", v.Toolchain},
		{"built in", round(v.Took).String()}, {"about", synopsis(v.Doc)}, {"endpoints", strings.Join(endpoints, ", ")},
	}
	return append(lines, flatten("manifest", v.Manifest)...)
}

// comparable are those that say what a version is, and not what became of it.
func comparable(v *admin.Version) [][2]string {
	return slices.DeleteFunc(versionLines(v), func(line [2]string) bool {
		return line[0] == "serves" || line[0] == "created" || line[0] == "built in"
	})
}

// diffVersions shows in what two versions differ.
func (a *app) diffVersions(ctx context.Context, c *admin.Client, name, which string) error {
	from, to, both := strings.Cut(which, "..")
	if !both {
		list, err := c.Versions(ctx, name)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			to = list[0].Version
		}
	}
	before, err := c.Version(ctx, name, from)
	if err != nil {
		return err
	}
	after, err := c.Version(ctx, name, to)
	if err != nil {
		return err
	}
	old := make(map[string]string)
	for _, line := range comparable(&before) {
		old[line[0]] = line[1]
	}
	p := a.painter(a.stdout)
	show := func(sign, key, value string, colour int) {
		if value != "" {
			fmt.Fprintln(a.stdout, p.paint(colour, fmt.Sprintf("%s %s: %s", sign, key, value)))
		}
	}
	for _, line := range comparable(&after) {
		if was := old[line[0]]; was != line[1] {
			show("-", line[0], was, red)
			show("+", line[0], line[1], green)
		}
		delete(old, line[0])
	}
	for _, key := range sortedKeys(old) {
		show("-", key, old[key], red)
	}
	return nil
}

// completeVersions offers functions, and then their versions.
func (a *app) completeVersions(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeFunctions(cmd, args, typed)
	}
	if a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.Versions(cmd.Context(), args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, v := range list {
		names = append(names, v.Version)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// unknownSubcommand is the check of arguments of a command that only has others.
func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var have []string
	for _, sub := range cmd.Commands() {
		have = append(have, sub.Name())
	}
	return usagef("unknown command %q of %s%s", args[0], cmd.CommandPath(), nearest.DidYouMean(args[0], have))
}
