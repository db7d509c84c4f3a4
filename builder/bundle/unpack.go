package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Unpack writes the bundle that r holds, and ends with, to dir, and returns what
// it wrote: its digest is the one that [Pack] returned. The directory must be
// empty, or not be there while its parent is; nobody else may write to it meanwhile.
//
// Errors of the bundle are *[Error], with the kinds [ErrDamaged], [ErrUnsafe] and
// [ErrTooLarge] (beyond limits). Errors of reading r, of the disk and of ctx are
// wrapped. After each of them dir is as it was before. If the process dies, dir
// holds a part of the tree: unpack beside, and rename. The end of ctx is seen
// between two reads of r: to interrupt one that waits, close what r reads from.
// Modes are subject to the umask, and nothing is synced to the disk.
func Unpack(ctx context.Context, r io.Reader, dir string, limits Limits) (Summary, error) {
	s, err := unpack(ctx, r, dir, limits)
	if err != nil {
		return Summary{}, fmt.Errorf("unpack to %s: %w", dir, err)
	}
	return s, nil
}

func unpack(ctx context.Context, r io.Reader, dir string, limits Limits) (_ Summary, err error) {
	made, err := makeDir(dir)
	if err != nil {
		return Summary{}, err
	}
	u := &unpacker{ledger: newLedger(limits)}
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, u.undo(dir, made))
		}
		if u.root != nil {
			u.root.Close()
		}
	}()
	if u.root, err = os.OpenRoot(dir); err != nil {
		return Summary{}, err
	}
	if err := u.run(ctx, r); err != nil {
		return Summary{}, err
	}
	done = true
	return summarize(u.entries, nil), nil
}

// makeDir makes dir, or checks that it is empty.
func makeDir(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o755)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return false, fmt.Errorf("not an empty directory: it holds %q", names[0])
	}
	if err == io.EOF {
		err = nil
	}
	return false, err
}

type unpacker struct {
	root    *os.Root
	ledger  *ledger
	stream  *stream
	entries []Entry
}

// run unpacks all of r.
func (u *unpacker) run(ctx context.Context, r io.Reader) error {
	s, err := newStream(ctx, r, u.ledger.limits)
	if err != nil {
		return err
	}
	u.stream = s
	t := tar.NewReader(s)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are checked below
			return s.explain(err)
		}
		if n >= u.ledger.limits.Entries {
			return failure(ErrTooLarge, h.Name, "more than %d files, links and directories", u.ledger.limits.Entries)
		}
		if err := u.entry(h, t); err != nil {
			return err
		}
		s.mark()
	}
	if err := s.finish(); err != nil {
		return err
	}
	return u.makeLinks()
}

// entry takes one entry of the tar. Links wait until all is written, so that
// nothing can be written through one.
func (u *unpacker) entry(h *tar.Header, t *tar.Reader) error {
	name := strings.TrimPrefix(h.Name, "./")
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return failure(ErrUnsafe, name, "a sparse file: pack it as a plain one")
		}
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader: // of git archive: a comment
		return nil
	case tar.TypeDir:
		return u.dir(strings.TrimSuffix(name, "/"))
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return failure(ErrUnsafe, name, "a symbolic link to nothing")
		}
		e := Entry{Path: name, Link: h.Linkname}
		u.entries = append(u.entries, e)
		return u.ledger.add(e)
	case tar.TypeReg:
		return u.file(Entry{Path: name, Size: h.Size, Executable: h.Mode&0o100 != 0}, t)
	}
	return failure(ErrUnsafe, name, "neither a file nor a directory nor a symbolic link (type %q)", h.Typeflag)
}

// dir enters a directory. It is made when something lies in it.
func (u *unpacker) dir(name string) error {
	if name == "" || name == "." { // the tree itself
		return nil
	}
	if err := checkPath(name); err != nil {
		return err
	}
	return u.ledger.addDir(name)
}

func (u *unpacker) file(e Entry, t *tar.Reader) (err error) {
	if err := u.ledger.add(e); err != nil {
		return err
	}
	local := filepath.FromSlash(e.Path)
	if err := u.root.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	f, err := u.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(e.mode()))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	h := sha256.New()
	disk := &writer{w: f}
	if _, err := io.Copy(io.MultiWriter(disk, h), t); err != nil {
		if disk.err != nil {
			return disk.err
		}
		return u.stream.explain(err)
	}
	e.sum = [sha256.Size]byte(h.Sum(nil))
	u.entries = append(u.entries, e)
	return nil
}

func (u *unpacker) makeLinks() error {
	if err := u.ledger.checkLinks(); err != nil {
		return err
	}
	for _, e := range u.entries {
		if e.Link == "" {
			continue
		}
		if err := u.root.MkdirAll(filepath.FromSlash(path.Dir(e.Path)), 0o755); err != nil {
			return err
		}
		if err := u.root.Symlink(e.Link, filepath.FromSlash(e.Path)); err != nil {
			return err
		}
	}
	return nil
}

// undo removes what was written, and dir if it was made.
func (u *unpacker) undo(dir string, made bool) error {
	var errs []error
	for _, name := range u.ledger.tops() {
		errs = append(errs, u.root.RemoveAll(name))
	}
	if made {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}

// writer keeps its error, to tell those of the disk from those of the bundle.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
