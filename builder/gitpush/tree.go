package gitpush

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// entry is a file, link or submodule of a tree.
type entry struct {
	mode string
	id   string
	size int64
	path string // with slashes
}

// Modes of git.
const (
	modeExecutable = "100755"
	modeLink       = "120000"
	modeSubmodule  = "160000"
)

// Limits of the names in a tree, in bytes, and of a link's target.
const maxPath = 1024

// extract writes the tree of a commit to dir. Contents come out as they are in
// the repository: attributes, filters and hooks play no part, because no command
// that knows of them is used.
func (s *Server) extract(ctx context.Context, repo string, env []string, commit, dir string, notes io.Writer) error {
	list, err := s.list(ctx, repo, env, commit, notes)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return s.write(ctx, repo, env, list, root)
}

// list returns the files and links of a commit, within the limits.
func (s *Server) list(ctx context.Context, repo string, env []string, commit string, notes io.Writer) ([]entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := s.git(ctx, nil, env, "--git-dir="+repo, "ls-tree", "-r", "-z", "-l", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr tail
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	list, err := s.readList(stdout, notes)
	if err != nil {
		cancel() // a tree can be endless
	}
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		err = gitError(ctx, "ls-tree", waitErr, &stderr)
	}
	return list, err
}

// readList reads what git ls-tree prints.
func (s *Server) readList(r io.Reader, notes io.Writer) ([]entry, error) {
	var list []entry
	var total int64
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 2*maxPath)
	lines.Split(splitNUL)
	for n := 0; lines.Scan(); n++ {
		e, err := parseEntry(lines.Text())
		if err != nil {
			return nil, err
		}
		total += e.size
		switch {
		case n >= s.cfg.MaxFiles:
			return nil, rejectf("the tree has more than %d files: leave out what is not source, with .gitignore and git rm --cached", s.cfg.MaxFiles)
		case e.size > s.cfg.MaxFile:
			return nil, rejectf("%s has %s, and a file may have %s: take it out with git rm", e.path, mebibytes(e.size), mebibytes(s.cfg.MaxFile))
		case total > s.cfg.MaxTree:
			return nil, rejectf("the files of the tree have more than %s together: take out what is not source, with git rm", mebibytes(s.cfg.MaxTree))
		case e.mode == modeSubmodule:
			fmt.Fprintf(notes, "Note: %s is a submodule. Its files are not part of a push, and are left out.\n", e.path)
			continue
		}
		list = append(list, e)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, rejectf("a path in the tree has more than %d bytes", maxPath)
	}
	return list, lines.Err()
}

// mebibytes is a size for people.
func mebibytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func splitNUL(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// parseEntry reads "mode type id size<TAB>path", size padded, or "-". It refuses
// paths that no file of a source tree has.
func parseEntry(line string) (entry, error) {
	head, name, ok := strings.Cut(line, "\t")
	fields := strings.Fields(head)
	if !ok || len(fields) != 4 || !isID(fields[2]) {
		return entry{}, fmt.Errorf("gitpush: git ls-tree has printed %.200q", line)
	}
	e := entry{mode: fields[0], id: fields[2], path: name}
	switch kind := fields[1]; {
	case kind == "commit" && e.mode == modeSubmodule:
	case kind == "blob" && e.mode != modeSubmodule:
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil || size < 0 {
			return entry{}, fmt.Errorf("gitpush: git ls-tree has printed the size %.200q", fields[3])
		}
		e.size = size
	default:
		return entry{}, fmt.Errorf("gitpush: git ls-tree has printed %.200q", line)
	}
	if e.mode == modeLink && e.size > maxPath {
		return entry{}, rejectf("%q is a link to a path of more than %d bytes", name, maxPath)
	}
	return e, checkPath(name)
}

// checkPath refuses what git refuses too (receive.fsckObjects).
func checkPath(name string) error {
	if len(name) > maxPath {
		return rejectf("a path in the tree has more than %d bytes: %.100q", maxPath, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return rejectf("the tree has a file called %q: no file of a source tree is called %q", name, part)
		}
	}
	return nil
}

// write writes entries below root: first files, then links, so that no file is
// written through a link.
func (s *Server) write(ctx context.Context, repo string, env []string, list []entry, root *os.Root) error {
	if len(list) == 0 {
		return nil
	}
	var ids strings.Builder
	for _, e := range list {
		ids.WriteString(e.id + "\n")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := s.git(ctx, nil, env, "--git-dir="+repo, "cat-file", "--batch")
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr tail
	cmd.Stdin, cmd.Stderr = strings.NewReader(ids.String()), &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	links, err := writeFiles(bufio.NewReaderSize(stdout, 64<<10), list, root)
	if err != nil {
		cancel()
	}
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		return gitError(ctx, "cat-file", waitErr, &stderr)
	}
	if err != nil {
		return err
	}
	return writeLinks(links, root)
}

// link is a symbolic link of a tree.
type link struct{ path, target string }

// writeFiles reads what git cat-file --batch prints for list.
func writeFiles(r *bufio.Reader, list []entry, root *os.Root) (links []link, err error) {
	for _, e := range list {
		head, err := r.ReadString('\n')
		if want := fmt.Sprintf("%s blob %d\n", e.id, e.size); err != nil || head != want {
			return nil, fmt.Errorf("gitpush: git cat-file has printed %.200q for %q: %w", head, want, err)
		}
		content := io.LimitReader(r, e.size)
		if e.mode == modeLink {
			target, err := io.ReadAll(content)
			if err != nil {
				return nil, err
			}
			links = append(links, link{e.path, string(target)})
		} else if err := writeFile(root, e, content); err != nil {
			return nil, err
		}
		if b, err := r.ReadByte(); err != nil || b != '\n' {
			return nil, fmt.Errorf("gitpush: the output of git cat-file breaks off at %q: %w", e.path, err)
		}
	}
	return links, nil
}

func writeFile(root *os.Root, e entry, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(e.path), 0o755); err != nil {
		return pathError(e.path, err)
	}
	mode := fs.FileMode(0o644)
	if e.mode == modeExecutable {
		mode = 0o755
	}
	f, err := root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return pathError(e.path, err)
	}
	n, err := io.Copy(f, content)
	if err == nil && n != e.size {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, f.Close())
}

// pathError says what a path that cannot be written means for the pusher.
func pathError(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENOTDIR):
		return rejectf("%s is in the tree twice, for the host's file system, which may not tell capitals from small letters: rename one", name)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EILSEQ):
		return rejectf("%q is no name for the host's file system: rename it", name)
	}
	return err
}

// writeLinks makes links, and refuses those that lead out of root, be it by way
// of others.
func writeLinks(links []link, root *os.Root) error {
	for _, l := range links {
		if path.IsAbs(l.target) || strings.ContainsRune(l.target, 0) || l.target == "" {
			return leaves(l)
		}
		if err := root.MkdirAll(path.Dir(l.path), 0o755); err != nil {
			return pathError(l.path, err)
		}
		if err := root.Symlink(l.target, l.path); err != nil {
			return pathError(l.path, err)
		}
	}
	for _, l := range links {
		_, err := root.Stat(l.path)
		if err == nil {
			continue
		}
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR)
		if to := path.Join(path.Dir(l.path), l.target); !missing || to == ".." || strings.HasPrefix(to, "../") {
			return leaves(l)
		}
	}
	return nil
}

func leaves(l link) error {
	return rejectf("%s is a symbolic link to %q, which leaves the tree: the host has only what was pushed", l.path, l.target)
}
