package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/backup"
)

func (a *app) restoreCommand() *cobra.Command {
	var dir string
	var check bool
	var o host.RestoreOptions
	cmd := &cobra.Command{
		Use: "restore FILE --data DIR", Short: "Make the data directory of a host of a backup",
		Long: `Make the data directory of a host of a backup, for 'fnhost serve --data DIR'. DIR must be empty, or not there.

FILE is read to its end first: one that was cut, or changed by a byte, is refused before anything is touched. All is made
in DIR.partial, which takes the place of DIR at the end: a restore that was killed leaves DIR as it was. The files belong
to whoever runs this: run it as the user of the host.

Events that were handled after the backup are handled again, as far as it holds them. What has expired since is gone.
The token is the one of the host that was backed up. The master key of secrets is not in a backup: put it as master.key
into DIR afterwards, or name it when serving. If it is named here it is checked before anything is touched, and with
--encrypt-store all is stored encrypted.`,
		Example: "  fnhost restore fnhost.tar --data /var/lib/fnhost\n  fnhost restore fnhost.tar --data /var/lib/fnhost --encrypt-store --master-key-file /etc/fnhost/master.key\n  fnhost restore --check fnhost.tar",
		Args:    between(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check == (dir != "") {
				return usagef("give --data DIR to restore to, or --check to verify the file alone")
			}
			if check {
				return a.checkBackup(cmd.Context(), args[0])
			}
			var err error
			if o.MasterKey, err = takeMasterKey(o.MasterKeyFile, o.MasterKeyCommand); err != nil {
				return err
			}
			if o.EncryptStore && o.MasterKey == "" && o.MasterKeyFile == "" && len(o.MasterKeyCommand) == 0 {
				return usagef("--encrypt-store needs a master key, by --master-key-file, --master-key-command or %s: that of the host that was backed up, or, if it had none, a new one (`fnhost secret key`)", masterKeyVariable)
			}
			return a.restore(cmd.Context(), args[0], dir, o)
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data directory to make")
	cmd.Flags().BoolVar(&check, "check", false, "only verify FILE")
	onlyFlags(cmd.Flags(), "data", "check")
	storeFlags(cmd.Flags(), &o.MasterKeyFile, &o.MasterKeyCommand, &o.EncryptStore)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// openBackup opens a file that can be read twice.
func openBackup(file string) (*os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, usagef("%s is no file: a backup is read twice", file)
	}
	return f, nil
}

// checkBackup verifies a file.
func (a *app) checkBackup(ctx context.Context, file string) error {
	f, err := openBackup(file)
	if err != nil {
		return err
	}
	defer f.Close()
	index, err := backup.Verify(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return a.tellBackup(index, file)
}

// restore restores a file to a directory.
func (a *app) restore(ctx context.Context, file, dir string, o host.RestoreOptions) error {
	f, err := openBackup(file)
	if err != nil {
		return err
	}
	defer f.Close()
	index, err := host.Restore(ctx, dir, f, o)
	switch {
	case errors.Is(err, host.ErrNotEmpty):
		return usageError{err: err}
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := a.tellBackup(index, file); err != nil {
		return err
	}
	a.tellRestored(index, dir, o)
	return nil
}

// tellRestored says what is still to be done.
func (a *app) tellRestored(index *backup.Index, dir string, o host.RestoreOptions) {
	serve := "fnhost serve --data " + dir
	if o.EncryptStore {
		serve += " --encrypt-store"
	} else if index.Encrypted {
		a.confirm("the store of the host that was backed up was encrypted, and this one is not: restore with --encrypt-store for one that is")
	}
	given := true
	switch {
	case o.MasterKeyFile != "":
		serve += " --master-key-file " + o.MasterKeyFile
	case len(o.MasterKeyCommand) > 0:
		serve += " --master-key-command " + strings.Join(o.MasterKeyCommand, ",")
	default:
		given = o.MasterKey != ""
	}
	if len(index.Keys) > 0 && !given {
		a.confirm("restored to %s; still to be done: its secrets need the master key %s, as %s (mode 0600), or by --master-key-file when it is served",
			dir, strings.Join(index.Keys, ", "), filepath.Join(dir, "master.key"))
		a.confirm("then `%s` serves it", serve)
		return
	}
	a.confirm("restored to %s: `%s` serves it", dir, serve)
}
