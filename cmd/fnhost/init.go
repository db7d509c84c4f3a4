package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/nearest"
)

// templates are the directories that init copies.
//
//go:embed templates
var templates embed.FS

// templateNames lists the templates; the first one is the default.
var templateNames = []string{"rpc", "http", "stream"}

func (a *app) initCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a new function",
		Long: `Make a directory with a new function in it, or a function in the working directory. Nothing that is
there is overwritten.

Templates: rpc (typed input and output), http (an http.Handler), stream (values as they come).`,
		Example: "  fnhost init functions/hello\n  fnhost init -t http functions/page",
		Args:    between(0, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.init(append(args, ".")[0], kind)
		},
	}
	cmd.Flags().StringVarP(&kind, "template", "t", templateNames[0], "one of "+strings.Join(templateNames, ", "))
	cmd.RegisterFlagCompletionFunc("template", cobra.FixedCompletions(templateNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// newFile is a file that init is about to write.
type newFile struct {
	path string
	data []byte
}

func (a *app) init(dir, kind string) error {
	if !slices.Contains(templateNames, kind) {
		return usagef("no template %q%s: there are %s", kind, nearest.DidYouMean(kind, templateNames), strings.Join(templateNames, ", "))
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := manifest.NameFromDir(filepath.Base(abs))
	if err := manifest.ValidName(name); err != nil {
		return usagef("%s gives the function no good name: %w", abs, err)
	}
	files, err := render(kind, abs, name)
	if err != nil {
		return err
	}
	if err := writeNew(abs, files); err != nil {
		return err
	}
	for _, f := range files {
		a.confirm("wrote %s", relative(f.path))
	}
	if base := filepath.Base(abs); loses(base, name) {
		a.confirm("the function of %s is called %s: function.yaml may give it another name", base, name)
	}
	if parts := partsOf(abs); len(parts) > 0 {
		a.confirm("%s: `fnhost init DIR` makes a function beside others", hiddenText(relative(abs), parts))
	}
	try := map[string]string{
		"rpc": "fnhost invoke " + name + " --name=Ada", "stream": "fnhost invoke " + name + " --count=3",
		"http": "curl http://127.0.0.1:8080/" + name,
	}[kind]
	a.confirm("\nnext:\n  fnhost dev %s\n  %s", relative(abs), try)
	return nil
}

// loses reports whether a folder has characters that the name of its function
// cannot have.
func loses(folder, name string) bool {
	kept := strings.NewReplacer(" ", "-", ".", "-", "_", "-").Replace(strings.ToLower(folder))
	return strings.Trim(kept, "-") != name
}

// render makes the files of a template.
func render(kind, dir, name string) ([]newFile, error) {
	vars := map[string]string{"Name": name, "Package": packageName(name)}
	root := path.Join("templates", kind)
	entries, err := fs.ReadDir(templates, root)
	if err != nil {
		return nil, err
	}
	var files []newFile
	for _, e := range entries {
		t, err := template.ParseFS(templates, path.Join(root, e.Name()))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, vars); err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(strings.Replace(e.Name(), "NAME", vars["Package"], 1), ".tmpl")
		files = append(files, newFile{filepath.Join(dir, base), b.Bytes()})
	}
	return files, nil
}

// packageName is a Go package name like the name of the function, but no keyword
// and no name that its file uses.
func packageName(name string) string {
	s := strings.ReplaceAll(name, "-", "")
	if s[0] >= '0' && s[0] <= '9' || reserved[s] {
		return "fn" + s
	}
	return s
}

var reserved = func() map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(`break case chan const continue default defer else fallthrough for func go goto if
		import interface map package range return select struct switch type var main init
		context functions http fmt iter time log slices`) {
		set[word] = true
	}
	return set
}()

// writeNew writes files, none of which may be there.
func writeNew(dir string, files []newFile) error {
	var taken []string
	for _, f := range files {
		if _, err := os.Lstat(f.path); err == nil {
			taken = append(taken, relative(f.path))
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("%s: there already, and nothing was written: name another directory", strings.Join(taken, ", "))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w: name another directory", err)
	}
	for _, file := range files {
		f, err := os.OpenFile(file.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("%w: name another directory", err)
		}
		_, err = f.Write(file.data)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
