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
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/manifest"
)

// templates are the directories that init copies.
//
//go:embed templates
var templates embed.FS

func (a *app) initCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a new function",
		Long: `Make a directory with a new function in it. Nothing that is there is overwritten.

Templates: rpc (typed input and output), http (an http.Handler), stream (values as they come).`,
		Example: "  fnhost init functions/hello\n  fnhost init -t http functions/page",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.init(args[0], kind) },
	}
	cmd.Flags().StringVarP(&kind, "template", "t", "rpc", "rpc, http or stream")
	return cmd
}

func (a *app) init(dir, kind string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := manifest.NameFromDir(filepath.Base(abs))
	if err := manifest.ValidName(name); err != nil {
		return usagef("%s: %w", dir, err)
	}
	root := path.Join("templates", kind)
	entries, err := fs.ReadDir(templates, root)
	if err != nil || strings.ContainsAny(kind, "/.") {
		return usagef("no template %q: there are rpc, http and stream", kind)
	}
	vars := map[string]string{"Name": name, "Package": strings.ReplaceAll(name, "-", "")}
	if c := vars["Package"][0]; c >= '0' && c <= '9' {
		vars["Package"] = "fn" + vars["Package"]
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(abs, strings.TrimSuffix(strings.Replace(e.Name(), "NAME", vars["Package"], 1), ".tmpl"))
		text, err := fs.ReadFile(templates, path.Join(root, e.Name()))
		if err != nil {
			return err
		}
		if err := writeNew(target, string(text), vars); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "wrote %s\n", relative(target))
	}
	fmt.Fprintf(a.stderr, "\nnext:\n  fnhost dev %s\n  fnhost invoke %s%s\n", relative(filepath.Dir(abs)), name, map[string]string{"rpc": " --name=Ada", "stream": " --count=3"}[kind])
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(file, text string, vars map[string]string) error {
	t, err := template.New(file).Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, vars); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and was not touched: name another directory", file)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	return errors.Join(err, f.Close())
}
