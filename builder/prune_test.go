package builder

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPruneRemovesWhatWasNotUsedForLong(t *testing.T) {
	cache := t.TempDir()
	b, err := New(Config{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	files := map[string]bool{ // whether it stays
		"artifacts/aaaa": false, "artifacts/aaaa.ready": false,
		"artifacts/bbbb": true, "artifacts/bbbb.schemas": true,
		"plans/cccc/main.go": false,
	}
	for name := range files {
		writeFiles(t, cache, map[string]string{name: "x"})
		path := filepath.Join(cache, name)
		for ; filepath.Dir(path) != filepath.Join(cache, "artifacts") && filepath.Dir(path) != filepath.Join(cache, "plans"); path = filepath.Dir(path) {
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Touch(&Artifact{Path: filepath.Join(cache, "artifacts/bbbb")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what lies beside an artifact goes after it
		if _, err := b.Prune(7 * 24 * time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for name, stays := range files {
		if _, err := os.Stat(filepath.Join(cache, name)); (err == nil) != stays {
			t.Errorf("%s: %v, stays = %v", name, err, stays)
		}
	}
}
