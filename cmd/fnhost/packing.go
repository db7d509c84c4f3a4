package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/bundle"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/admin"
)

// packed is a source tree, ready to be sent.
type packed struct {
	file    *os.File
	summary bundle.Summary
	found   []builder.Found
	tree    string // that is sent
	dir     string // of the functions in the tree, "" for all of it
}

func (p *packed) close() {
	p.file.Close()
	os.Remove(p.file.Name())
}

// pack packs a folder that is a function, or holds some. Of a module that begins
// above the folder it takes along the files that the functions are built from.
func pack(ctx context.Context, dir string) (*packed, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usagef("no directory %s to deploy", relative(dir))
	}
	tree := dir
	if module := builder.FindModule(dir, ""); module != "" {
		tree = module
	}
	p := &packed{tree: tree, found: builder.Find(dir, tree)}
	if len(p.found) == 0 {
		return nil, fmt.Errorf("no function in %s: a function is a directory with a handler; `fnhost init hello` makes one", relative(dir))
	}
	source := dir
	if tree != dir {
		rel, err := filepath.Rel(tree, dir)
		if err != nil {
			return nil, err
		}
		p.dir = filepath.ToSlash(rel)
		if source, err = stage(ctx, p.found, tree, dir); err != nil {
			return nil, err
		}
		defer os.RemoveAll(source)
	}
	if p.file, err = os.CreateTemp("", "fnhost-deploy-*"); err != nil {
		return nil, err
	}
	p.summary, err = bundle.Pack(ctx, source, p.file, bundle.Limits{})
	if err == nil {
		_, err = p.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// stage copies to a temporary directory what of a module is to be sent: the
// folder, and the files that its functions are built from.
func stage(ctx context.Context, found []builder.Found, tree, dir string) (string, error) {
	files := make(map[string]bool)
	s, err := bundle.Inspect(ctx, dir, bundle.Limits{})
	if err != nil {
		return "", err
	}
	for _, e := range s.Entries {
		if e.Link == "" {
			files[filepath.Join(dir, filepath.FromSlash(e.Path))] = true
		}
	}
	real, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return "", err
	}
	for _, f := range found {
		list, err := builder.SourceFiles(f.Source)
		if err != nil {
			return "", err
		}
		for _, file := range list {
			if rel, err := filepath.Rel(real, file); err == nil && filepath.IsLocal(rel) {
				files[filepath.Join(tree, rel)] = true
			}
		}
	}
	to, err := os.MkdirTemp("", "fnhost-deploy-")
	if err != nil {
		return "", err
	}
	for file := range files {
		rel, err := filepath.Rel(tree, file)
		if err == nil {
			err = copyFile(file, filepath.Join(to, rel))
		}
		if err != nil {
			os.RemoveAll(to)
			return "", err
		}
	}
	return to, nil
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// functionName is the name of a function that is the folder itself, and has no
// name of its own.
func functionName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	return manifest.NameFromDir(filepath.Base(abs))
}

// gitState fills in what git knows of a folder, if it knows anything.
func gitState(ctx context.Context, dir string, req *admin.DeployRequest) {
	git := func(args ...string) (string, bool) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	commit, ok := git("log", "-1", "--format=%H%n%s")
	if !ok {
		return
	}
	if changed, ok := git("status", "--porcelain", "--", "."); ok && changed == "" {
		req.Commit, req.Message, _ = strings.Cut(commit, "\n")
	}
	if name, ok := git("config", "user.name"); ok {
		email, _ := git("config", "user.email")
		req.Author = strings.TrimSpace(name + " <" + email + ">")
	}
}
