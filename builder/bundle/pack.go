package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// Pack writes the tree at dir to w, and returns what it wrote. A tree without
// files gives a bundle without entries.
//
// An error of a file names it. Errors of the tree are *[Error], with the kinds
// [ErrTooLarge] (beyond limits), [ErrUnsafe] (a link that leaves the tree, a name
// that a server would not take) and [ErrChanged] (a file was written to
// meanwhile). After an error, that of ctx included, what was written to w is no
// bundle, and Unpack says so.
func Pack(ctx context.Context, dir string, w io.Writer, limits Limits) (Summary, error) {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	s, err := send(ctx, dir, t, limits)
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return Summary{}, fmt.Errorf("pack %s: %w", dir, err)
	}
	return s, nil
}

// Inspect returns what [Pack] would, without writing: whether the digest is
// that of what a server has, and what would be sent. Its errors are those of Pack.
func Inspect(ctx context.Context, dir string, limits Limits) (Summary, error) {
	s, err := send(ctx, dir, nil, limits)
	if err != nil {
		return Summary{}, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return s, nil
}

// send reads the tree, and writes it to t unless that is nil.
func send(ctx context.Context, dir string, t *tar.Writer, limits Limits) (Summary, error) {
	sel, err := selectTree(ctx, dir, limits)
	if err != nil {
		return Summary{}, err
	}
	defer sel.root.Close()
	entries := make([]Entry, len(sel.found))
	for i := range sel.found {
		if err := sel.found[i].send(ctx, sel.root, t); err != nil {
			return Summary{}, err
		}
		entries[i] = sel.found[i].Entry
	}
	return summarize(entries, sel.leftOut), nil
}

func (f *found) send(ctx context.Context, root *os.Root, t *tar.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t != nil {
		if err := t.WriteHeader(f.header()); err != nil {
			return err
		}
	}
	if f.Link != "" {
		return nil
	}
	file, err := openSame(root, f.Path, f.info)
	if err != nil {
		return err
	}
	defer file.Close()
	return f.copy(ctx, file, t)
}

// header has nothing that depends on when and by whom a tree was written.
func (e Entry) header() *tar.Header {
	if e.Link != "" {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: e.Path, Linkname: e.Link, Mode: 0o777}
	}
	return &tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Size: e.Size, Mode: e.mode()}
}

// copy sends the contents, which must be as long as was said before, and sets
// their sum.
func (f *found) copy(ctx context.Context, file *os.File, t *tar.Writer) error {
	h := sha256.New()
	w := io.Writer(h)
	if t != nil {
		w = io.MultiWriter(t, h)
	}
	n, err := io.Copy(w, io.LimitReader(reader{ctx, file}, f.Size))
	if err != nil {
		return err
	}
	more, err := io.Copy(io.Discard, io.LimitReader(file, 1))
	if err != nil {
		return err
	}
	now, err := file.Stat()
	if err != nil {
		return err
	}
	if n != f.Size || more != 0 || !now.ModTime().Equal(f.info.ModTime()) {
		return failure(ErrChanged, f.Path, "written to while it was packed: try again")
	}
	f.sum = [sha256.Size]byte(h.Sum(nil))
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
