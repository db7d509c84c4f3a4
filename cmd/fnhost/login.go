package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) loginCommand() *cobra.Command {
	var account string
	var stdin, forget bool
	cmd := &cobra.Command{
		Use: "login [NAME]", Short: "Log in to a host with account and password",
		Long: `Log in to a host, the one that commands speak to or the one of that name, with account and password. On a terminal
both are asked for.

From then on commands come as this account. What proves that is good for some minutes, and is renewed by each command that
needs it; it is kept with the name of the host in a file that nobody else may read. A login that is not used ends after 30
days, if the host says nothing else. For programs there are tokens: "fnhost token create".

A token that "fnhost server add" keeps of the host, such as the root token, would be used again after "fnhost logout": on a
terminal it is asked whether to forget it.`,
		Example: "  fnhost login\n  fnhost login prod --account ada\n  pass show fnhost/ada | fnhost login prod --account ada --password-stdin",
		Args:    between(0, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.serverOf(args)
			if err != nil {
				return err
			}
			return a.login(cmd.Context(), s, account, stdin, forget)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "account (default: it is asked for)")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input, its first line")
	cmd.Flags().BoolVar(&forget, "forget-token", false, "forget the token that server add keeps of the host")
	onlyFlags(cmd.Flags(), "account", "password-stdin", "forget-token")
	return cmd
}

// serverOf is the server that the first argument names, or else the chosen one.
func (a *app) serverOf(args []string) (*server, error) {
	if len(args) > 0 {
		a.server, a.settings.serverChosen = args[0], true
	}
	return a.chosenServer()
}

func (a *app) login(ctx context.Context, s *server, account string, stdin, forget bool) error {
	c, err := s.connect(admin.ClientOptions{})
	if err != nil {
		return usageError{err: err}
	}
	if !stdin && !isTerminal(a.stdin) {
		return usagef("standard input is no terminal: --account and --password-stdin say who logs in; programs need no login, but a token (`fnhost token create`)")
	}
	if account == "" {
		if account, err = a.askAccount(ctx, s, stdin); err != nil {
			return err
		}
	}
	var password string
	if stdin {
		password, err = readLine(bufio.NewReader(a.stdin))
	} else {
		password, err = a.askUnseen(ctx, fmt.Sprintf("password of %s at %s (it is not shown): ", account, c.URL()))
	}
	if err != nil {
		return err
	}
	if password == "" {
		return usagef("the password is empty")
	}
	l, err := c.Login(ctx, account, password)
	if err != nil {
		return wrongPassword(err, account)
	}
	name, err := a.keepLogin(ctx, s, l)
	if err != nil {
		return err
	}
	a.confirm("logged in to %s as %s", name, l.Account)
	if s.name == "" {
		a.confirm("that is how the host is called from now on: `fnhost server use %s` has commands speak to it", name)
	}
	if a.token != "" {
		a.confirm("but --token or FNHOST_TOKEN is set, which beats it")
	}
	return a.afterLogin(ctx, s, name, stdin, forget)
}

// afterLogin deals with the token that is kept of a host: with it who logs out would be
// somebody else, and often root.
func (a *app) afterLogin(ctx context.Context, s *server, name string, stdin, forget bool) error {
	if s.Token == "" {
		return nil
	}
	if !forget && !stdin && !a.quiet {
		fmt.Fprint(a.stderr, "forget the token that `fnhost server add` keeps of it, and which `fnhost logout` would leave you with? [y/N] ")
		line, err := typed(ctx, func() (string, error) { return readLine(bufio.NewReader(a.stdin)) })
		if err != nil {
			return err
		}
		answer := strings.ToLower(strings.TrimSpace(line))
		forget = answer == "y" || answer == "yes"
	}
	if !forget {
		a.confirm("the token of `fnhost server add` is kept, and is used again after `fnhost logout`, unless that has --forget-token")
		return nil
	}
	return a.forgetToken(ctx, name)
}

// forgetToken forgets the token that is kept of a host.
func (a *app) forgetToken(ctx context.Context, name string) error {
	err := changeServers(ctx, func(list *servers) error {
		if entry, ok := list.Servers[name]; ok {
			entry.Token = ""
			list.Servers[name] = entry
		}
		return nil
	})
	if err == nil {
		a.confirm("the token of `fnhost server add` is forgotten here; the host takes it as before")
	}
	return err
}

// wrongPassword says what to do about a wrong password.
func wrongPassword(err error, account string) error {
	if isUnauthorized(err) {
		return fmt.Errorf("%w: try again, or have an admin set another one by `fnhost account set %s --generate`", err, account)
	}
	return err
}

func (a *app) askAccount(ctx context.Context, s *server, stdin bool) (string, error) {
	if stdin {
		return "", usagef("--password-stdin needs --account: standard input has the password alone")
	}
	known := ""
	if s.Login != nil {
		known = " (default " + s.Login.Account + ")"
	}
	fmt.Fprintf(a.stderr, "account%s: ", known)
	line, err := typed(ctx, func() (string, error) { return bufio.NewReader(a.stdin).ReadString('\n') })
	if err == io.EOF {
		fmt.Fprintln(a.stderr)
		return "", errNoAnswer
	}
	line = strings.TrimSpace(line)
	if err == nil && line == "" && s.Login != nil {
		line = s.Login.Account
	}
	if err == nil && line == "" {
		err = usagef("the account is missing")
	}
	return line, err
}

// readLine returns a line without its end; there may be none.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// keepLogin keeps a login with its server, which gets a name if it has none, and ends the
// one before. It returns the name.
func (a *app) keepLogin(ctx context.Context, s *server, l admin.Login) (string, error) {
	var before *keptLogin
	name := s.name
	err := changeServers(ctx, func(list *servers) error {
		if name == "" {
			name = list.nameFor(s.URL)
		}
		entry, ok := list.Servers[name]
		if !ok {
			entry = server{URL: s.URL, CA: s.CA}
		}
		before, entry.Login = entry.Login, newLogin(l)
		list.Servers[name] = entry
		return nil
	})
	old := ""
	switch {
	case err != nil:
		old = l.Refresh // nobody has it
	case before != nil:
		old = before.Refresh
	}
	if c, failed := s.connect(admin.ClientOptions{}); failed == nil && old != "" {
		c.Logout(ctx, old) // it ends by itself, too, only later
	}
	return name, err
}

// nameFor makes a name of a URL that has none yet.
func (s *servers) nameFor(address string) string {
	name := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		name = u.Host
	}
	name = strings.NewReplacer(":", "-", "/", "-", " ", "-", "[", "", "]", "").Replace(name)
	for _, taken := s.Servers[name]; taken; _, taken = s.Servers[name] {
		name += "-2"
	}
	return name
}

func (a *app) logoutCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use: "logout [NAME]", Short: "End the login to a host, there and here",
		Long: `End the login to a host, the one that commands speak to or the one of that name: its tokens prove nothing any more, and are
forgotten. Other logins of the account go on; "fnhost account end" ends them all.`,
		Args: between(0, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.serverOf(args)
			if err != nil {
				return err
			}
			return a.logout(cmd.Context(), s, forget)
		},
	}
	cmd.Flags().BoolVar(&forget, "forget-token", false, "forget the token that server add keeps of the host, too")
	onlyFlags(cmd.Flags(), "forget-token")
	return cmd
}

func (a *app) logout(ctx context.Context, s *server, forget bool) error {
	var before *keptLogin
	err := changeServers(ctx, func(list *servers) error {
		entry := list.Servers[s.name]
		before = entry.Login
		if entry.Login = nil; before != nil {
			list.Servers[s.name] = entry
		}
		return nil
	})
	if err != nil {
		return err
	}
	forget = forget && s.Token != ""
	if forget {
		if err := a.forgetToken(ctx, s.name); err != nil {
			return err
		}
		s.Token = ""
	}
	if before == nil && forget {
		return nil
	}
	if before == nil {
		return fmt.Errorf("nobody is logged in to %s: `fnhost server list` shows where somebody is", a.serverName)
	}
	if before.Refresh != "" {
		c, err := s.connect(admin.ClientOptions{})
		if err == nil {
			err = c.Logout(ctx, before.Refresh)
		}
		if err != nil {
			return fmt.Errorf("%s is logged out here, but the login goes on at the host, which could not be told: %w; `fnhost account end %[1]s` ends it there", before.Account, err)
		}
	}
	a.confirm("%s is logged out of %s", before.Account, s.name)
	s.Login = nil
	a.sayWhoNow(ctx, s)
	return nil
}

// sayWhoNow says as whom commands come after a logout.
func (a *app) sayWhoNow(ctx context.Context, s *server) {
	from := "the token of `fnhost server add`, which `fnhost logout --forget-token " + s.name + "` forgets"
	switch {
	case a.token != "":
		from = "--token or FNHOST_TOKEN"
	case s.Token == "":
		a.confirm("commands come to it as nobody now")
		return
	}
	who := "who has it"
	if c, err := s.client(a.token, ""); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if id, err := c.Whoami(ctx); err == nil && id.Account != "" {
			who = id.Account
		}
	}
	a.confirm("commands come to it as %s now, by %s", who, from)
}

func (a *app) whoamiCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "whoami", Short: "Show as whom commands come to the host", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		id, err := c.Whoami(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(id)
		}
		if id.Account == "" {
			a.confirm("%s asks nobody who they are", c.URL())
			return nil
		}
		ends := ""
		if id.Expires != nil && id.Machine != "" {
			ends = id.Expires.Local().Format(time.DateTime)
		}
		token := ""
		if id.Machine != "" {
			token = id.Machine + " (machine token " + id.Token + ")"
		}
		rows := [][]string{{"account", id.Account}, {"kind", id.Kind}, {"namespace", everywhere(id.Namespace)}, {"scopes", orDash(strings.Join(id.Scopes, ", "))}, {"host", c.URL()}}
		for _, row := range [][]string{{"issuer", id.Issuer}, {"token", token}, {"until", ends}} {
			if row[1] != "" {
				rows = append(rows, row)
			}
		}
		return a.printTable(rows)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

// everywhere says what namespace somebody belongs to.
func everywhere(namespace string) string {
	if namespace == "*" {
		return "* (all)"
	}
	return namespace
}

// isUnauthorized reports whether the host does not know who asks.
func isUnauthorized(err error) bool { return errors.Is(err, &wire.Error{Code: wire.Unauthorized}) }
