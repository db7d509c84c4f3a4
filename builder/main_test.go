package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(holdEnv) != "" {
		hold()
		return
	}
	goleak.VerifyTestMain(m)
}

// newBuilder returns a Builder of the cache that all tests share.
func newBuilder(t testing.TB, cfg Config) *Builder {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tempDir returns a directory by its real path, as diagnostics name it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeTree writes files to a new directory.
func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := tempDir(t)
	writeFiles(t, dir, files)
	return dir
}

func mustBuild(t testing.TB, b *Builder, src Source) *Artifact {
	t.Helper()
	a, err := b.Build(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// diagnosticsOf returns what is wrong with a source, which must be something.
func diagnosticsOf(t testing.TB, err error) []Diagnostic {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want an *Error", err, err)
	}
	if len(e.Diagnostics) == 0 {
		t.Fatal("an *Error without diagnostics")
	}
	return e.Diagnostics
}

// places are diagnostics as text, with paths relative to dir.
func places(list []Diagnostic, dir string) string {
	lines := make([]string, len(list))
	for i, d := range list {
		lines[i] = d.Text(dir)
	}
	return strings.Join(lines, "\n")
}

// listing describes all of dir: names, modes, times and contents.
func listing(t testing.TB, dir string) string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var data []byte
		if info.Mode().IsRegular() {
			data, err = os.ReadFile(path)
		}
		all[path] = fmt.Sprint(info.Mode(), info.ModTime(), string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintln(&b, path, all[path])
	}
	return b.String()
}

func symlink(t testing.TB, target, link string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}
