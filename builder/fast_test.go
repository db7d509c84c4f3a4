package builder

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// withoutBuildID returns a program with its build ids blanked.
func withoutBuildID(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	blanked := 0
	for _, s := range f.Sections {
		if s.Name == ".note.go.buildid" || s.Name == ".note.gnu.build-id" {
			clear(data[s.Offset : s.Offset+s.Size])
			blanked++
		}
	}
	if blanked == 0 {
		t.Fatal("no build id found")
	}
	return data
}

func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func unique(t testing.TB, n int) string {
	return fmt.Sprintf("package f\n\nimport \"strings\"\n\n// Handle is the handler of %s.\nfunc Handle(in string) string { return strings.ToUpper(in) + %q }\n\nfunc helper%d() int { return %d }\n", t.Name(), t.TempDir(), n, n)
}

func TestTheFastPathMakesTheProgramOfTheGoCommand(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		fn    string // the directory of the function
	}{
		{"bare", nil, "."},
		{"in a module with packages of its own", map[string]string{
			"go.mod": "module example.com/m\n\ngo 1.26\n", "inner/inner.go": "package inner\n\nfunc X() int { return 1 }\n",
			"fn/other.go": "package f\n\nimport \"example.com/m/inner\"\n\nvar other = inner.X()\n",
		}, "fn"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			writeFiles(t, root, test.files)
			src := Source{Dir: filepath.Join(root, test.fn), Root: root}
			build := func(b *Builder) *Artifact {
				t.Helper()
				a, err := b.Build(t.Context(), src)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			quick, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			for n := range 3 { // the first builds may fill the cache, and teach nothing
				writeFiles(t, src.Dir, map[string]string{"f.go": unique(t, n)})
				build(quick)
			}
			writeFiles(t, src.Dir, map[string]string{"f.go": unique(t, 3)})
			a := build(quick)
			if a.How != Relinked {
				t.Fatalf("How = %s, want %s", a.How, Relinked)
			}
			fast := withoutBuildID(t, a.Path)
			if err := os.Remove(a.Path); err != nil {
				t.Fatal(err)
			}
			slow, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			if a = build(slow); a.How != Compiled {
				t.Fatalf("How = %s, want %s", a.How, Compiled)
			}
			if !bytes.Equal(fast, withoutBuildID(t, a.Path)) {
				t.Error("the programs differ")
			}
		})
	}
}

func TestTheFastPathIsLeftWhenMoreThanTheFilesContentChanges(t *testing.T) {
	dir := t.TempDir()
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	build := func(want How, files map[string]string) {
		t.Helper()
		n++
		writeFiles(t, dir, map[string]string{"f.go": unique(t, n)})
		writeFiles(t, dir, files)
		a, err := b.Build(t.Context(), Source{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if a.How != want {
			t.Errorf("build %d: How = %s, want %s", n, a.How, want)
		}
	}
	build(Compiled, nil)
	build(Relinked, nil)
	build(Compiled, map[string]string{"more.go": "package f\n"})
	build(Relinked, nil)
	build(Compiled, map[string]string{"more.go": "package f\n\nimport _ \"embed\"\n"})
	build(Compiled, nil)
	build(Compiled, map[string]string{"more.go": "package f\n\nfunc HandleMore() {}\n"})
	build(Relinked, nil)
	build(Compiled, map[string]string{"go.mod": "module example.com/f\n\ngo 1.25\n"})
	writeFiles(t, dir, map[string]string{"more.go": "package f\n\nfunc HandleMore() { nothing }\n"})
	if _, err := b.Build(t.Context(), Source{Dir: dir}); err == nil {
		t.Error("a type error built")
	}
	build(Compiled, map[string]string{"more.go": "package f\n\nfunc HandleMore() {}\n"})
}
