package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Of a data directory these are kept, beside the streams: the hash of the token, the key that
// callbacks are signed with, and the repositories that were pushed. Programs are fetched from
// the streams; the master key of secrets is never taken.
const repositories = "git/repos"

var keptFiles = []string{"admin.token", callbackKey}

// namespaces has a directory for each namespace but the default one, of which the key of
// callbacks and the repositories are kept, too.
const (
	namespaces  = "namespaces"
	callbackKey = "callback.key"
)

// keeps reports whether a file of the data directory is one of those that are kept.
func keeps(file string) bool {
	if rest, ok := strings.CutPrefix(file, namespaces+"/"); ok {
		_, file, _ := strings.Cut(rest, "/")
		return file == callbackKey || strings.HasPrefix(file, repositories+"/")
	}
	return slices.Contains(keptFiles, file) || strings.HasPrefix(file, repositories+"/")
}

// addFiles writes the files of a data directory.
func (w *writer) addFiles(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("backup: data directory: %w", err)
	}
	defer root.Close()
	for _, file := range keptFiles {
		if err := w.addFile(root, file); err != nil {
			return err
		}
	}
	if err := w.addRepositories(ctx, root, repositories); err != nil {
		return err
	}
	dirs, err := directories(root, namespaces)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := w.addFile(root, path.Join(dir, callbackKey)); err != nil {
			return err
		}
		if err := w.addRepositories(ctx, root, path.Join(dir, repositories)); err != nil {
			return err
		}
	}
	return nil
}

// addRepositories writes the git repositories in a directory.
func (w *writer) addRepositories(ctx context.Context, root *os.Root, dir string) error {
	list, err := directories(root, dir)
	if err != nil {
		return err
	}
	for _, repo := range list {
		if err := w.addRepository(ctx, root, repo); err != nil {
			return err
		}
	}
	return nil
}

// directories returns those in a directory, which may not be there.
func directories(root *os.Root, dir string) (paths []string, err error) {
	list, err := fs.ReadDir(root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("backup: %w", err)
	}
	for _, e := range list {
		if e.IsDir() {
			paths = append(paths, path.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// addFile writes a file, unless it is not there, or no more.
func (w *writer) addFile(root *os.Root, file string) error {
	f, err := root.Open(filepath.FromSlash(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	return w.add(filesDir+file, info.Size(), info.Mode(), f)
}

// addRepository writes a git repository that may be pushed to or packed meanwhile. Its branches
// come first: they lead to objects that are there. Objects never change, but git may move them into
// another pack: they are listed until nothing is new.
func (w *writer) addRepository(ctx context.Context, root *os.Root, repo string) error {
	done := make(map[string]bool)
	for _, part := range []string{"refs", "packed-refs", "HEAD", "config", "description", "shallow"} {
		if _, err := w.addTree(ctx, root, path.Join(repo, part), done); err != nil {
			return err
		}
	}
	for {
		found, err := w.addTree(ctx, root, path.Join(repo, "objects"), done)
		if err != nil || !found {
			return err
		}
	}
}

// addTree writes what lies below a path and is not done. It reports whether there was any.
func (w *writer) addTree(ctx context.Context, root *os.Root, tree string, done map[string]bool) (found bool, err error) {
	err = fs.WalkDir(root.FS(), tree, func(file string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case e.IsDir() && isTemporary(e.Name()):
			return fs.SkipDir
		case isTemporary(e.Name()) || done[file]:
			return nil
		}
		done[file], found = true, true
		if e.IsDir() { // git wants some that are empty
			return w.add(filesDir+file+"/", 0, 0o700, strings.NewReader(""))
		}
		return w.addFile(root, file)
	})
	if err != nil {
		return false, fmt.Errorf("backup: %s: %w", tree, err)
	}
	return found, nil
}

// isTemporary reports whether git calls so what is on its way.
func isTemporary(name string) bool {
	return strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") || strings.HasPrefix(name, "incoming-") || strings.HasSuffix(name, ".lock")
}

// RestoreFiles writes the files of a backup, which r reads, below a data directory.
func (ix *Index) RestoreFiles(ctx context.Context, r io.ReadSeeker, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer root.Close()
	for _, e := range ix.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := restoreFile(root, r, e); err != nil {
			return fmt.Errorf("restore: %s: %w", strings.TrimPrefix(e.name, filesDir), err)
		}
	}
	return nil
}

func restoreFile(root *os.Root, r io.ReadSeeker, e entry) error {
	name := filepath.FromSlash(strings.TrimPrefix(e.name, filesDir))
	if strings.HasSuffix(e.name, "/") {
		return root.MkdirAll(strings.TrimSuffix(name, string(filepath.Separator)), 0o700)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	content, err := e.open(r)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
