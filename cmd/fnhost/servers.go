package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/host/admin"
)

// byURL returns the server at a URL, so that its token is used however it is named: of
// several the current one, or else the first by name.
func (s *servers) byURL(url string) server {
	for _, name := range append([]string{s.Current}, sortedKeys(s.Servers)...) {
		if one := s.Servers[name]; one.URL != "" && strings.TrimSuffix(one.URL, "/") == strings.TrimSuffix(url, "/") {
			return one
		}
	}
	return server{URL: url}
}

// client returns a client with a token, or else with what the user has logged in with, or
// else with the token that was given with the server.
func (s *server) client(token, namespace string) (*admin.Client, error) {
	o := admin.ClientOptions{Token: token, Namespace: namespace}
	switch {
	case token != "":
	case s.Login != nil:
		o.Fresh = newSession(s).token
	default:
		o.Token = s.Token
	}
	return s.connect(o)
}

func (s *server) connect(o admin.ClientOptions) (*admin.Client, error) {
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("certificates of %s: %w", s.URL, err)
		}
		o.CA = x509.NewCertPool()
		if !o.CA.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates of %s: %s holds none in PEM", s.URL, s.CA)
		}
	}
	return admin.NewClient(s.URL, o)
}

func (a *app) serverCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Short: "Name the hosts that commands speak to", Args: unknownSubcommand, RunE: help}
	cmd.AddCommand(a.serverAddCommand(), a.serverUseCommand(), a.serverListCommand(), a.serverRemoveCommand())
	return cmd
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func (a *app) serverAddCommand() *cobra.Command {
	var s server
	var tokenFile string
	cmd := &cobra.Command{
		Use: "add NAME URL", Short: "Name a host, and use it from now on",
		Long: `Name a host, and use it from now on. One that does not answer is named, but not used; one that refuses the token
is neither.

The token, one of "fnhost token create" or the root token that the host printed at its first start, is read from standard
input, or from a file, so that it stands in no history of a shell. It is kept in a file that nobody else may read. Without a
token the host is named alone: "fnhost login NAME" logs in to it with account and password.`,
		Example: "  fnhost server add prod https://functions.example.com:8081 < token\n  fnhost server add local http://127.0.0.1:8081 --token-file token",
		Args:    between(2, 2, "NAME URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.URL = args[1]
			token, err := a.readToken(cmd.Context(), tokenFile)
			if err != nil {
				return err
			}
			s.Token = token
			return a.serverAdd(cmd.Context(), args[0], s)
		},
	}
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the token (default standard input)")
	cmd.Flags().StringVar(&s.CA, "ca", "", "PEM file of the certificates to trust, for a host with one of its own")
	onlyFlags(cmd.Flags(), "token-file", "ca")
	return cmd
}

// readToken reads a token; from a terminal it asks for it.
func (a *app) readToken(ctx context.Context, file string) (string, error) {
	if file != "" {
		return readTokenFile(file)
	}
	if isTerminal(a.stdin) {
		token, err := a.askUnseen(ctx, "token (it is not shown; empty for none): ")
		return strings.TrimSpace(token), err
	}
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if line == "" && err != nil {
		return "", nil
	}
	return strings.TrimSpace(line), nil
}

// readTokenFile reads a file that nobody else may read.
func readTokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 { // a pipe is the shell's matter
		return "", usagef("--token-file: %s has mode %04o, so that others may read it: `chmod 600 %[1]s`, and consider whether somebody has", path, mode.Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// maxTokenFile bounds what is read of a file with a token, in bytes.
const maxTokenFile = 64 << 10

func (a *app) serverAdd(ctx context.Context, name string, s server) error {
	if strings.ContainsAny(name, ":/ ") || name == "" {
		return usagef("%q is no name: use letters, digits and dashes", name)
	}
	if s.CA != "" {
		abs, err := filepath.Abs(s.CA)
		if err != nil {
			return err
		}
		s.CA = abs
	}
	c, err := s.client("", "")
	if err != nil {
		return usageError{err: err}
	}
	s.URL = c.URL()
	info, err := askInfo(ctx, c)
	away := errors.Is(err, admin.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded)
	asks := s.Token == "" && isUnauthorized(err)
	if err != nil && !away && !asks {
		return fmt.Errorf("%s is not added: %w", name, err)
	}
	saved := changeServers(ctx, func(list *servers) error {
		if before := list.Servers[name]; before.URL == s.URL && s.Token == "" {
			s.Login = before.Login
		}
		list.Servers[name] = s
		if !away {
			list.Current = name
		}
		return nil
	})
	if saved != nil {
		return saved
	}
	if away {
		return fmt.Errorf("%s is added, but not used, since it does not answer (%v): `fnhost server use %s` does so when it runs", name, err, name)
	}
	if asks {
		a.confirm("%s asks who comes: `fnhost login` logs in; commands speak to it from now on", name)
		return nil
	}
	a.confirm("%s is fnhost %s; commands speak to it from now on", name, info.Version)
	return nil
}

func askInfo(ctx context.Context, c *admin.Client) (admin.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.Info(ctx)
}

// confirm says what has been done.
func (a *app) confirm(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

func (a *app) serverUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Choose the host that commands speak to; `-` chooses none", Args: between(1, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, url := args[0], defaultServer
			err := changeServers(cmd.Context(), func(list *servers) error {
				if name == "-" {
					name = ""
				} else if err := list.has(name); err != nil {
					return err
				} else {
					url = list.Servers[name].URL
				}
				list.Current = name
				return nil
			})
			if err != nil {
				return err
			}
			a.confirm("commands speak to %s from now on", strings.TrimSpace(name+" "+url))
			return nil
		},
	}
}

// has returns an error if there is no server of the name.
func (s *servers) has(name string) error {
	if _, ok := s.Servers[name]; ok {
		return nil
	}
	return usagef("no server %q%s: `fnhost server list` shows them", name, nearest.DidYouMean(name, sortedKeys(s.Servers)))
}

func (a *app) serverRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget a host, and its token", Args: between(1, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			next := ""
			err := changeServers(cmd.Context(), func(list *servers) error {
				if err := list.has(args[0]); err != nil {
					return err
				}
				delete(list.Servers, args[0])
				if list.Current == args[0] {
					list.Current, next = "", "; commands speak to "+defaultServer+" from now on"
				}
				return nil
			})
			if err != nil {
				return err
			}
			a.confirm("%s is forgotten%s", args[0], next)
			return nil
		},
	}
}

func completeServers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list, err := loadServers()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return sortedKeys(list.Servers), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) serverListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the hosts that have a name", Args: between(0, 0, "")}
	cmd.RunE = func(*cobra.Command, []string) error {
		list, err := loadServers()
		if err != nil {
			return err
		}
		a.warnOfReaders(list)
		if a.output == "json" {
			for name, s := range list.Servers {
				if s.Token != "" {
					s.Token = "…" // nobody needs it here
				}
				if s.Login != nil {
					s.Login = &keptLogin{Account: s.Login.Account, Expires: s.Login.Expires}
				}
				list.Servers[name] = s
			}
			return a.printJSON(list)
		}
		if len(list.Servers) == 0 {
			a.confirm("no servers yet: `fnhost server add NAME URL` names one")
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\tNAME\tURL\tTOKEN\tLOGIN")
		for _, name := range sortedKeys(list.Servers) {
			s := list.Servers[name]
			mark, token := "", "no"
			if name == list.Current {
				mark = "*"
			}
			if s.Token != "" {
				token = "yes"
			}
			who := "-"
			if s.Login != nil {
				who = s.Login.Account
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark, name, s.URL, token, who)
		}
		return w.Flush()
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}
