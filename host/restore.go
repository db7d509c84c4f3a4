package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fnhost/fnhost/host/backup"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/kv/secrets"
)

// ErrNotEmpty is wrapped by the error of [Restore] for a directory that holds something.
var ErrNotEmpty = errors.New("the directory is not empty")

// restoringName is a file that a data directory has while it is being restored.
const restoringName = "restoring"

// RestoreOptions are for [Restore]. The zero value makes a store that is not encrypted.
type RestoreOptions struct {
	// MasterKey, MasterKeyFile and MasterKeyCommand are as those of [Config]. A key that is given must open the
	// secrets of the backup; it is not kept, and the host that is started needs it again.
	MasterKey        string
	MasterKeyFile    string
	MasterKeyCommand []string
	// EncryptStore makes an encrypted store, with a key in dir that the master key opens. It
	// needs one of the above.
	EncryptStore bool
}

// Restore makes of a backup, which r reads, the data directory dir of a host that can be started there. The
// directory must be empty, or not there. r is read twice: first to its end to verify it, before anything is touched. All is
// made in a directory dir.partial beside dir, which takes its place at the end: dir is whole, or
// as it was. What a restore that was killed has left in dir.partial is removed by the next one.
//
// If the Keys of what it returns are not empty the host needs them to start: a backup does not have them.
//
// The error wraps [ErrNotEmpty], [ErrInUse] while dir is being restored by another process, [backup.ErrNotBackup],
// [backup.ErrNewer], [backup.ErrDamaged] or [secrets.ErrWrongKey]; or it is that of the disk, or of the
// NATS server, which names the stream. What had expired since the backup is not there any more.
func Restore(ctx context.Context, dir string, r io.ReadSeeker, o RestoreOptions) (*backup.Index, error) {
	keys, err := o.openKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("restore: %w; nothing was touched", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // a link would not be replaced by what it leads to
	}
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	index, err := backup.Verify(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := keys.fit(index.Keys); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if free := freeSpace(filepath.Dir(dir)); free >= 0 && uint64(free) < index.Stored+reserve {
		return nil, fmt.Errorf("restore: no room: %d MiB are free where %s lies, and %d MiB are needed: make room and try again; nothing was touched",
			free>>20, dir, (index.Stored+reserve)>>20)
	}
	return index, restoreBeside(ctx, dir, index, r, keys)
}

// checkEmpty returns an error for a directory that holds something.
func checkEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	case len(list) > 0 && isLocked(dir):
		return fmt.Errorf("restore: %s: %w: a host uses it: name another one; nothing was touched", dir, ErrNotEmpty)
	case len(list) > 0:
		return fmt.Errorf("restore: %s: %w: it holds %s: name another one, or move it away; nothing was touched", dir, ErrNotEmpty, list[0].Name())
	}
	if isMount(dir) {
		return fmt.Errorf("restore: %s is the root of a file system, and cannot be replaced: name a directory in it; nothing was touched", dir)
	}
	return nil
}

// isMount reports whether a directory is known to be the root of a file system.
func isMount(dir string) bool {
	var own, above syscall.Stat_t
	return syscall.Stat(dir, &own) == nil && syscall.Stat(filepath.Dir(dir), &above) == nil && own.Dev != above.Dev
}

// restoreBeside restores into a directory that takes the place of dir at the end.
func restoreBeside(ctx context.Context, dir string, index *backup.Index, r io.ReadSeeker, keys *restoreKeys) (err error) {
	partial := dir + ".partial"
	lock, err := takePartial(partial)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if err := index.RestoreFiles(ctx, r, partial); err != nil {
		return err
	}
	if err := restoreStreams(ctx, partial, index, r, keys); err != nil {
		return err
	}
	if err := syncTree(partial); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.Remove(filepath.Join(partial, restoringName)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := syscall.Rename(partial, dir); err != nil { // os.Rename does not replace a directory that is empty
		return fmt.Errorf("restore: %s cannot become %s: %w: name a directory that can be replaced, not the root of a file system", partial, dir, err)
	}
	return syncPath(filepath.Dir(dir))
}

// takePartial makes the directory of a restore, empty, and takes it for this process.
func takePartial(partial string) (*os.File, error) {
	marker := filepath.Join(partial, restoringName)
	if _, err := os.Stat(partial); err == nil {
		if _, err := os.Stat(marker); err != nil && checkEmpty(partial) != nil {
			return nil, fmt.Errorf("restore: %s: %w, and nothing that a restore has left: move it away", partial, ErrNotEmpty)
		}
	}
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return nil, fmt.Errorf("restore: %w: all is made there, and renamed at the end; nothing was touched", err)
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	lock, err := lockDir(partial)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	list, err := os.ReadDir(partial)
	for _, e := range list {
		if e.Name() != restoringName && e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(partial, e.Name())))
		}
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("restore: %w", err)
	}
	return lock, nil
}

// restoreStreams has a NATS server that keeps its streams in dir take those of a backup.
func restoreStreams(ctx context.Context, dir string, index *backup.Index, r io.ReadSeeker, keys *restoreKeys) error {
	storeKey, err := keys.makeStoreKey(dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	b, err := bus.Start(bus.Config{StoreDir: dir, StoreKey: storeKey, Logger: slog.New(slog.DiscardHandler)}) // its errors are answers, too
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopped := b.Stopped()
	go func() {
		select {
		case <-stopped:
			cancel(fmt.Errorf("restore: %w", b.StorageErr()))
		case <-ctx.Done():
		}
	}()
	accounts, err := openAccounts(b, index.Accounts)
	if err == nil {
		err = index.RestoreStreams(ctx, r, accounts)
	}
	if err == nil {
		index.Keys, err = keys.check(ctx, b)
	}
	if err == nil {
		err = unavailable(b.StorageErr())
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return errors.Join(err, b.Close())
}

// openAccounts opens the accounts that a backup has. The Bus closes them.
func openAccounts(b *bus.Bus, names []string) (list []backup.Account, err error) {
	for _, name := range names {
		conn := b.Conn()
		switch name {
		case bus.DefaultAccount:
		case bus.ControlAccount:
			conn = b.Control()
		default:
			if err = checkNamespace(name); err == nil {
				conn, err = b.OpenAccount(name, bus.AccountLimits{})
			}
			if err != nil {
				return nil, err
			}
		}
		list = append(list, backup.Account{Name: name, Conn: conn})
	}
	return list, nil
}

// restoreKeys are the master keys that a restore was given.
type restoreKeys struct {
	source  *secrets.Source
	ring    *secrets.Keyring // nil for none
	encrypt bool
}

func (o *RestoreOptions) openKeys(ctx context.Context) (*restoreKeys, error) {
	k := &restoreKeys{source: &secrets.Source{Text: o.MasterKey, File: o.MasterKeyFile, Command: o.MasterKeyCommand}, encrypt: o.EncryptStore}
	if err := k.source.Validate(); err != nil {
		return nil, err
	}
	var err error
	if k.ring, err = k.source.Load(ctx); err != nil {
		return nil, err
	}
	if k.encrypt && k.ring == nil {
		return nil, errors.New("an encrypted store needs the master key, as a file or by a command: that of the host that was backed up, or, if it had no secrets, a new one (`fnhost secret key`)")
	}
	return k, nil
}

// fit returns an error if none of the keys that were given is one of those that a backup needs.
func (k *restoreKeys) fit(ids []string) error {
	if k.ring == nil || len(ids) == 0 || slices.ContainsFunc(k.ring.IDs(), func(id string) bool { return slices.Contains(ids, id) }) {
		return nil
	}
	return fmt.Errorf("restore: %w: what is in the backup needs the master key %s, and %s; nothing was touched",
		secrets.ErrWrongKey, strings.Join(ids, ", "), k.source.Wanted(k.ring))
}

// makeStoreKey makes the key of the store in dir, "" if that is not to be encrypted.
func (k *restoreKeys) makeStoreKey(dir string) (string, error) {
	if !k.encrypt {
		return "", nil
	}
	return makeStoreKey(filepath.Join(dir, storeKeyFile), k.ring)
}

// check returns the IDs of the keys of what was restored, which those that were given must open.
func (k *restoreKeys) check(ctx context.Context, b *bus.Bus) ([]string, error) {
	ids, err := keysOfSecrets(ctx, b)
	if err != nil || k.ring == nil || len(ids) == 0 {
		return ids, err
	}
	bucket, err := openControlBucket(ctx, b, secretsBucket)
	if err != nil {
		return nil, err
	}
	store, err := secrets.Open(ctx, secrets.Config{Bucket: bucket, Namespace: bus.DefaultAccount, Keys: k.ring, Source: k.source})
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	store.Close()
	return ids, nil
}

// syncTree has all below a directory written to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
