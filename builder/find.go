package builder

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
)

// Found is a directory that holds a function.
type Found struct {
	Name    string // that its manifest gives it, or its directory
	Unnamed bool   // its manifest gives it none
	Source  Source
	Routes  []manifest.Route
}

// Find lists the functions in a folder: the folder itself if it is one, else
// its immediate subdirectories that hold a handler, and all those, at any depth,
// that hold a manifest. root is the tree that their sources may use.
func Find(dir, root string) []Found {
	if holdsFunction(dir) {
		return []Found{foundIn(dir, root)}
	}
	var list []Found
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return nil
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 && filepath.Dir(path) == dir {
			info, err := os.Stat(path)
			isDir = err == nil && info.IsDir()
		}
		if !isDir {
			return nil
		}
		if isSkipped(e.Name()) {
			return filepath.SkipDir
		}
		if hasManifest(path) || filepath.Dir(path) == dir && holdsFunction(path) {
			list = append(list, foundIn(path, root))
		}
		return nil
	})
	return list
}

// isSkipped reports whether a directory of that name is not looked at.
func isSkipped(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || slices.Contains([]string{"node_modules", "testdata", "vendor"}, name)
}

func foundIn(dir, root string) Found {
	name := ""
	var routes []manifest.Route
	if m, err := manifest.Load(dir); err == nil {
		name, routes = m.Name, m.Triggers.HTTP
	}
	unnamed := name == ""
	if unnamed {
		name = manifest.NameFromDir(filepath.Base(dir))
	}
	if manifest.ValidName(name) != nil {
		name = "function-" + name // "v1", or nothing that could be kept
	}
	return Found{Name: name, Unnamed: unnamed, Source: Source{Dir: dir, Root: root}, Routes: routes}
}

func hasManifest(dir string) bool {
	for _, name := range []string{manifest.FileName, "function.yml"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// holdsFunction reports whether a directory is meant to be a function: it has
// handlers, good ones or not, or it looks as if it had, but for a syntax error.
func holdsFunction(dir string) bool {
	if hasManifest(dir) {
		return true
	}
	_, err := Detect(dir)
	var bad *Error
	switch {
	case err == nil:
		return true
	case errors.As(err, &bad):
		return mentionsHandler(dir)
	}
	return false
}

func mentionsHandler(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err == nil && (bytes.Contains(b, []byte("func Handle")) || bytes.Contains(b, []byte("functions.Serve("))) {
			return true
		}
	}
	return false
}

// SourceFiles lists the files that a build of src reads: its Go files and what
// they embed, packages of its module that they import, go.mod and go.sum. Paths
// are absolute, with links followed, and sorted. Errors are those of [Builder.Scan].
func SourceFiles(src Source) ([]string, error) {
	t, err := readTree(src)
	if err != nil {
		return nil, err
	}
	return t.files, nil
}
