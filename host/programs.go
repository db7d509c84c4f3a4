package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/registry"
)

// programs is where the programs of deployed versions lie, named by their SHA-256.
func (h *Namespace) programs() string { return filepath.Join(h.cfg.Dir, "programs") }

// program returns the path of a version's program, which it fetches from the
// registry if it is not on this host. While the host starts, it looks at the size
// alone: checkPrograms looks at the rest.
func (h *Namespace) program(ctx context.Context, v *registry.Version) (string, error) {
	path := filepath.Join(h.programs(), v.Program)
	if info, err := os.Stat(path); err == nil && info.Size() == v.Size && (!h.verify.Load() || hashFile(path) == v.Program) && touch(path) == nil {
		return path, nil
	}
	if err := os.MkdirAll(h.programs(), 0o700); err != nil {
		return "", fmt.Errorf("host: data directory: %w", err)
	}
	_, err := os.Stat(path)
	damaged := err == nil
	if err := h.registry.Program(ctx, v, path); errors.Is(err, registry.ErrDamaged) {
		return "", damagedProgram(v.Name(), err)
	} else if err != nil {
		return "", err
	}
	if damaged {
		h.noteRestored(v.Function, v.Name())
	}
	return path, nil
}

func damagedProgram(version string, err error) error {
	return fmt.Errorf("the program of %s is damaged, and is not to be had: %w", version, err)
}

func (h *Namespace) noteRestored(function, version string) {
	h.note(slog.LevelInfo, function, version, "the program on this host was damaged and is restored")
}

// checkPrograms looks whether the programs that serve are what was deployed. It
// does so in the background, so that the host serves at once after its start.
func (h *Namespace) checkPrograms() {
	for _, f := range *h.index.Load() {
		if f.deployed == nil || h.ctx.Err() != nil {
			continue
		}
		select {
		case <-f.settled:
		case <-h.ctx.Done():
			return
		}
		f.mu.Lock()
		list := f.running()
		f.mu.Unlock()
		for _, v := range list {
			if err := f.checkProgram(v); err != nil && h.ctx.Err() == nil {
				f.quarantine(err)
			}
		}
	}
}

// checkProgram fetches the program of a version anew if it is not what was
// deployed. A version whose program cannot be had serves no more.
func (f *function) checkProgram(v *version) error {
	sum := filepath.Base(v.artifact.Path)
	if hashFile(v.artifact.Path) == sum {
		return nil
	}
	f.h.log.Warn("the program of a version is damaged, and is fetched from the registry", "function", f.name, "version", v.name)
	err := f.h.registry.Program(f.h.ctx, &registry.Version{Program: sum}, v.artifact.Path)
	if f.h.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		f.withdraw(v)
		return damagedProgram(v.name, err)
	}
	f.h.noteRestored(f.name, v.name)
	f.renew(v)
	return nil
}

// renew ends a version, and loads it anew if it is part of the release: its workers
// have been started from another program.
func (f *function) renew(v *version) {
	f.mu.Lock()
	if f.loaded[v.number] == v {
		delete(f.loaded, v.number)
	}
	r := f.current.Load()
	serves := r != nil && r.holds(v)
	if !serves {
		f.drain(v)
	}
	f.mu.Unlock()
	if serves {
		f.applyAgain()
	}
}

// withdraw ends a version, as if it had not been loaded.
func (f *function) withdraw(v *version) {
	f.mu.Lock()
	if f.loaded[v.number] == v {
		delete(f.loaded, v.number)
	}
	if r := f.current.Load(); r != nil && r.holds(v) {
		next := &release{parts: slices.DeleteFunc(slices.Clone(r.parts), func(p part) bool { return p.version == v })}
		if len(next.parts) == 0 {
			next = nil
		}
		f.current.Store(next)
	}
	f.drain(v)
	f.mu.Unlock()
	f.h.publish()
}

func hashFile(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// placeProgram puts a program, whose SHA-256 is sum, where those of deployed
// versions lie. from stays.
func (h *Namespace) placeProgram(from, sum string) (string, error) {
	path := filepath.Join(h.programs(), sum)
	if hashFile(path) == sum {
		return path, touch(path)
	}
	dir, err := os.MkdirTemp(h.programs(), ".place-*")
	if err != nil {
		return "", fmt.Errorf("host: %w", err)
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, sum)
	if os.Link(from, tmp) != nil { // on another file system
		err = copyFile(from, tmp)
	}
	if err == nil {
		err = errors.Join(touch(tmp), os.Rename(tmp, path))
	}
	if err != nil {
		return "", fmt.Errorf("host: %w", err)
	}
	return path, nil
}

// copyFile makes to a program with the content of from.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Chmod(0o755), dst.Close()) // whatever the umask: another user runs it
}

// touch makes a program one that is in use, since the version that it is of may
// not be loaded yet.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// pruneAge is how long a program stays on the host that no version of those that
// are loaded has.
const pruneAge = time.Hour

// prunePrograms removes the programs that no version names any more.
func (h *Namespace) prunePrograms() {
	used := make(map[string]bool)
	for _, ns := range *h.live.Load() {
		for _, f := range *ns.index.Load() {
			f.mu.Lock()
			for _, v := range f.running() {
				if v.artifact != nil {
					used[filepath.Base(v.artifact.Path)] = true
				}
			}
			f.mu.Unlock()
		}
	}
	entries, err := os.ReadDir(h.programs())
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && !used[e.Name()] && time.Since(info.ModTime()) > pruneAge {
			os.Remove(filepath.Join(h.programs(), e.Name()))
		}
	}
}
