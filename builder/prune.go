package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Touch marks an artifact as used, so that [Builder.Prune] leaves it, in this and
// in other processes that share the cache. Hosts do so each hour with those that
// they run.
func (b *Builder) Touch(a *Artifact) error {
	now := time.Now()
	return os.Chtimes(a.Path, now, now)
}

// Prune removes from the cache what was not used for longer than age: artifacts,
// with what lies beside them, and the files that builds are told of. It also does
// what [Builder.Sweep] does. It returns how many bytes of the cache became free.
// What is missing later is made again.
func (b *Builder) Prune(age time.Duration) (freed int64, err error) {
	limit := time.Now().Add(-age)
	var errs []error
	for _, kind := range []string{"artifacts", "plans"} {
		dir := filepath.Join(b.cache, kind)
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.ModTime().Before(limit) {
				continue
			}
			path := filepath.Join(dir, e.Name())
			if id, _, beside := strings.Cut(e.Name(), "."); beside && kind == "artifacts" {
				if _, err := os.Stat(filepath.Join(dir, id)); err == nil && id != "" {
					continue // goes with its artifact
				}
			}
			if err := os.RemoveAll(path); err != nil {
				errs = append(errs, err)
				continue
			}
			freed += info.Size()
		}
	}
	_, err = b.Sweep()
	return freed, errors.Join(append(errs, err)...)
}
