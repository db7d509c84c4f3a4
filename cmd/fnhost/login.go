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
	var stdin bool
	cmd := &cobra.Command{
		Use: "login [NAME]", Short: "Log in to a host with account and password",
		Long: `Log in to a host, the one that commands speak to or the one of that name, with account and password. On a terminal
both are asked for.

From then on commands come as this account. What proves that is good for some minutes, and is renewed by each command that
needs it; it is kept with the name of the host in a file that nobody else may read. A login that is not used ends after 30
days, if the host says nothing else. For programs there are tokens: "fnhost token create".`,
		Example: "  fnhost login\n  fnhost login prod --account ada\n  pass show fnhost/ada | fnhost login prod --account ada --password-stdin",
		Args:    between(0, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.serverOf(args)
			if err != nil {
				return err
			}
			return a.login(cmd.Context(), s, account, stdin)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "account (default: it is asked for)")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input, its first line")
	onlyFlags(cmd.Flags(), "account", "password-stdin")
	return cmd
}

// serverOf is the server that the first argument names, or else the chosen one.
func (a *app) serverOf(args []string) (*server, error) {
	if len(args) > 0 {
		a.server, a.settings.serverChosen = args[0], true
	}
	return a.chosenServer()
}

func (a *app) login(ctx context.Context, s *server, account string, stdin bool) error {
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
	switch {
	case a.token != "":
		a.confirm("but --token or FNHOST_TOKEN is set, which beats it")
	case s.Token != "":
		a.confirm("the token of `fnhost server add` is kept, and is used again after `fnhost logout`")
	}
	return nil
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
	line, err := typed(ctx, func() (string, error) { return readLine(bufio.NewReader(a.stdin)) })
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
	return &cobra.Command{
		Use: "logout [NAME]", Short: "End the login to a host, there and here",
		Long: `End the login to a host, the one that commands speak to or the one of that name: its tokens prove nothing any more, and are
forgotten. Other logins of the account go on; "fnhost account end" ends them all.`,
		Args: between(0, 1, "NAME"), ValidArgsFunction: completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.serverOf(args)
			if err != nil {
				return err
			}
			return a.logout(cmd.Context(), s)
		},
	}
}

func (a *app) logout(ctx context.Context, s *server) error {
	var before *keptLogin
	kept := false
	err := changeServers(ctx, func(list *servers) error {
		entry := list.Servers[s.name]
		before, kept = entry.Login, entry.Token != ""
		if entry.Login = nil; before != nil {
			list.Servers[s.name] = entry
		}
		return nil
	})
	if err != nil {
		return err
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
	if kept {
		a.confirm("commands use the token of `fnhost server add` again; `fnhost server rm %s` forgets it", s.name)
	}
	return nil
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

func (a *app) passwdCommand() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use: "passwd", Short: "Change the own password",
		Long: `Change the password of the account that commands come as. All its logins end, but for this one. Somebody else's password
is set by "fnhost account set".`,
		Example: "  fnhost passwd\n  printf '%s\\n%s\\n' \"$OLD\" \"$NEW\" | fnhost passwd --password-stdin",
		Args:    between(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.passwd(cmd.Context(), stdin) },
	}
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read two lines from standard input: the password before, and the new one")
	onlyFlags(cmd.Flags(), "password-stdin")
	return cmd
}

func (a *app) passwd(ctx context.Context, stdin bool) error {
	s, err := a.chosenServer()
	if err != nil {
		return err
	}
	c, err := s.client(a.token, a.namespace)
	if err != nil {
		return usageError{err: err}
	}
	id, err := c.Whoami(ctx)
	if err != nil {
		return err
	}
	if id.Account == "" || id.Kind != "person" {
		return fmt.Errorf("%s has no password to change: `fnhost login` comes as an account that has one", orDash(id.Account))
	}
	var current, next string
	if stdin {
		lines := bufio.NewReader(a.stdin)
		if current, err = readLine(lines); err == nil {
			next, err = readLine(lines)
		}
	} else if current, err = a.askUnseen(ctx, fmt.Sprintf("password of %s until now (it is not shown): ", id.Account)); err == nil {
		next, err = a.askTwice(ctx, "new password: ")
	}
	if err != nil {
		return err
	}
	if next == "" {
		return usagef("the new password is empty: nothing is changed")
	}
	if _, err := c.ChangeAccount(ctx, id.Account, admin.AccountRequest{Password: &next, Current: current}); err != nil {
		return wrongPassword(badRequest(err), id.Account)
	}
	a.confirm("the password of %s is changed, and its other logins have ended", id.Account)
	if s.Login == nil || a.token != "" {
		return nil
	}
	if c, err = s.connect(admin.ClientOptions{}); err != nil {
		return err
	}
	l, err := c.Login(ctx, id.Account, next)
	if err != nil {
		return fmt.Errorf("the password is changed, but the new login failed: %w; `fnhost login` begins one", err)
	}
	_, err = a.keepLogin(ctx, s, l)
	return err
}

// passwordFlags say where a new password comes from.
type passwordFlags struct{ stdin, generate bool }

func (f *passwordFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from standard input, its first line")
	cmd.Flags().BoolVar(&f.generate, "generate", false, "make a password, and print it, once")
	onlyFlags(cmd.Flags(), "password-stdin", "generate")
}

// askTwice asks for something that is not shown, and once more.
func (a *app) askTwice(ctx context.Context, prompt string) (string, error) {
	one, err := a.askUnseen(ctx, prompt)
	if err != nil {
		return "", err
	}
	two, err := a.askUnseen(ctx, "once more: ")
	if err == nil && one != two {
		err = usagef("these were two values: nothing is set")
	}
	return one, err
}

// isUnauthorized reports whether the host does not know who asks.
func isUnauthorized(err error) bool { return errors.Is(err, &wire.Error{Code: wire.Unauthorized}) }
