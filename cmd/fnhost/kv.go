package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
)

func (a *app) kvCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "kv", Short: "Read, write and watch keys of a bucket", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.kvListCommand(), a.kvGetCommand(), a.kvPutCommand(), a.kvRemoveCommand(), a.kvWatchCommand(), a.kvHistoryCommand(), a.kvIncrCommand())
	return cmd
}

// filterFlags adds the flags that choose keys.
func filterFlags(flags *pflag.FlagSet, f *kv.Filter) {
	flags.StringVar(&f.Prefix, "prefix", "", "only keys that begin so")
	flags.StringVar(&f.Suffix, "suffix", "", "only keys that end so")
	flags.StringVar(&f.Glob, "glob", "", "only keys that fit: * is anything but dots, ** anything, ? one sign")
	onlyFlags(flags, "prefix", "suffix", "glob")
}

func (a *app) kvListCommand() *cobra.Command {
	var q kv.Query
	cmd := &cobra.Command{
		Use: "ls BUCKET", Aliases: []string{"list"}, Short: "List keys, in the order of their bytes",
		Example: "  fnhost kv ls users --prefix eu.\n  fnhost kv ls orders --glob 'order.*.state' --values -o json",
		Args:    between(1, 1, "BUCKET"), ValidArgsFunction: a.completeBuckets(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if q.Limit < 0 {
			return usagef("--limit %d: want a number from 1 on, or 0 for all", q.Limit)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		p := &keyPrinter{a: a, plain: !q.Values, header: "KEY\tREVISION\tAGE\tEXPIRES\tVALUE"}
		n, last := 0, ""
		err = c.Keys(cmd.Context(), args[0], q, func(e admin.KeyEntry) error {
			n, last = n+1, e.Key
			return p.row(&e, fmt.Sprintf("%s\t%d\t%s\t%s", e.Key, e.Revision, age(e.Created), until(e.Expires)))
		})
		if err = errors.Join(err, p.flush()); err != nil {
			return badRequest(err)
		}
		if !a.quiet && n == 0 {
			fmt.Fprintln(a.stderr, "no keys")
		} else if !a.quiet && n == q.Limit {
			fmt.Fprintf(a.stderr, "there may be more: --after %s\n", last)
		}
		return nil
	}
	flags := cmd.Flags()
	filterFlags(flags, &q.Filter)
	flags.IntVar(&q.Limit, "limit", 0, "how many (default all)")
	flags.StringVar(&q.After, "after", "", "only keys behind this one")
	flags.BoolVar(&q.Descending, "reverse", false, "the last key first")
	flags.BoolVar(&q.Values, "values", false, "with values, revisions and when they expire")
	onlyFlags(flags, "limit", "after", "reverse", "values")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) kvGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get BUCKET KEY", Short: "Print the value of a key, as it is",
		Args: between(2, 2, "BUCKET and KEY"), ValidArgsFunction: a.completeKeys(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		e, value, err := c.Key(cmd.Context(), args[0], args[1])
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			e.SetData(value)
			return a.printJSON(e)
		}
		return a.printData(value)
	}
	a.outputFlag(cmd, "data", "json")
	return cmd
}

// condition are the flags that say how a key has to stand.
type condition struct {
	absent   bool
	revision uint64
}

func (c *condition) options(flags *pflag.FlagSet) []kv.Option {
	if c.absent {
		return []kv.Option{kv.IfAbsent()}
	}
	if flags.Changed("if-revision") {
		return []kv.Option{kv.IfRevision(c.revision)}
	}
	return nil
}

func (a *app) kvPutCommand() *cobra.Command {
	var on condition
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "put BUCKET KEY [VALUE | -]", Short: "Write a value: the argument, or standard input. A bucket that is not there is made",
		Example: "  fnhost kv put users ada '{\"name\":\"Ada\"}'\n  fnhost kv put pictures ada - < ada.png\n  fnhost kv put sessions a7 open --ttl 30m --if-absent",
		Args:    between(2, 3, "BUCKET and KEY"), ValidArgsFunction: a.completeKeys(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := exclusive(cmd.Flags(), "if-absent", "if-revision"); err != nil {
			return err
		}
		options := on.options(cmd.Flags())
		if cmd.Flags().Changed("ttl") {
			if ttl < time.Second || ttl%time.Second != 0 {
				return usagef("--ttl %v: want whole seconds, at least 1s", ttl)
			}
			options = append(options, kv.TTL(ttl))
		}
		value, err := a.keyValue(cmd.Context(), args[2:])
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		var revision uint64
		err = a.withBucket(cmd.Context(), c, args[0], func() (err error) {
			revision, err = c.PutKey(cmd.Context(), args[0], args[1], value, options...)
			return err
		})
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(admin.KeyWritten{Revision: revision})
		}
		_, err = fmt.Fprintf(a.stdout, "stored at revision %d\n", revision)
		return err
	}
	flags := cmd.Flags()
	flags.DurationVar(&ttl, "ttl", 0, "have the key expire after that time, in whole seconds")
	flags.BoolVar(&on.absent, "if-absent", false, "only if the key is not there")
	flags.Uint64Var(&on.revision, "if-revision", 0, "only if the key stands at this revision; 0 is --if-absent")
	onlyFlags(flags, "ttl", "if-absent", "if-revision")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// withBucket writes to a bucket, and makes it if it is not there, as functions do.
func (a *app) withBucket(ctx context.Context, c *admin.Client, bucket string, write func() error) error {
	err := write()
	if !errors.Is(err, functions.ErrNotFound) {
		return err
	}
	_, err = c.CreateBucket(ctx, admin.BucketConfig{Name: bucket})
	if err != nil && !errors.Is(err, functions.ErrConflict) { // somebody else has made it meanwhile
		return err
	}
	if err == nil && !a.quiet {
		fmt.Fprintf(a.stderr, "made the bucket %s\n", bucket)
	}
	return write()
}

// keyValue is the argument, or what standard input has: "-", or nothing and a pipe.
func (a *app) keyValue(ctx context.Context, args []string) ([]byte, error) {
	if len(args) > 0 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	if f, ok := a.stdin.(*os.File); ok && len(args) == 0 {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 && !info.Mode().IsRegular() {
			return nil, usagef("VALUE is missing: an argument, or - for standard input; '' is an empty one")
		}
	}
	return a.readInput(ctx, "a VALUE '' gives an empty one")
}

func (a *app) kvRemoveCommand() *cobra.Command {
	var on condition
	var purge bool
	cmd := &cobra.Command{
		Use: "rm BUCKET KEY...", Short: "Remove keys; one that is not there is no error",
		Args: between(2, 10_000, "BUCKET and KEY"), ValidArgsFunction: a.completeKeys(10_000),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options := on.options(cmd.Flags())
		if len(options) > 0 && len(args) > 2 {
			return usagef("--if-revision is of one key")
		}
		if purge {
			options = append(options, kv.Purge())
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		for _, key := range args[1:] {
			_, _, missing := c.Key(cmd.Context(), args[0], key)
			if err := c.DeleteKey(cmd.Context(), args[0], key, options...); err != nil {
				return badRequest(err)
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "%s %s\n", key, removedOr(errors.Is(missing, functions.ErrNotFound)))
			}
		}
		return nil
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "its history, too")
	cmd.Flags().Uint64Var(&on.revision, "if-revision", 0, "only if the key stands at this revision")
	onlyFlags(cmd.Flags(), "purge", "if-revision")
	return cmd
}

func removedOr(missing bool) string {
	if missing {
		return "was not there"
	}
	return "removed"
}

func (a *app) kvHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history BUCKET KEY", Short: "List what the bucket has kept of a key, the oldest first",
		Args: between(2, 2, "BUCKET and KEY"), ValidArgsFunction: a.completeKeys(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p := &keyPrinter{a: a, header: "REVISION\tOP\tAGE\tEXPIRES\tVALUE"}
		err = c.KeyHistory(cmd.Context(), args[0], args[1], func(e admin.KeyEntry) error {
			return p.row(&e, fmt.Sprintf("%d\t%s\t%s\t%s", e.Revision, e.Op, age(e.Created), until(e.Expires)))
		})
		return badRequest(errors.Join(err, p.flush()))
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) kvIncrCommand() *cobra.Command {
	by, ttl := int64(1), time.Duration(0)
	cmd := &cobra.Command{
		Use: "incr BUCKET KEY", Short: "Add to the number that a key holds, and print the sum. A bucket that is not there is made",
		Example: "  fnhost kv incr counters visits\n  fnhost kv incr counters places --by -2",
		Args:    between(2, 2, "BUCKET and KEY"), ValidArgsFunction: a.completeKeys(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var options []kv.Option
		if cmd.Flags().Changed("ttl") {
			if ttl < time.Second || ttl%time.Second != 0 {
				return usagef("--ttl %v: want whole seconds, at least 1s", ttl)
			}
			options = append(options, kv.TTL(ttl))
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		var sum int64
		err = a.withBucket(cmd.Context(), c, args[0], func() (err error) {
			sum, err = c.AddKey(cmd.Context(), args[0], args[1], by, options...)
			return err
		})
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(admin.KeySum{Value: sum})
		}
		_, err = fmt.Fprintln(a.stdout, sum)
		return err
	}
	cmd.Flags().Int64Var(&by, "by", 1, "what to add")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "have the key expire after that time, in whole seconds")
	onlyFlags(cmd.Flags(), "by", "ttl")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// completeKeys offers a bucket, and then its keys.
func (a *app) completeKeys(most int) cobra.CompletionFunc {
	buckets := a.completeBuckets(1)
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return buckets(cmd, args, begin)
		}
		if len(args) >= most || a.settings.apply(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		c.Keys(cmd.Context(), args[0], kv.Query{Filter: kv.Prefix(strings.TrimSpace(begin)), Limit: 100}, func(e admin.KeyEntry) error {
			keys = append(keys, e.Key)
			return nil
		})
		return keys, cobra.ShellCompDirectiveNoFileComp
	}
}
