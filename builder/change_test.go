package builder

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestASourceThatChangesDuringItsBuildIsBuiltAsItIsInTheEnd(t *testing.T) {
	dir := t.TempDir()
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, map[string]string{"f.go": unique(t, 1)})
	last := unique(t, 2)
	time.AfterFunc(10*time.Millisecond, func() {
		os.WriteFile(filepath.Join(dir, "f.go"), []byte(last), 0o644)
	})
	a, err := b.Build(t.Context(), Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := b.Scan(Source{Dir: dir})
	if err != nil || a.ID != id {
		t.Errorf("the artifact is %s, the source %s, %v", a.ID, id, err)
	}
}
