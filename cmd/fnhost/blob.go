package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv"
)

func (a *app) blobCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "blob", Short: "Store, fetch and list blobs: files that are too large for a bucket", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.blobListCommand(), a.blobGetCommand(), a.blobPutCommand(), a.blobRemoveCommand())
	return cmd
}

func (a *app) blobListCommand() *cobra.Command {
	var q kv.BlobQuery
	cmd := &cobra.Command{
		Use: "ls [STORE]", Aliases: []string{"list"}, Short: "List the stores of blobs, or the blobs of one",
		Args: between(0, 1, "STORE"), ValidArgsFunction: a.completeBlobStores,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			list, err := c.BlobStores(cmd.Context())
			if err != nil {
				return err
			}
			return a.printBlobStores(list)
		}
		var list []admin.Blob
		for {
			page, err := c.Blobs(cmd.Context(), args[0], q)
			if err != nil {
				return badRequest(err)
			}
			list = append(list, page.Blobs...)
			if q.After = page.Next; q.After == "" {
				return a.printBlobs(list)
			}
		}
	}
	cmd.Flags().StringVar(&q.Prefix, "prefix", "", "only blobs whose names begin so")
	onlyFlags(cmd.Flags(), "prefix")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) printBlobStores(list []admin.BlobStore) error {
	if a.output == "json" {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		if !a.quiet {
			fmt.Fprintln(a.stderr, "no blobs: `fnhost blob put STORE NAME FILE` stores one")
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STORE\tSIZE\tLIMIT\tCREATED\tDESCRIPTION")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, cmp.Or(size(s.Bytes), "0 B"), orDash(size(s.MaxBytes)), age(&s.Created), orDash(oneLine(s.Description)))
	}
	return w.Flush()
}

func (a *app) printBlobs(list []admin.Blob) error {
	if a.output == "json" {
		if list == nil {
			list = []admin.Blob{}
		}
		return a.printJSON(list)
	}
	if len(list) == 0 {
		if !a.quiet {
			fmt.Fprintln(a.stderr, "no blobs")
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSIZE\tAGE\tSHA-256")
	for _, b := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.12s\n", b.Name, cmp.Or(size(b.Size), "0 B"), age(&b.Created), b.Digest)
	}
	return w.Flush()
}

func (a *app) blobGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get STORE NAME [FILE]", Short: "Fetch a blob, into a file or to standard output",
		Long: `Fetch a blob, into a file or to standard output. It is compared with its SHA-256: a file is there only if that is right; what
went to standard output is of use only if the command ends with 0.`,
		Args: between(2, 3, "STORE and NAME"), ValidArgsFunction: a.completeBlobStores,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		get := func(w io.Writer) error { return badRequest(c.GetBlob(cmd.Context(), args[0], args[1], w)) }
		if len(args) == 2 || args[2] == "-" {
			return get(a.stdout)
		}
		return writeWhole(args[2], get)
	}
	return cmd
}

// writeWhole makes a file of what write writes, or none.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more if all went well
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (a *app) blobPutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put STORE NAME FILE", Short: "Store a file as a blob; - is standard input. A store that is not there is made",
		Example: "  fnhost blob put reports 2026/q3.pdf q3.pdf\n  tar cz src | fnhost blob put backups src.tgz -",
		Args:    between(3, 3, "STORE, NAME and FILE"), ValidArgsFunction: a.completeBlobStores,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		content := a.stdin
		if args[2] != "-" {
			f, err := os.Open(args[2])
			if err != nil {
				return usageError{err: err}
			}
			defer f.Close()
			content = f
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		// A request without a store would read what cannot be read twice.
		if _, err := c.Blobs(cmd.Context(), args[0], kv.BlobQuery{Limit: 1}); errors.Is(err, functions.ErrNotFound) {
			if err := c.CreateBlobs(cmd.Context(), admin.BlobStore{Name: args[0]}); err != nil {
				return badRequest(err)
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "made the store %s\n", args[0])
			}
		} else if err != nil {
			return badRequest(err)
		}
		b, err := c.PutBlob(cmd.Context(), args[0], args[1], io.NopCloser(content))
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(b)
		}
		_, err = fmt.Fprintf(a.stdout, "stored %s, SHA-256 %s\n", cmp.Or(size(b.Size), "0 B"), b.Digest)
		return err
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) blobRemoveCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "rm STORE NAME... | STORE --all", Short: "Remove blobs, or a store with all that is in it",
		Args: between(1, 10_000, "STORE"), ValidArgsFunction: a.completeBlobStores,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 1) {
			return usagef("name the blobs to remove, or all of the store with --all")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		say := func(what string, missing bool, err error) error {
			if err == nil && !a.quiet {
				fmt.Fprintf(a.stderr, "%s %s\n", what, removedOr(missing))
			}
			return badRequest(err)
		}
		if all {
			return say(args[0], false, c.DropBlobs(cmd.Context(), args[0]))
		}
		for _, name := range args[1:] {
			page, err := c.Blobs(cmd.Context(), args[0], kv.BlobQuery{Prefix: name, Limit: 1}) // it is the first of those that begin so
			missing := err == nil && (len(page.Blobs) == 0 || page.Blobs[0].Name != name)
			if err := say(name, missing, c.DeleteBlob(cmd.Context(), args[0], name)); err != nil {
				return err
			}
		}
		return nil
	}
	cmd.Flags().BoolVar(&all, "all", false, "the store itself")
	onlyFlags(cmd.Flags(), "all")
	return cmd
}

// completeBlobStores offers stores, and then the blobs of one; a file is for the shell.
func (a *app) completeBlobStores(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	if len(args) == 0 {
		list, _ := c.BlobStores(cmd.Context())
		for _, s := range list {
			names = append(names, s.Name+"\t"+oneLine(s.Description))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	page, _ := c.Blobs(cmd.Context(), args[0], kv.BlobQuery{Prefix: begin, Limit: 100})
	for _, b := range page.Blobs {
		names = append(names, b.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
