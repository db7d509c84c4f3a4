package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Toolchain returns the version of the Go toolchain that builds, "go1.26.8".
func (b *Builder) Toolchain() string { return b.toolchain }

// findToolchain finds out which toolchain builds, and remembers it in the cache for
// a Builder without one, which needs it to know the artifacts.
func (b *Builder) findToolchain() {
	file := filepath.Join(b.cache, "toolchain")
	last, _ := os.ReadFile(file)
	if b.goCmd == "" {
		b.toolchain = string(last)
		return
	}
	b.toolchain = toolchainOf(b.goCmd)
	if string(last) == b.toolchain {
		return
	}
	tmp := fmt.Sprintf("%s.%d", file, os.Getpid())
	if os.WriteFile(tmp, []byte(b.toolchain), 0o644) == nil {
		os.Rename(tmp, file)
	}
}

// toolchainOf returns the version of a go command without running it, where it
// lies in a GOROOT; otherwise what its file looks like.
func toolchainOf(goCmd string) string {
	real, err := filepath.EvalSymlinks(goCmd)
	if err != nil {
		real = goCmd
	}
	if v, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(real)), "VERSION")); err == nil {
		line, _, _ := strings.Cut(string(v), "\n")
		return line
	}
	info, err := os.Stat(real)
	if err != nil {
		return real
	}
	return fmt.Sprintf("%s %d %s", real, info.Size(), info.ModTime())
}
