package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/version"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

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
	src     Source
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
	t := &tree{src: src, dir: dir, root: dir, modRoot: dir}
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
	// Before anything is read, so that no error quotes a file from outside.
	if err := (&collector{t: t}).addSources(dir); err != nil {
		return nil, err
	}
	if t.pkg, err = Detect(dir); err != nil {
		return nil, err
	}
	if err := t.readModule(); err != nil {
		return nil, err
	}
	t.pkg.Module, t.pkg.ModuleDir = t.module, t.modRoot
	if t.pkg.Path = t.importPath(); t.pkg.Name == "main" {
		t.pkg.Path = t.pkg.Name
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

// BareModule is the module path of a source that has none.
const BareModule = "function.local"

func (t *tree) readModule() error {
	found := FindModule(t.dir, t.root)
	if found == "" {
		t.module = BareModule
		return nil
	}
	t.modRoot = found
	file, sum := filepath.Join(found, "go.mod"), filepath.Join(found, "go.sum")
	c := &collector{t: t}
	if err := c.add(file); err != nil {
		return err
	}
	if err := c.add(sum); err != nil {
		return err
	}
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
	if len(c.files) > 1 {
		if t.sumData, err = os.ReadFile(sum); err != nil {
			return err
		}
	}
	if t.mod.Go == nil || version.Compare("go"+t.mod.Go.Version, "go"+minGo) < 0 {
		line := 1
		if t.mod.Go != nil {
			line = t.mod.Go.Syntax.Start.Line
		}
		return failure(file, line, 0, "functions need `go %s` or later here", minGo)
	}
	for _, r := range t.localReplaces() {
		if filepath.IsAbs(r.New.Path) || !t.holds(filepath.Join(found, r.New.Path)) {
			return failure(file, r.Syntax.Start.Line, r.Syntax.Start.LineRune,
				"replace %s => %s leaves the source tree %s: copy the module into the tree, or depend on a published version", r.Old.Path, r.New.Path, t.root)
		}
	}
	return nil
}

// localReplaces returns the replacements by directories that the build obeys:
// that of the library is the host's own.
func (t *tree) localReplaces() []*modfile.Replace {
	return slices.DeleteFunc(slices.Clone(t.mod.Replace), func(r *modfile.Replace) bool {
		return !modfile.IsDirectoryPath(r.New.Path) || r.Old.Path == fnhost.Module
	})
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
