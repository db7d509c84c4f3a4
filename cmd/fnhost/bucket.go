package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) bucketCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "bucket", Short: "Make, list and remove the buckets in which functions keep keys", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.bucketCreateCommand(), a.bucketListCommand(), a.bucketStatsCommand(), a.bucketRemoveCommand())
	return cmd
}

func (a *app) bucketCreateCommand() *cobra.Command {
	var cfg admin.BucketConfig
	var ttl time.Duration
	var maxValue, maxBytes string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a bucket, or bring one to other settings",
		Long: `Make a bucket. A function that uses one that is not there has it made, without limits and history; this is for those
that need something else.

With --update the bucket gets the settings that the flags say, and the defaults for all others. What it holds stays, but for
values that a shorter history has no place for.`,
		Example: "  fnhost bucket create sessions --ttl 30m --max-keys 100000\n  fnhost bucket create documents --history 10 --max-bytes 1GiB",
		Args:    between(1, 1, "NAME"), ValidArgsFunction: a.completeBuckets(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg.Name = args[0]
		if ttl != 0 {
			cfg.TTL = ttl.String()
		}
		n, err := parseSize("--max-value", maxValue)
		if err != nil {
			return err
		}
		cfg.MaxValue = int(n)
		if cfg.MaxBytes, err = parseSize("--max-bytes", maxBytes); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		b, err := c.CreateBucket(cmd.Context(), cfg)
		if err != nil {
			return badRequest(err)
		}
		return a.printBucket(&b)
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Description, "description", "", "what it is for")
	flags.IntVar(&cfg.History, "history", 1, "values that are kept of a key, at most 64")
	flags.DurationVar(&ttl, "ttl", 0, "have every key expire that long after it was written, in whole seconds (default never)")
	flags.StringVar(&maxValue, "max-value", "", "size of a value, such as 64KiB (default 1MiB less 1KiB)")
	flags.StringVar(&maxBytes, "max-bytes", "", "size of all that it stores, such as 1GiB (default no limit)")
	flags.Int64Var(&cfg.MaxKeys, "max-keys", 0, "how many keys; not with --history or --replicas (default no limit)")
	flags.IntVar(&cfg.Replicas, "replicas", 1, "copies in a cluster, at most 5")
	flags.BoolVar(&cfg.Update, "update", false, "bring a bucket that exists to these settings")
	onlyFlags(flags, "description", "history", "ttl", "max-value", "max-bytes", "max-keys", "replicas", "update")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// parseSize returns the bytes of "64KiB", 0 for nothing.
func parseSize(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	unit := int64(1)
	digits := s
	for _, u := range []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if cut, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = cut, u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/unit {
		return 0, usagef("%s %q: want a size such as 64KiB, 10MB or 1GiB", flag, s)
	}
	return n * unit, nil
}

func (a *app) bucketListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the buckets", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Buckets(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			if !a.quiet {
				fmt.Fprintln(a.stderr, "no buckets: a function makes one when it uses it, or `fnhost bucket create NAME`")
			}
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKEYS\tSIZE\tHISTORY\tTTL\tLIMITS\tDESCRIPTION")
		for i := range list {
			b := &list[i]
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\n", b.Name, b.Keys, cmp.Or(size(b.Bytes), "0 B"), b.History, orDash(b.TTL), orDash(bucketLimits(b)), orDash(oneLine(b.Description)))
		}
		return w.Flush()
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

// bucketLimits says what a bucket may hold.
func bucketLimits(b *admin.Bucket) string {
	var parts []string
	if b.MaxKeys > 0 {
		parts = append(parts, fmt.Sprintf("%d keys", b.MaxKeys))
	}
	if b.MaxBytes > 0 {
		parts = append(parts, size(b.MaxBytes))
	}
	return strings.Join(parts, ", ")
}

func (a *app) bucketStatsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "stats NAME", Short: "Show what a bucket holds and may hold", Args: between(1, 1, "NAME"), ValidArgsFunction: a.completeBuckets(1)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		b, err := c.Bucket(cmd.Context(), args[0])
		if err != nil {
			return badRequest(err)
		}
		return a.printBucket(&b)
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printBucket(b *admin.Bucket) error {
	if a.output == "json" {
		return a.printJSON(b)
	}
	limit := func(n int64, text string) string {
		if n == 0 {
			return "no limit"
		}
		return "at most " + text
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"bucket", b.Name}, {"description", oneLine(b.Description)}, {"created", b.Created.Local().Format(time.DateTime)},
		{"keys", fmt.Sprintf("%d, %s; deleted ones count for a while", b.Keys, limit(b.MaxKeys, strconv.FormatInt(b.MaxKeys, 10)))},
		{"size", cmp.Or(size(b.Bytes), "0 B") + ", " + limit(b.MaxBytes, size(b.MaxBytes))}, {"value", "at most " + size(b.MaxValue)},
		{"history", strconv.Itoa(b.History)}, {"ttl", cmp.Or(b.TTL, "none")}, {"replicas", strconv.Itoa(b.Replicas)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	return w.Flush()
}

func (a *app) bucketRemoveCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME...", Short: "Remove buckets; those that hold keys only with --yes",
		Args: between(1, 1000, "NAME"), ValidArgsFunction: a.completeBuckets(1000),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		for _, name := range args {
			if err := c.DropBucket(cmd.Context(), name, yes); err != nil {
				return badRequest(err)
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "%s removed\n", name)
			}
		}
		return nil
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "also with keys in it")
	onlyFlags(cmd.Flags(), "yes")
	return cmd
}

// completeBuckets offers buckets for the first arguments.
func (a *app) completeBuckets(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most || a.settings.apply(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list, _ := c.Buckets(cmd.Context())
		var names []string
		for i := range list {
			names = append(names, list[i].Name+"\t"+oneLine(list[i].Description))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
