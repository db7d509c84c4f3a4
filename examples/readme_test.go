package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/builder/manifest"
)

// The programs of the README compile as they stand there, and its manifests are good.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, programs, before := t.TempDir(), 0, ""
	for _, block := range strings.Split(string(readme), "```go\n")[1:] {
		source, _, _ := strings.Cut(block, "```")
		programs++
		file := filepath.Join(dir, fmt.Sprintf("program%d.go", programs))
		if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"vet", file}
		if strings.Contains(source, `"testing"`) { // of the function before it
			test := strings.TrimSuffix(file, ".go") + "_test.go"
			if err := os.Rename(file, test); err != nil {
				t.Fatal(err)
			}
			args = []string{"test", before, test}
		}
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, source)
		}
		before = file
	}
	if programs != 6 {
		t.Errorf("%d programs, want four functions, a test and one that hosts some", programs)
	}
	for _, block := range strings.Split(string(readme), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if _, err := manifest.Parse(manifest.FileName, []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
