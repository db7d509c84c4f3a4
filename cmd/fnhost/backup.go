package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/backup"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup FILE|-", Short: "Write all that a host keeps to one file, while it serves",
		Long: `Write all that a host keeps to one file, while it serves: deployed functions with their versions and sources, buckets,
config, secrets (sealed, as they are stored), events and how far each trigger has come, schedules, calls and runs, dead
letters, repositories that were pushed, and the hash of its token. What was stored before the command began is in it.

The master key of secrets is not: keep it apart, or the secrets cannot be read after a restore.

The file is written as FILE.partial, verified, and renamed: FILE is a whole backup, or not there. With - it goes to
standard output; a backup that failed has no end then, and 'fnhost restore --check' refuses it.`,
		Example: "  fnhost backup fnhost.tar\n  fnhost backup - | ssh vault 'cat >fnhost.tar'",
		Args:    between(1, 1, "FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0]) },
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) backup(ctx context.Context, file string) error {
	if file == "-" && a.output == "json" {
		return usagef("-o json: standard output has the backup")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	body, err := c.Backup(ctx)
	if err != nil {
		return badRequest(err)
	}
	defer body.Close()
	show := a.newProgress()
	var index *backup.Index
	if file == "-" {
		index, err = receiveBackup(ctx, body, io.MultiWriter(a.stdout, show))
	} else {
		index, err = saveBackup(ctx, body, file, show)
	}
	show.end()
	if err != nil {
		return fmt.Errorf("the backup was not made: %w", err)
	}
	if file != "-" {
		return a.tellBackup(index, file)
	}
	a.confirm("%s", describeBackup(index))
	return nil
}

// receiveBackup copies a backup to w, and verifies it.
func receiveBackup(ctx context.Context, body io.Reader, w io.Writer) (*backup.Index, error) {
	index, err := backup.Verify(ctx, io.TeeReader(body, w))
	if errors.Is(err, backup.ErrDamaged) || errors.Is(err, backup.ErrNotBackup) {
		err = fmt.Errorf("the connection broke off (%w): try again", err)
	}
	return index, err
}

// saveBackup writes a backup to a file, whole or not at all.
func saveBackup(ctx context.Context, body io.Reader, file string, show io.Writer) (index *backup.Index, err error) {
	partial := file + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it holds what only the host's user may read
	if err != nil {
		return nil, err
	}
	defer os.Remove(partial)
	index, err = receiveBackup(ctx, body, io.MultiWriter(f, show))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(partial, file); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return index, errors.Join(dir.Sync(), dir.Close())
}

func (a *app) restoreCommand() *cobra.Command {
	var dir string
	var check bool
	cmd := &cobra.Command{
		Use: "restore FILE --data DIR", Short: "Make the data directory of a host of a backup",
		Long: `Make the data directory of a host of a backup, for 'fnhost serve --data DIR'. DIR must be empty, or not there.

FILE is read to its end first: one that was cut, or changed by a byte, is refused before anything is touched. All is made
in DIR.partial, which takes the place of DIR at the end: a restore that was killed leaves DIR as it was.

Events that were handled after the backup are handled again, as far as it holds them. What has expired since is gone.
The token is the one of the host that was backed up. The master key of secrets is not in a backup: bring it along.`,
		Example: "  fnhost restore fnhost.tar --data /var/lib/fnhost\n  fnhost restore --check fnhost.tar",
		Args:    between(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check == (dir != "") {
				return usagef("give --data DIR to restore to, or --check to verify the file alone")
			}
			return a.restore(cmd.Context(), args[0], dir)
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data directory to make")
	cmd.Flags().BoolVar(&check, "check", false, "only verify FILE")
	onlyFlags(cmd.Flags(), "data", "check")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// restore restores a file to a directory, or verifies it if that is "".
func (a *app) restore(ctx context.Context, file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return usagef("%s is no file: a backup is read twice", file)
	}
	if dir == "" {
		index, err := backup.Verify(ctx, f)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return a.tellBackup(index, file)
	}
	index, err := host.Restore(ctx, dir, f)
	switch {
	case errors.Is(err, host.ErrNotEmpty):
		return usageError{err: err}
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := a.tellBackup(index, file); err != nil {
		return err
	}
	a.confirm("restored to %s: `fnhost serve --data %s` serves it", dir, dir)
	return nil
}

// tellBackup says what a backup holds.
func (a *app) tellBackup(index *backup.Index, file string) error {
	if a.output == "json" {
		return a.printJSON(map[string]any{
			"file": file, "time": index.Time, "version": index.Version, "host": index.Host, "dir": index.Dir, "accounts": index.Accounts,
			"streams": index.Streams, "files": index.Files, "size": index.Size,
		})
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", file, describeBackup(index))
	return err
}

func describeBackup(index *backup.Index) string {
	return fmt.Sprintf("%s, %d streams, %d files, of %s on %s (fnhost %s); secrets are sealed, and their master key is not in it",
		size(index.Size), index.Streams, index.Files, index.Time.Local().Format("2006-01-02 15:04:05"), index.Host, index.Version)
}

// progress shows on a terminal how much was received.
type progress struct {
	a    *app
	n    int64
	next time.Time
	show bool
}

func (a *app) newProgress() *progress {
	return &progress{a: a, show: !a.quiet && isTerminal(a.stderr), next: time.Now().Add(time.Second)}
}

func (p *progress) Write(data []byte) (int, error) {
	p.n += int64(len(data))
	if now := time.Now(); p.show && now.After(p.next) {
		p.next = now.Add(time.Second / 4)
		fmt.Fprintf(p.a.stderr, "\r\x1b[K%s", size(p.n))
	}
	return len(data), nil
}

func (p *progress) end() {
	if p.show {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
	}
}
