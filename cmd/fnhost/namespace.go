package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) namespaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "namespace", Aliases: []string{"ns"}, Short: "Make, list, limit and remove namespaces, and let one have something of another", Args: unknownSubcommand, RunE: help,
		Long: `Make, list, limit and remove namespaces.

A namespace has functions, subjects, streams, buckets, configuration, secrets and runs of its own. What is there without
doing anything is the namespace default. Other commands are about another one with --namespace NAME (-n), FNHOST_NAMESPACE, or the
key namespace of fnhost.yaml; requests are by a path /@NAME/function, by the header X-Fn-Namespace, or by the host name NAME.DOMAIN
where the host has a --domain.`,
	}
	cmd.AddCommand(a.namespaceCreateCommand(), a.namespaceListCommand(), a.namespaceLimitsCommand(), a.namespaceRemoveCommand(),
		a.exportCommand(), a.unexportCommand(), a.exportsCommand())
	return cmd
}

// limitFlags are those of the limits of a namespace.
type limitFlags struct {
	functions, requests int
	storage, memory     string
}

func (f *limitFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.functions, "functions", 0, "how many functions it may have (default no limit)")
	flags.IntVar(&f.requests, "requests", 0, "how many requests it takes in a second, over HTTP and NATS (default no limit)")
	flags.StringVar(&f.storage, "storage", "", "size of all that its streams and buckets store in files, such as 10GiB (default no limit)")
	flags.StringVar(&f.memory, "memory", "", "size of what its streams keep in memory, such as 64MiB; it is reserved (default no limit)")
	onlyFlags(flags, "functions", "requests", "storage", "memory")
}

// set changes the limits that the command line names.
func (f *limitFlags) set(flags *pflag.FlagSet, l *admin.NamespaceLimits) error {
	for _, one := range []struct {
		flag, text string
		to         *int64
	}{{"storage", f.storage, &l.Storage}, {"memory", f.memory, &l.Memory}} {
		if !flags.Changed(one.flag) {
			continue
		}
		if *one.to = 0; one.text == "0" {
			continue
		}
		n, err := parseSize("--"+one.flag, one.text)
		if err != nil {
			return err
		}
		*one.to = n
	}
	for _, one := range []struct {
		flag string
		n    int
		to   *int
	}{{"functions", f.functions, &l.Functions}, {"requests", f.requests, &l.Requests}} {
		if !flags.Changed(one.flag) {
			continue
		}
		if one.n < 0 {
			return usagef("--%s %d: want a number, or 0 for no limit", one.flag, one.n)
		}
		*one.to = one.n
	}
	return nil
}

func (a *app) namespaceCreateCommand() *cobra.Command {
	var f limitFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a namespace, which has nothing yet",
		Long: `Make a namespace, which has nothing yet. Its name has up to 32 lower-case letters, digits and hyphens, and begins with a
letter.`,
		Example: "  fnhost namespace create acme --functions 20 --storage 10GiB\n  fnhost -n acme deploy orders",
		Args:    between(1, 1, "NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n := admin.NewNamespace{Name: args[0]}
		if err := f.set(cmd.Flags(), &n.Limits); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		made, err := c.CreateNamespace(cmd.Context(), n)
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(made)
		}
		a.confirm("the namespace %s is there: `fnhost -n %s deploy DIR` deploys to it, /@%s/… asks its functions", made.Name, made.Name, made.Name)
		return nil
	}
	f.register(cmd.Flags())
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) namespaceListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the namespaces", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Namespaces(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tFUNCTIONS\tSTORED\tLIMITS\tCREATED\tSTATE")
		for i := range list {
			n := &list[i]
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", n.Name, n.Functions, cmp.Or(size(n.Storage), "0 B"), orDash(namespaceLimits(n.Limits)), age(n.Created), namespaceState(n))
		}
		return w.Flush()
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func namespaceState(n *admin.Namespace) string {
	switch {
	case n.Removing:
		return "being removed"
	case n.Error != "":
		return oneLine(n.Error)
	}
	return "serves"
}

// namespaceLimits says what a namespace may use.
func namespaceLimits(l admin.NamespaceLimits) string {
	var parts []string
	for _, p := range []struct {
		set  bool
		text string
	}{
		{l.Functions > 0, strconv.Itoa(l.Functions) + " functions"}, {l.Requests > 0, strconv.Itoa(l.Requests) + " requests/s"},
		{l.Storage > 0, size(l.Storage) + " stored"}, {l.Memory > 0, size(l.Memory) + " in memory"},
	} {
		if p.set {
			parts = append(parts, p.text)
		}
	}
	return strings.Join(parts, ", ")
}

func (a *app) namespaceLimitsCommand() *cobra.Command {
	var f limitFlags
	cmd := &cobra.Command{
		Use: "limits NAME", Short: "Show the limits of a namespace, or change those that flags name",
		Long: `Show the limits of a namespace, or change those that flags name; 0 is no limit. What the namespace has already stays, also if
it is more.`,
		Example: "  fnhost namespace limits acme\n  fnhost namespace limits acme --requests 500 --storage 0",
		Args:    between(1, 1, "NAME"), ValidArgsFunction: a.completeNamespaces,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		n, err := namespaceNamed(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		wanted := n.Limits
		if err := f.set(cmd.Flags(), &wanted); err != nil {
			return err
		}
		if wanted != n.Limits {
			a.sayServer()
			if n, err = c.LimitNamespace(cmd.Context(), args[0], wanted); err != nil {
				return badRequest(err)
			}
		}
		if a.output == "json" {
			return a.printJSON(n.Limits)
		}
		_, err = fmt.Fprintln(a.stdout, cmp.Or(namespaceLimits(n.Limits), "no limits"))
		return err
	}
	f.register(cmd.Flags())
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func namespaceNamed(ctx context.Context, c *admin.Client, name string) (admin.Namespace, error) {
	list, err := c.Namespaces(ctx)
	if err != nil {
		return admin.Namespace{}, err
	}
	for _, n := range list {
		if n.Name == name {
			return n, nil
		}
	}
	return admin.Namespace{}, functions.Errorf(functions.NotFound, "no namespace %q: `fnhost namespace ls` lists them", name)
}

func (a *app) namespaceRemoveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm NAME", Aliases: []string{"remove"}, Short: "Remove a namespace with all that is in it; one with functions only with --force",
		Long: `Remove a namespace with all that is in it: functions, streams, buckets, configuration, secrets, runs, what was pushed to it,
the accounts, tokens and rules that are of it alone, and its exports. There is no way back but a backup.`,
		Args: between(1, 1, "NAME"), ValidArgsFunction: a.completeNamespaces,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		start := time.Now()
		if err := c.RemoveNamespace(cmd.Context(), args[0], force); err != nil {
			return badRequest(err)
		}
		a.confirm("%s removed, with all that was in it, in %v", args[0], time.Since(start).Round(time.Millisecond))
		return nil
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it also if it has functions")
	onlyFlags(cmd.Flags(), "force")
	return cmd
}

// completeNamespaces offers the names that the host knows.
func (a *app) completeNamespaces(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 || a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.Namespaces(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
