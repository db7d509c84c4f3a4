package bundle

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// selection is what of a tree is to be sent.
type selection struct {
	root    *os.Root
	ignorer *ignorer
	ledger  *ledger
	found   []found // sorted by path
	leftOut []Omission
}

// found is an entry and what the file system said of it.
type found struct {
	Entry
	info fs.FileInfo
}

// selectTree looks through dir. The caller closes the root.
func selectTree(ctx context.Context, dir string, limits Limits) (*selection, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s := &selection{ledger: newLedger(limits)}
	if s.ignorer, err = newIgnorer(dir); err != nil {
		return nil, err
	}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if err = s.walk(ctx, "."); err == nil {
		err = s.ledger.checkLinks()
	}
	if err != nil {
		s.root.Close()
		return nil, err
	}
	slices.SortFunc(s.found, func(a, b found) int { return strings.Compare(a.Path, b.Path) })
	return s, nil
}

func (s *selection) walk(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	leave, err := s.ignorer.enter(s.root, dir)
	if err != nil {
		return err
	}
	defer leave()
	list, err := s.readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := s.visit(ctx, path.Join(dir, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err // sorted, so that of several errors it is always the same one
}

func (s *selection) visit(ctx context.Context, p string, e fs.DirEntry) error {
	if rule, out := s.ignorer.leftOut(p, e.IsDir()); out {
		if e.IsDir() {
			p += "/"
		}
		s.leftOut = append(s.leftOut, Omission{p, rule})
		return nil
	}
	switch {
	case e.IsDir():
		return s.walk(ctx, p)
	case !e.Type().IsRegular() && e.Type() != fs.ModeSymlink:
		s.leftOut = append(s.leftOut, Omission{p, "always: not a regular file"})
		return nil
	}
	info, err := s.root.Lstat(filepath.FromSlash(p))
	if os.IsNotExist(err) || err == nil && info.Mode().Type() != e.Type() {
		return failure(ErrChanged, p, "removed or exchanged while it was packed: try again")
	}
	if err != nil {
		return err
	}
	entry := Entry{Path: p}
	if info.Mode().IsRegular() {
		entry.Size, entry.Executable = info.Size(), info.Mode()&0o100 != 0
	} else if entry.Link, err = s.root.Readlink(filepath.FromSlash(p)); err != nil {
		return err
	}
	if err := s.ledger.add(entry); err != nil {
		return err
	}
	s.found = append(s.found, found{entry, info})
	return nil
}
