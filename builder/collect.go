package builder

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// collect lists the files that the build reads from the tree: those of the
// function's package, of the packages of the same module that it imports, and
// of local replacements.
func (t *tree) collect() error {
	c := &collector{t: t, seen: make(map[string]bool), all: make(map[string]bool)}
	if err := c.addPackage(t.dir, t.pkg.Imports, t.pkg.Embeds); err != nil {
		return err
	}
	if !t.bare() {
		c.files = append(c.files, filepath.Join(t.modRoot, "go.mod"))
		if t.sumData != nil {
			c.files = append(c.files, filepath.Join(t.modRoot, "go.sum"))
		}
		for _, r := range t.localReplaces() {
			if err := c.addAll(filepath.Join(t.modRoot, r.New.Path)); err != nil {
				return err
			}
		}
	}
	slices.Sort(c.files)
	t.files = slices.Compact(c.files)
	for _, f := range t.files {
		t.dirs = append(t.dirs, filepath.Dir(f))
	}
	t.dirs = append(t.dirs, t.dir)
	slices.Sort(t.dirs)
	t.dirs = slices.Compact(t.dirs)
	return nil
}

type collector struct {
	t     *tree
	seen  map[string]bool // packages
	all   map[string]bool // of addAll
	files []string
}

// addPackage adds the files of the package in dir and follows its imports.
func (c *collector) addPackage(dir string, imports []string, embeds bool) error {
	if c.seen[dir] {
		return nil
	}
	c.seen[dir] = true
	if err := c.addSources(dir); err != nil {
		return err
	}
	if embeds {
		if err := c.addEmbedded(dir); err != nil {
			return err
		}
	}
	if c.t.bare() {
		return nil
	}
	for _, imported := range imports {
		rel, ok := strings.CutPrefix(imported, c.t.module)
		if !ok || rel != "" && rel[0] != '/' {
			continue
		}
		sub := filepath.Join(c.t.modRoot, filepath.FromSlash(rel))
		if info, err := os.Stat(sub); err != nil || !info.IsDir() {
			continue // the go command says that it is missing
		}
		imports, embeds, err := importsOf(sub)
		if err != nil {
			return err
		}
		if err := c.addPackage(sub, imports, embeds); err != nil {
			return err
		}
	}
	return nil
}

// importsOf returns the imports of the package in dir. Syntax errors are left to
// the go command.
func importsOf(dir string) (imports []string, embeds bool, err error) {
	names, err := goFiles(dir)
	if err != nil {
		return nil, false, err
	}
	fset := token.NewFileSet()
	for _, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ImportsOnly|parser.SkipObjectResolution)
		if f == nil || err != nil {
			continue
		}
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			imports = append(imports, path)
			embeds = embeds || path == "embed"
		}
	}
	return imports, embeds, nil
}

// addSources adds the files of dir itself that a compiler reads.
func (c *collector) addSources(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		compiled := slices.Contains([]string{".go", ".s", ".h", ".syso"}, filepath.Ext(name))
		if e.IsDir() || !compiled || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if err := c.add(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// addEmbedded adds what the //go:embed directives of the package in dir name.
// Patterns that match nothing, or something that cannot be embedded, are left to
// the go command.
func (c *collector) addEmbedded(dir string) error {
	pkg, _ := buildContext().ImportDir(dir, 0)
	for _, pattern := range pkg.EmbedPatterns {
		names, err := fs.Glob(os.DirFS(dir), strings.TrimPrefix(pattern, "all:"))
		if err != nil {
			continue
		}
		for _, name := range names {
			if err := c.addAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addAll adds path and every file below it, also below links to directories.
func (c *collector) addAll(path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil && c.t.holds(path) {
		path = real
	}
	if c.all[path] {
		return nil
	}
	c.all[path] = true
	return filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil // the go command says what is missing
		case err != nil:
			return err
		case e.IsDir() && slices.Contains(unused, e.Name()):
			return filepath.SkipDir
		case e.IsDir():
			return nil
		case e.Type()&fs.ModeSymlink != 0 && isDir(file) && c.t.holds(file):
			return c.addAll(file)
		}
		return c.add(file)
	})
}

// unused are the names of directories that the go command does not embed, or
// that are too large to be looked at and hold no Go.
var unused = []string{".git", ".hg", ".svn", ".bzr", "node_modules"}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// add adds one file, unless it is not to be read from here.
func (c *collector) add(file string) error {
	if !c.t.holds(file) {
		return failure(file, 0, 0, "a symbolic link that leaves the source tree %s: copy the file into the tree", c.t.root)
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		if err == nil && !info.IsDir() && strings.HasSuffix(file, ".go") {
			return failure(file, 0, 0, "not a regular file")
		}
		return nil
	}
	if len(c.files) >= maxSourceFiles {
		return failure(filepath.Dir(file), 0, 0, "more than %d source files", maxSourceFiles)
	}
	c.files = append(c.files, file)
	return nil
}
