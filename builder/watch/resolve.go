package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxLinks is how many symbolic links a path may lead through, as in Linux.
const maxLinks = 40

// An anchor is a name in a directory on which depends where a tree's root is.
type anchor struct{ dir, name string }

// A location is where a path leads to.
type location struct {
	path    string // free of symbolic links; empty if there is no directory
	id      fileID
	anchors []anchor
}

// locate follows the absolute path to a directory. If there is none the
// location still has the anchors at which it will appear, and the error wraps
// fs.ErrNotExist or ErrNotDirectory, or is what the system said.
func locate(path string) (location, error) {
	top := filepath.VolumeName(path) + string(filepath.Separator)
	r := resolver{top: top, at: top, rest: split(path[len(top)-1:])}
	err := r.run()
	if err != nil {
		return location{anchors: r.anchors}, err
	}
	if r.at != top {
		r.anchors = append(r.anchors, anchor{filepath.Dir(r.at), filepath.Base(r.at)})
	}
	info, err := os.Lstat(r.at)
	if err != nil {
		return location{anchors: r.anchors}, err
	}
	return location{path: r.at, id: idOf(info), anchors: r.anchors}, nil
}

// A resolver is at a directory, with the elements of a path before it.
type resolver struct {
	top, at string
	rest    []string
	links   int
	anchors []anchor
}

// run follows all elements. Each symbolic link on the way, and the element that
// it ended at if it cannot go on, becomes an anchor.
func (r *resolver) run() error {
	for len(r.rest) > 0 {
		name := r.rest[0]
		r.rest = r.rest[1:]
		if name == ".." {
			r.at = filepath.Dir(r.at)
			continue
		}
		next := filepath.Join(r.at, name)
		info, err := os.Lstat(next)
		if err == nil && info.IsDir() {
			r.at = next
			continue
		}
		r.anchors = append(r.anchors, anchor{r.at, name})
		switch {
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink == 0:
			return fmt.Errorf("%w: %s", ErrNotDirectory, next)
		}
		if err := r.enter(next); err != nil {
			return err
		}
	}
	return nil
}

// enter puts a link's target before the rest of the path.
func (r *resolver) enter(link string) error {
	if r.links++; r.links > maxLinks {
		return &os.PathError{Op: "resolve", Path: link, Err: syscall.ELOOP}
	}
	target, err := os.Readlink(link)
	if err != nil {
		return err
	}
	if filepath.IsAbs(target) {
		r.top = filepath.VolumeName(target) + string(filepath.Separator)
		r.at = r.top
		target = target[len(r.top)-1:]
	}
	r.rest = append(split(target), r.rest...)
	return nil
}

// split returns the elements of a path, without empty ones and dots.
func split(path string) []string {
	var elements []string
	separator := func(r rune) bool { return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r)) }
	for _, element := range strings.FieldsFunc(path, separator) {
		if element != "." {
			elements = append(elements, element)
		}
	}
	return elements
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	if path == dir || dir == filepath.VolumeName(dir)+string(filepath.Separator) {
		return true
	}
	return strings.HasPrefix(path, dir+string(filepath.Separator))
}
