package examples_test

import (
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
	programs := 0
	for _, block := range strings.Split(string(readme), "```go\n")[1:] {
		source, _, _ := strings.Cut(block, "```")
		programs++
		file := filepath.Join(t.TempDir(), "program.go")
		if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, source)
		}
	}
	if programs != 5 {
		t.Errorf("%d programs, want four functions and one that hosts some", programs)
	}
	for _, block := range strings.Split(string(readme), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if _, err := manifest.Parse(manifest.FileName, []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
