package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/fnhost/fnhost"
)

// Source is a directory to build.
type Source struct {
	// Dir is the function's directory.
	Dir string
	// Root is the tree that the source may use: a go.mod above Dir is looked for
	// up to Root, and nothing outside of it is read. Default: Dir.
	Root string
}

// maxSource bounds what one source may hold, in bytes and in files.
const (
	maxSourceBytes = 512 << 20
	maxSourceFiles = 20_000
)

// tree is a source as it was read: what a build needs, and its digest.
type tree struct {
	pkg     *Package
	dir     string // real path of the function's directory
	root    string // real path of the tree
	modRoot string // directory of go.mod; dir for a bare source
	mod     *modfile.File
	modData []byte // nil for a bare source
	sumData []byte
	module  string   // module path
	files   []string // what the digest covers, absolute, sorted
	dirs    []string // the directories of those files
	digest  string
}

func (t *tree) bare() bool { return t.modData == nil }

// own reports whether the module is fnhost itself, which holds the library.
func (t *tree) own() bool { return t.module == fnhost.Module }

// importPath returns the import path of the function's package.
func (t *tree) importPath() string { return t.importPathOf(t.dir) }

func (t *tree) importPathOf(dir string) string {
	rel, err := filepath.Rel(t.modRoot, dir)
	if err != nil || rel == "." {
		return t.module
	}
	return path.Join(t.module, filepath.ToSlash(rel))
}

// readTree reads what of the source matters for its build.
func readTree(src Source) (*tree, error) {
	dir, err := filepath.EvalSymlinks(src.Dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &tree{dir: dir, root: dir, modRoot: dir}
	if src.Root != "" {
		root, err := filepath.EvalSymlinks(src.Root)
		if err != nil {
			return nil, err
		}
		if root, err = filepath.Abs(root); err != nil {
			return nil, err
		}
		if isWithin(root, dir) { // else Dir is a link out of the watched folder: a tree of its own
			t.root = root
		}
	}
	if t.pkg, err = Detect(dir); err != nil {
		return nil, err
	}
	if err := t.readModule(); err != nil {
		return nil, err
	}
	if err := t.collect(); err != nil {
		return nil, err
	}
	return t, t.hash()
}

// isWithin reports whether path is dir or lies below it.
func isWithin(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// FindModule returns the directory of the go.mod that governs dir, looking
// upwards as far as root ("" for the top of the file system), or "" if there is none.
func FindModule(dir, root string) string {
	for {
		if info, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && info.Mode().IsRegular() {
			return dir
		}
		parent := filepath.Dir(dir)
		if dir == root || parent == dir {
			return ""
		}
		dir = parent
	}
}

// bareModule is the module path of a source that has none.
const bareModule = "function.local"

func (t *tree) readModule() error {
	found := FindModule(t.dir, t.root)
	if found == "" {
		t.module = bareModule
		return nil
	}
	t.modRoot = found
	file := filepath.Join(found, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	t.modData = data
	t.mod, err = modfile.Parse(file, data, nil)
	if err != nil {
		return modErrors(file, err)
	}
	if t.mod.Module == nil {
		return failure(file, 0, 0, "no module line")
	}
	t.module = t.mod.Module.Mod.Path
	if t.sumData, err = os.ReadFile(filepath.Join(found, "go.sum")); err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, r := range t.mod.Replace {
		if !modfile.IsDirectoryPath(r.New.Path) {
			continue
		}
		if filepath.IsAbs(r.New.Path) || !t.holds(filepath.Join(found, r.New.Path)) {
			return failure(file, r.Syntax.Start.Line, r.Syntax.Start.LineRune,
				"replace %s => %s leaves the source tree %s: copy the module into the tree, or depend on a published version", r.Old.Path, r.New.Path, t.root)
		}
	}
	return nil
}

func modErrors(file string, err error) error {
	list, ok := err.(modfile.ErrorList)
	if !ok {
		return failure(file, 0, 0, "%v", err)
	}
	e := &Error{}
	for _, m := range list {
		e.Diagnostics = append(e.Diagnostics, Diagnostic{File: file, Line: m.Pos.Line, Column: m.Pos.LineRune, Message: m.Err.Error()})
	}
	AddExcerpts(e.Diagnostics)
	return e
}

// holds reports whether path, with its links followed, lies in the tree.
func (t *tree) holds(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return isWithin(t.root, path) // the go command says what is missing
	}
	return isWithin(t.root, real)
}

// collect lists the files that the build reads from the tree: those of the
// function's package, of the packages of the same module that it imports, and
// of local replacements.
func (t *tree) collect() error {
	c := &collector{t: t, seen: make(map[string]bool)}
	if err := c.addPackage(t.dir, t.pkg.Imports, t.pkg.Embeds); err != nil {
		return err
	}
	if !t.bare() {
		c.files = append(c.files, filepath.Join(t.modRoot, "go.mod"))
		if t.sumData != nil {
			c.files = append(c.files, filepath.Join(t.modRoot, "go.sum"))
		}
		for _, r := range t.mod.Replace {
			if dir := filepath.Join(t.modRoot, r.New.Path); modfile.IsDirectoryPath(r.New.Path) {
				if err := c.addAll(dir); err != nil {
					return err
				}
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
	seen  map[string]bool
	files []string
}

// addPackage adds the files of the package in dir and follows its imports.
func (c *collector) addPackage(dir string, imports []string, embeds bool) error {
	if c.seen[dir] {
		return nil
	}
	c.seen[dir] = true
	if embeds {
		if err := c.addAll(dir); err != nil {
			return err
		}
	} else if err := c.addSources(dir); err != nil {
		return err
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
		compiled := strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".s") || strings.HasSuffix(name, ".h")
		if e.IsDir() || !compiled || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if err := c.add(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// addAll adds every file below dir.
func (c *collector) addAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != dir && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case e.IsDir() || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return c.add(path)
	})
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

// hash sets the digest: over all files, the toolchain's and the library's
// versions, and what else the result depends on.
func (t *tree) hash() error {
	h := sha256.New()
	fmt.Fprintf(h, "fnhost artifact 1\n%s/%s\n%s\n", runtime.GOOS, runtime.GOARCH, t.importPath())
	base := t.root
	if t.bare() {
		base = t.dir // the same wherever it lies
	}
	var total int64
	for _, file := range t.files {
		rel, err := filepath.Rel(base, file)
		if err != nil {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		one := sha256.New()
		n, err := io.Copy(one, io.LimitReader(f, maxSourceBytes+1))
		f.Close()
		if err != nil {
			return err
		}
		if total += n; total > maxSourceBytes {
			return failure(t.dir, 0, 0, "more than %d MiB of source", maxSourceBytes>>20)
		}
		fmt.Fprintf(h, "%x %q\n", one.Sum(nil), filepath.ToSlash(rel))
	}
	t.digest = hex.EncodeToString(h.Sum(nil)[:16])
	return nil
}
