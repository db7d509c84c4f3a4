package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The programs of the README compile as they stand there.
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
	if programs != 3 {
		t.Errorf("%d programs, want two functions and one that hosts them", programs)
	}
}
