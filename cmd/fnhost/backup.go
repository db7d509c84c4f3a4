package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/backup"
)

func (a *app) backupCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "backup FILE|-", Short: "Write all that a host keeps to one file, while it serves",
		Long: `Write all that a host keeps to one file, while it serves: deployed functions with their versions and sources, buckets,
config, secrets (sealed, as they are stored), events and how far each trigger has come, schedules, calls and runs, dead
letters, repositories that were pushed, and the hash of its token. What was stored before the command began is in it.

The master key of secrets is not: keep it apart, or the secrets cannot be read after a restore. A backup needs the key
of its time: keep the old one, too, when it was rotated. All but secrets is readable in the file, also if the host keeps its
store encrypted (--encrypt-store).

The file is written as FILE.partial, verified, and renamed: FILE is a whole backup, or not there. With - it goes to
standard output; a backup that failed has no end then, and 'fnhost restore --check' refuses it.`,
		Example: "  fnhost backup fnhost.tar\n  fnhost backup - | ssh vault 'cat >fnhost.tar'",
		Args:    between(1, 1, "FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it is there, once the backup is whole")
	onlyFlags(cmd.Flags(), "force")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) backup(ctx context.Context, file string, force bool) error {
	if err := a.checkBackupFile(file, force); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	receive := func(w io.Writer) (*backup.Index, error) { return a.receiveBackup(ctx, c, w) }
	var index *backup.Index
	if file == "-" {
		index, err = receive(a.stdout)
	} else {
		index, err = saveBackup(file, receive)
	}
	if err != nil {
		return fmt.Errorf("the backup was not made: %w", badRequest(err))
	}
	if file == "-" {
		a.confirm("%s", describeBackup(index))
	} else if err := a.tellBackup(index, file); err != nil {
		return err
	}
	if index.Encrypted {
		fmt.Fprintln(a.stderr, "the store of the host is encrypted, and this backup is not: keep it where only you can read it, or encrypt it")
	}
	return nil
}

// checkBackupFile refuses, before anything is asked for, what a backup does not go to.
func (a *app) checkBackupFile(file string, force bool) error {
	if file == "-" && a.output == "json" {
		return usagef("-o json: standard output has the backup")
	}
	if file == "-" {
		if isTerminal(a.stdout) {
			return usagef("standard output is a terminal: name a FILE, or send it to one, or on by a pipe")
		}
		return nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the backup was not made: %w", err)
	case info.IsDir():
		return usagef("%s is a directory: name a file in it", file)
	case !info.Mode().IsRegular():
		return usagef("%s is no file: - is standard output", file)
	case !force:
		return usagef("%s is there already: name another one, or replace it with --force", file)
	}
	return nil
}

// receiveBackup has the host make a backup, copies it to w, and verifies it.
func (a *app) receiveBackup(ctx context.Context, c *admin.Client, w io.Writer) (*backup.Index, error) {
	body, err := c.Backup(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	show := a.newProgress()
	defer show.end()
	in := &connection{Reader: body}
	index, err := backup.Verify(ctx, io.TeeReader(in, io.MultiWriter(w, show)))
	if err != nil && errors.Is(in.err, io.ErrUnexpectedEOF) {
		err = errors.New("the connection broke off: see whether the host still runs, and try again")
	}
	return index, err
}

// connection keeps the error that it ends with.
type connection struct {
	io.Reader
	err error
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.err = err
	return n, err
}

// saveBackup writes a backup to a file, whole or not at all.
func saveBackup(file string, receive func(io.Writer) (*backup.Index, error)) (*backup.Index, error) {
	partial := file + ".partial"
	f, err := takeFile(partial)
	if err != nil {
		return nil, err
	}
	defer f.Close() // which lets others take it: when it is renamed, or removed
	index, err := receive(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(partial, file)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(partial))
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return index, errors.Join(dir.Sync(), dir.Close())
}

// takeFile opens a file that only its owner may read, empty, and takes it for this process. One that a
// process has left that was killed is used again.
func takeFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	mine, mineErr := f.Stat()
	there, thereErr := os.Stat(path)
	if errors.Is(err, syscall.EWOULDBLOCK) || err == nil && thereErr != nil || err == nil && mineErr == nil && !os.SameFile(mine, there) {
		err = fmt.Errorf("%s is being written by another process: wait for its end, or name another file", path)
	}
	if err = errors.Join(err, mineErr); err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// tellBackup says what a backup holds.
func (a *app) tellBackup(index *backup.Index, file string) error {
	if a.output == "json" {
		return a.printJSON(map[string]any{
			"file": file, "time": index.Time, "version": index.Version, "host": index.Host, "dir": index.Dir, "accounts": index.Accounts,
			"streams": index.Streams, "files": index.Files, "size": index.Size, "keys": append([]string{}, index.Keys...), "encrypted": index.Encrypted,
		})
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", file, describeBackup(index))
	return err
}

func describeBackup(index *backup.Index) string {
	text := fmt.Sprintf("%s, %d streams, %d files, of %s on %s (fnhost %s)",
		size(index.Size), index.Streams, index.Files, index.Time.Local().Format("2006-01-02 15:04:05"), index.Host, index.Version)
	if len(index.Keys) > 0 {
		text += "; its secrets are sealed with the master key " + strings.Join(index.Keys, ", ") + ", which is not in it"
	}
	return text
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
