package main

import (
	"bufio"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth"
)

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
		next, err = a.askTwice(ctx, "new password: ", auth.CheckNewPassword)
	}
	if err != nil {
		return err
	}
	if next == "" {
		return usagef("the new password is empty: nothing is changed")
	}
	if _, err := c.ChangeAccount(ctx, id.Account, admin.AccountRequest{Password: &next, Current: current}); err != nil {
		if isUnauthorized(err) {
			return fmt.Errorf("that is not the password until now, and nothing is changed: try again, or have an admin set another one by `fnhost account set %s --generate`", id.Account)
		}
		return badRequest(err)
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

// askTwice asks for something that is not shown, and once more if it passes a check.
func (a *app) askTwice(ctx context.Context, prompt string, check func(string) error) (string, error) {
	one, err := a.askUnseen(ctx, prompt)
	if err != nil {
		return "", err
	}
	if err := check(one); err != nil {
		return "", usageError{err: err}
	}
	two, err := a.askUnseen(ctx, "once more: ")
	if err == nil && one != two {
		err = usagef("these were two values: nothing is set")
	}
	return one, err
}
