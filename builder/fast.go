package builder

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// The fast path builds with the compiler and the linker alone, as the go command
// did the last time: what the go command finds out before it starts them takes
// longer than they do. A recipe is what it started, as -x tells it. It holds
// while nothing has changed but what stands in the function's own files: not
// their names, imports or constraints, nor anything outside of them. If anything
// is in doubt, or fails, the go command builds.

// recipe is how one function was built. Paths below the directory that the go
// command worked in begin with workVar.
type recipe struct {
	user, main step
	link       step
	files      string // the directory of what was generated
}

// step is one run of a tool.
type step struct {
	dir     string
	args    []string // the tool itself is the first
	config  string   // path of its import configuration
	imports string   // the content of that
}

const workVar = "$WORK"

// recipes keeps the recipe of each plan.
type recipes struct {
	mu    sync.Mutex
	byKey map[string]*recipe
}

// maxRecipes bounds what is kept; each is some kilobytes.
const maxRecipes = 2000

func (r *recipes) get(key string) *recipe {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byKey[key]
}

func (r *recipes) put(key string, v *recipe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey == nil || len(r.byKey) >= maxRecipes {
		r.byKey = make(map[string]*recipe)
	}
	r.byKey[key] = v
}

func (r *recipes) drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byKey, key)
}

// fastKey names all that a recipe depends on, "" for a source that has none.
func (b *Builder) fastKey(t *tree) string {
	p := t.pkg
	if p.Name == "main" || p.Embeds || slices.Contains(p.Imports, "C") || slices.Contains(p.Imports, "embed") {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%q\n%q\n%q\n%s\n%s\n%s\n", t.dir, b.toolchain, b.sdkHash, p.Name, p.Files, p.Imports,
		t.modData, t.sumData, shimSource(p, t.importPath()))
	for _, file := range t.files {
		if filepath.Dir(file) == t.dir {
			if strings.HasSuffix(file, ".go") {
				continue // what may change
			}
			if ext := filepath.Ext(file); ext == ".s" || ext == ".syso" || ext == ".h" {
				return "" // takes more than a compiler and a linker
			}
		}
		sum, err := hashFile(file)
		if err != nil {
			return ""
		}
		fmt.Fprintf(h, "%q %x\n", file, sum)
	}
	return string(h.Sum(nil))
}

func hashFile(file string) ([sha256.Size]byte, error) {
	data, err := os.ReadFile(file)
	return sha256.Sum256(data), err
}

// learn keeps the recipe that a successful build of t has shown, if it has shown
// all of it.
func (b *Builder) learn(t *tree, p *plan, events []buildEvent) {
	key := b.fastKey(t)
	if key == "" {
		return
	}
	user, main := t.importPath(), t.importPath()+"/"+shimDir
	r := recipe{files: p.files}
	work := ""
	dirs := make(map[string]string)
	configs := make(map[string]string)
	for _, e := range events {
		text := strings.TrimSuffix(e.Output, "\n")
		if w, ok := strings.CutPrefix(text, "WORK="); ok {
			work = w
		}
		if work == "" {
			continue
		}
		text = strings.ReplaceAll(text, work, workVar)
		if dir, ok := strings.CutPrefix(text, "cd "); ok {
			dirs[e.ImportPath] = dir
		}
		if path, content, ok := heredoc(text); ok {
			configs[path] = content
		}
		s, tool, ok := parseStep(text)
		if !ok {
			continue
		}
		s.dir = dirs[e.ImportPath]
		switch {
		case tool == "compile" && e.ImportPath == user:
			r.user = s
		case tool == "compile" && e.ImportPath == main:
			r.main = s
		case tool == "link":
			r.link = s
		}
	}
	for _, s := range r.steps() {
		if !s.complete(configs) {
			return
		}
	}
	if r.holdsOnlyOwn() {
		b.fast.put(key, &r)
	}
}

// heredoc parses how -x shows a file that is written.
func heredoc(text string) (path, content string, ok bool) {
	first, rest, _ := strings.Cut(text, "\n")
	if path, ok = strings.CutPrefix(first, "cat >"); ok {
		path, _, ok = strings.Cut(path, " << 'EOF'")
		return path, strings.TrimSuffix(strings.TrimSuffix(rest, "\n"), "EOF"), ok
	}
	if content, ok = strings.CutPrefix(first, "echo '"); ok {
		content, path, ok = strings.Cut(content, "' > ")
		path, _, _ = strings.Cut(path, " ")
		return path, content + "\n", ok
	}
	return "", "", false
}

// parseStep parses a command line of the compiler or the linker.
func parseStep(text string) (s step, tool string, ok bool) {
	text = strings.TrimPrefix(text, "GOROOT='' ")
	if !strings.HasPrefix(text, "/") || strings.Contains(text, "\n") {
		return s, "", false
	}
	if s.args, ok = splitWords(text); !ok {
		return s, "", false
	}
	tool = filepath.Base(s.args[0])
	for i, arg := range s.args[:len(s.args)-1] {
		if arg == "-importcfg" {
			s.config = s.args[i+1]
		}
	}
	return s, tool, tool == "compile" || tool == "link"
}

// splitWords splits a line as -x quotes it: in double quotes where need be.
func splitWords(line string) (words []string, ok bool) {
	var word strings.Builder
	in, quoted := false, false
	for _, c := range line {
		switch {
		case c == '\\' || c == '\'' || c == '`':
			return nil, false // not something that fnhost's own flags make
		case c == '"':
			quoted, in = !quoted, true
		case c == ' ' && !quoted:
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, !quoted && len(words) > 1
}

// complete fills in the import configuration, and reports whether all is known.
func (s *step) complete(configs map[string]string) bool {
	content, ok := configs[s.config]
	s.imports = content
	return ok && len(s.args) > 0 && isOfWork(s.config) && isOfWork(s.output())
}

// isOfWork reports whether a path of a recipe lies in the build's own directory. What
// else it may say is for the room to bound: a build that writes what -x does can say anything.
func isOfWork(path string) bool {
	rest, ok := strings.CutPrefix(path, workVar+"/")
	return ok && filepath.IsLocal(rest)
}

// output returns the path of what the step makes.
func (s *step) output() string {
	for i, arg := range s.args[:len(s.args)-1] {
		if arg == "-o" {
			return s.args[i+1]
		}
	}
	return ""
}

func (r *recipe) steps() []*step { return []*step{&r.user, &r.main, &r.link} }

// holdsOnlyOwn reports whether all that the recipe reads will be there again:
// the packages of the cache, and what its own steps make.
func (r *recipe) holdsOnlyOwn() bool {
	own := make(map[string]bool)
	for _, s := range []*step{&r.user, &r.main} {
		own[s.output()] = true
	}
	for _, s := range r.steps() {
		for line := range strings.Lines(s.imports) {
			_, file, ok := strings.Cut(strings.TrimSpace(line), "=")
			if !strings.HasPrefix(line, "packagefile ") || !ok {
				continue
			}
			if strings.HasPrefix(file, workVar) && !own[file] {
				return false
			}
		}
	}
	return true
}

// relink builds t into out by its recipe, and reports whether it did.
func (b *Builder) relink(ctx context.Context, t *tree, work, out string) bool {
	key := b.fastKey(t)
	if key == "" {
		return false
	}
	r := b.fast.get(key)
	if r == nil {
		return false
	}
	steps := make([]*step, 0, 3)
	for _, s := range r.steps() {
		one, err := s.lay(work, out)
		if err != nil {
			return false
		}
		steps = append(steps, one)
	}
	sources, err := t.sources()
	if err != nil {
		return false
	}
	room, err := b.openRoom(Needs{Dir: t.dir, Read: append(sources, r.files, filepath.Join(b.cache, "go-build")), Write: []string{work}})
	if err != nil {
		return false // the go command's will say why
	}
	defer room.Close()
	env := replaced(b.environ(work), "GOROOT=", "PWD="+t.dir)
	for _, s := range steps {
		if _, err := run(ctx, room, s.dir, env, s.args...); err != nil {
			if ctx.Err() == nil {
				b.fast.drop(key) // a syntax error, most often; the next build teaches it anew
			}
			return false
		}
	}
	return true
}

// lay writes what a step reads into the directory of a build, before any of its
// programs has run, which could put links there. Only the linker makes out.
func (s *step) lay(work, out string) (*step, error) {
	expand := func(text string) string { return strings.ReplaceAll(text, workVar, work) }
	one := &step{dir: expand(s.dir), config: expand(s.config)}
	for _, arg := range s.args {
		one.args = append(one.args, expand(arg))
	}
	if filepath.Base(s.args[0]) == "link" {
		for i := range one.args[:len(one.args)-1] {
			if one.args[i] == "-o" {
				one.args[i+1] = out
			}
		}
	}
	for _, path := range []string{one.output(), one.config} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
	}
	return one, os.WriteFile(one.config, []byte(expand(s.imports)), 0o644)
}
