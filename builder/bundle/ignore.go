package bundle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	gitIgnore     = ".gitignore"
	ownIgnore     = ".fnhostignore"
	maxIgnoreFile = 1 << 20 // bytes
)

// versionControl are the names of what version control keeps, in any case.
var versionControl = []string{".git", ".hg", ".svn", ".bzr"}

// neverSent returns why a name is left out wherever it is, or "".
func neverSent(name string) string {
	if slices.ContainsFunc(versionControl, func(s string) bool { return strings.EqualFold(s, name) }) {
		return "version control"
	}
	switch name {
	case "node_modules":
		return "dependencies of a package manager"
	case ".fnhost":
		return "data of fnhost"
	}
	if leftover(name) {
		return "left by an editor or file manager"
	}
	return ""
}

// leftover reports whether editors and file managers use name for themselves.
func leftover(name string) bool {
	switch {
	case name == "4913", name == ".DS_Store", name == "Thumbs.db":
		return true
	case len(name) > 1 && name[0] == '#' && name[len(name)-1] == '#':
		return true
	case strings.HasPrefix(name, ".#"), strings.HasPrefix(name, ".goutputstream-"):
		return true
	}
	for _, suffix := range []string{"~", "___jb_tmp___", "___jb_old___", ".kate-swp"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	swap, _ := path.Match(".*.sw[a-z]", name)
	return swap
}

// ignoreFile is one file of patterns.
type ignoreFile struct {
	name     string // as shown, relative to the tree
	base     string // directory that it is about, from the top: "" or ends in "/"
	patterns []pattern
}

// ignorer knows the ignore files from the top, the root of the git repository or
// else the tree's, down to a directory.
type ignorer struct {
	prefix   string        // from the top to the tree: "" or ends in "/"
	git, own []*ignoreFile // the deepest last
}

// newIgnorer reads the ignore files above dir, which is absolute and real.
func newIgnorer(dir string) (*ignorer, error) {
	ig := &ignorer{}
	top := gitTop(dir)
	rel, err := filepath.Rel(top, dir)
	if err != nil || rel == "." {
		return ig, err
	}
	ig.prefix = filepath.ToSlash(rel) + "/"
	names := strings.Split(filepath.ToSlash(rel), "/")
	base := ""
	for i, name := range names {
		root, err := os.OpenRoot(filepath.Join(top, filepath.FromSlash(base)))
		if err != nil {
			return nil, err
		}
		err = ig.read(root, ".", base, strings.Repeat("../", len(names)-i))
		root.Close()
		if err != nil {
			return nil, err
		}
		base += name + "/"
	}
	return ig, nil
}

// gitTop returns the directory of the git repository that dir belongs to, or dir.
func gitTop(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

// enter reads the ignore files of a directory of the tree, given with slashes. The
// function that it returns forgets them.
func (ig *ignorer) enter(root *os.Root, dir string) (leave func(), err error) {
	git, own := len(ig.git), len(ig.own)
	rel := ""
	if dir != "." {
		rel = dir + "/"
	}
	if err := ig.read(root, dir, ig.prefix+rel, rel); err != nil {
		return nil, err
	}
	return func() { ig.git, ig.own = ig.git[:git], ig.own[:own] }, nil
}

func (ig *ignorer) read(root *os.Root, dir, base, shown string) error {
	for _, name := range []string{gitIgnore, ownIgnore} {
		list, err := readIgnoreFile(root, path.Join(dir, name))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			continue
		}
		file := &ignoreFile{name: shown + name, base: base, patterns: list}
		if name == gitIgnore {
			ig.git = append(ig.git, file)
		} else {
			ig.own = append(ig.own, file)
		}
	}
	return nil
}

// readIgnoreFile reads a file of patterns if it is there. As for git, a link is not one.
func readIgnoreFile(root *os.Root, name string) ([]pattern, error) {
	info, err := root.Lstat(name)
	if os.IsNotExist(err) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIgnoreFile {
		return nil, failure(ErrTooLarge, name, "an ignore file of %d bytes; the limit is %d", info.Size(), maxIgnoreFile)
	}
	f, err := openSame(root, name, info)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile))
	return parsePatterns(data), err
}

// openSame opens the regular file that info is about, not what has taken its place.
func openSame(root *os.Root, name string, info fs.FileInfo) (*os.File, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not block
	if os.IsNotExist(err) {
		return nil, failure(ErrChanged, name, "removed while it was packed: try again")
	}
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!os.SameFile(info, now) || info.Size() != now.Size() || info.Mode() != now.Mode()) {
		err = failure(ErrChanged, name, "changed while it was packed: try again")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// leftOut reports whether a path of the tree is to be left out, and by which rule.
func (ig *ignorer) leftOut(p string, dir bool) (rule string, out bool) {
	if why := neverSent(path.Base(p)); why != "" {
		return "always: " + why, true
	}
	for _, files := range [][]*ignoreFile{ig.own, ig.git} {
		for _, file := range slices.Backward(files) {
			name := strings.TrimPrefix(ig.prefix+p, file.base)
			for _, pat := range slices.Backward(file.patterns) {
				if pat.matches(name, dir) {
					return fmt.Sprintf("%s:%d: %s", file.name, pat.line, pat.text), !pat.negated
				}
			}
		}
	}
	return "", false
}
