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
	"syscall"

	"github.com/fnhost/fnhost/host/backup"
	"github.com/fnhost/fnhost/host/bus"
)

// ErrNotEmpty is wrapped by the error of [Restore] for a directory that holds something.
var ErrNotEmpty = errors.New("the directory is not empty")

// restoringName is a file that a data directory has while it is being restored.
const restoringName = "restoring"

// Restore makes of a backup, which r reads, the data directory dir of a host that can be started there. The
// directory must be empty, or not there. r is read twice: first to its end to verify it, before anything is touched. All is
// made in a directory dir.partial beside dir, which takes its place at the end: dir is whole, or
// as it was. What a restore that was killed has left in dir.partial is removed by the next one.
//
// The error wraps [ErrNotEmpty], [ErrInUse] while dir is being restored by another process, [backup.ErrNotBackup],
// [backup.ErrNewer] or [backup.ErrDamaged]; or it is that of the disk, or of the
// NATS server, which names the stream. What had expired since the backup is not there any more.
func Restore(ctx context.Context, dir string, r io.ReadSeeker) (*backup.Index, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
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
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if free := freeSpace(filepath.Dir(dir)); free >= 0 && uint64(free) < index.Stored+reserve {
		return nil, fmt.Errorf("restore: no room: %d MiB are free where %s lies, and %d MiB are needed: make room and try again; nothing was touched",
			free>>20, dir, (index.Stored+reserve)>>20)
	}
	return index, restoreBeside(ctx, dir, index, r)
}

// checkEmpty returns an error for a directory that holds something.
func checkEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	case len(list) > 0:
		return fmt.Errorf("restore: %s: %w: it holds %s: name another one, or move it away; nothing was touched", dir, ErrNotEmpty, list[0].Name())
	}
	return nil
}

// restoreBeside restores into a directory that takes the place of dir at the end.
func restoreBeside(ctx context.Context, dir string, index *backup.Index, r io.ReadSeeker) (err error) {
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
	if err := restoreStreams(ctx, partial, index, r); err != nil {
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
		return nil, fmt.Errorf("restore: %w", err)
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
func restoreStreams(ctx context.Context, dir string, index *backup.Index, r io.ReadSeeker) error {
	b, err := bus.Start(bus.Config{StoreDir: dir, Logger: slog.New(slog.DiscardHandler)}) // its errors are answers, too
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
	err = index.RestoreStreams(ctx, r, accounts(b))
	if err == nil {
		err = unavailable(b.StorageErr())
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return errors.Join(err, b.Close())
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
