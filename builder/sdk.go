package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fnhost/fnhost"
)

// minGo is the oldest language version that a function's go.mod may declare: that
// of the library it is built with.
const minGo = "1.23"

// extractSDK writes the library as a module of its own below cache, and returns
// its directory and the hash of its content.
func extractSDK(cache string) (dir, hash string, err error) {
	files := map[string][]byte{"go.mod": fmt.Appendf(nil, "module %s\n\ngo %s\n", fnhost.Module, minGo)}
	sum := sha256.New()
	err = fs.WalkDir(fnhost.SDK, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := fs.ReadFile(fnhost.SDK, path)
		if err == nil {
			files[path] = b
			fmt.Fprintf(sum, "%s %x\n", path, sha256.Sum256(b))
		}
		return err
	})
	if err != nil {
		return "", "", err
	}
	hash = hex.EncodeToString(sum.Sum(nil)[:8])
	dir = filepath.Join(cache, "sdk", hash)
	if _, err := os.Stat(dir); err == nil {
		return dir, hash, nil
	}
	return dir, hash, writeDir(dir, files)
}

// writeDir makes dir with files, so that it is there with all of them or not at all.
func writeDir(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for name, data := range files {
		file := filepath.Join(tmp, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return nil // another process was quicker
		}
		return err
	}
	return nil
}
