package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) gitRemoteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "git-remote", Short: "Deploy by git push", Args: unknownSubcommand, RunE: help}
	var remote, repo string
	add := &cobra.Command{
		Use: "add [DIR]", Short: "Add the host as a remote, a push to which is a deploy",
		Long: `Add the host as a remote of a git repository. A push to it is a deploy: the host builds what was pushed while git shows
how, and refuses a push whose functions do not build or start. Push options say what becomes of it:

  git push fnhost HEAD:main
  git push -o canary=10 fnhost HEAD:main
  git push -o no-release fnhost HEAD:main

git asks fnhost for the token, which therefore stands in no file of the repository.`,
		Example: "  fnhost git-remote add\n  fnhost git-remote add --server prod --remote prod",
		Args:    between(0, 1, "DIR"),
	}
	add.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			dir = args[0]
		}
		return a.addRemote(cmd.Context(), dir, remote, repo)
	}
	add.Flags().StringVar(&remote, "remote", "fnhost", "name of the remote")
	add.Flags().StringVar(&repo, "repo", "", "name of the repository on the host, and of the function if it is one (default that of the folder)")
	onlyFlags(add.Flags(), "remote", "repo")
	cmd.AddCommand(add)
	return cmd
}

func (a *app) addRemote(ctx context.Context, dir, remote, repo string) error {
	s, err := a.chosenServer()
	if err != nil {
		return err
	}
	if _, err := s.client(a.token, a.namespace); err != nil {
		return usageError{err: err}
	}
	top, err := gitOutput(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return fmt.Errorf("%s is in no git repository: `git init` makes one", relative(dir))
	}
	if repo == "" {
		repo = manifest.NameFromDir(filepath.Base(top))
	}
	if err := manifest.ValidName(repo); err != nil {
		return usagef("repository name %q: %w: choose one with --repo", repo, err)
	}
	base := s.URL
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	base = strings.TrimSuffix(base, "/")
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	address := base + "/git/" + repo + ".git"
	if a.namespace != "" && a.namespace != admin.DefaultNamespace {
		address = base + "/git/@" + a.namespace + "/" + repo + ".git"
	}
	verb := "add"
	if _, err := gitOutput(ctx, dir, "remote", "get-url", remote); err == nil {
		verb = "set-url"
	}
	settings := [][]string{
		{"remote", verb, remote, address},
		{"config", "--local", "--replace-all", "credential." + base + ".helper", "!" + shellQuote(exe) + " git-credential"},
	}
	if s.CA != "" {
		settings = append(settings, []string{"config", "--local", "http." + base + ".sslCAInfo", s.CA})
	}
	for _, args := range settings {
		if _, err := gitOutput(ctx, dir, args...); err != nil {
			return err
		}
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s is %s: `git push %s HEAD:main` deploys\n", remote, address, remote)
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func gitOutput(ctx context.Context, dir string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// gitCredentialCommand is what git runs to get the token of a host
// (gitcredentials(7)).
func (a *app) gitCredentialCommand() *cobra.Command {
	return &cobra.Command{
		Use: "git-credential OPERATION", Hidden: true, Args: between(1, 1, "OPERATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "get" {
				return nil // fnhost alone keeps tokens
			}
			asked := make(map[string]string)
			for lines := bufio.NewScanner(a.stdin); lines.Scan() && lines.Text() != ""; {
				key, value, _ := strings.Cut(lines.Text(), "=")
				asked[key] = value
			}
			list, err := loadServers()
			if err != nil {
				return err
			}
			u := url.URL{Scheme: asked["protocol"], Host: asked["host"]}
			s := list.byURL(u.String())
			token := cmp.Or(a.token, s.Token)
			if a.token == "" && s.Login != nil {
				if token, err = newSession(&s).token(cmd.Context(), ""); err != nil {
					return err
				}
			}
			if token != "" {
				fmt.Fprintf(a.stdout, "username=fnhost\npassword=%s\n", token)
			}
			return nil
		},
	}
}
