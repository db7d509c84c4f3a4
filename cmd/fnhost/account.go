package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth"
)

func (a *app) accountCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "account", Short: "Make, list, change and remove the accounts of people and services", Args: unknownSubcommand, RunE: help,
		Long: `Make, list, change and remove the accounts of people and services.

What an account may do its scopes say: admin may do everything, developer deploy functions and work with what they have, viewer
see what there is, invoker call functions. Rules add to that, and name scopes of your own ("fnhost rule").`,
	}
	cmd.AddCommand(a.accountCreateCommand(), a.accountListCommand(), a.accountSetCommand(), a.accountEndCommand(), a.accountRemoveCommand())
	return cmd
}

func (a *app) accountCreateCommand() *cobra.Command {
	var req admin.AccountRequest
	var scopes []string
	var service bool
	var p passwordFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an account",
		Long: `Make an account. A person logs in with a password of at least 12 characters, which on a terminal is asked for, twice;
a service gets tokens ("fnhost token create"), and needs none.

An account belongs to all namespaces, or with --in (or -n) to one: there its scopes count, and elsewhere it is a stranger.`,
		Example: "  fnhost account create ada --scope developer\n  fnhost account create grace --scope admin --generate\n  fnhost account create ci --service --scope developer",
		Args:    between(1, 1, "NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name, req.Scopes, req.Kind = args[0], &scopes, "person"
		if service {
			req.Kind = "service"
		}
		req.Namespace = cmp.Or(req.Namespace, a.namespace)
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Password, err = a.newPassword(cmd, &p, "password of "+req.Name, !service); err != nil {
			return err
		}
		a.sayServer()
		acc, err := c.CreateAccount(cmd.Context(), req)
		if err != nil {
			return badRequest(err)
		}
		return a.showAccount(acc, "made", req.Password, &p)
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&scopes, "scope", nil, "scope that it has, such as developer; may be repeated")
	flags.StringVar(&req.Namespace, "in", "", "namespace that it belongs to, * is all (default the one of --namespace, or else all)")
	flags.BoolVar(&service, "service", false, "it is a program, and no person")
	onlyFlags(flags, "scope", "in", "service")
	p.register(cmd)
	completeScopes(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// newPassword returns the password that the flags say; nil for none, if none is needed.
func (a *app) newPassword(cmd *cobra.Command, p *passwordFlags, what string, need bool) (*string, error) {
	if err := exclusive(cmd.Flags(), "password-stdin", "generate"); err != nil {
		return nil, err
	}
	var password string
	var err error
	switch {
	case p.generate:
		password = rand.Text()
	case p.stdin:
		password, err = readLine(bufio.NewReader(a.stdin))
	case !need:
		return nil, nil
	case isTerminal(a.stdin):
		password, err = a.askTwice(cmd.Context(), what+" (it is not shown): ", auth.CheckNewPassword)
	default:
		return nil, usagef("no password, and standard input is no terminal: --password-stdin reads one there, --generate makes one, and a --service needs none")
	}
	if err == nil && password == "" {
		err = usagef("the password is empty")
	}
	return &password, err
}

// showAccount says what has been done; a password that was made is the only output then.
func (a *app) showAccount(acc admin.Account, done string, password *string, p *passwordFlags) error {
	made := ""
	if p.generate && password != nil {
		made = *password
	}
	if a.output == "json" {
		return a.printJSON(struct {
			admin.Account
			Generated string `json:"generated,omitempty"`
		}{acc, made})
	}
	a.confirm("%s is %s: %s of namespace %s, scopes %s", acc.Name, done, acc.Kind, everywhere(acc.Namespace), orDash(strings.Join(acc.Scopes, ", ")))
	if acc.Kind == "service" && !acc.Password {
		a.confirm("`fnhost token create NAME --account %s` gives it a token", acc.Name)
	}
	if made == "" {
		return nil
	}
	a.confirm("its password, shown this once:")
	_, err := fmt.Fprintln(a.stdout, made)
	return err
}

func (a *app) accountListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the accounts", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Accounts(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			a.confirm("no accounts yet: `fnhost account create NAME --scope admin` makes one")
			return nil
		}
		rows := [][]string{{"NAME", "KIND", "NAMESPACE", "SCOPES", "PASSWORD", "AGE", "BY"}}
		for i := range list {
			acc, password := &list[i], "no"
			if acc.Password {
				password = "yes"
			}
			rows = append(rows, []string{acc.Name, acc.Kind, acc.Namespace, orDash(strings.Join(acc.Scopes, ",")), password, age(&acc.Created), orDash(acc.By)})
		}
		return a.printTable(rows)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) accountSetCommand() *cobra.Command {
	var scopes []string
	var p passwordFlags
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change the scopes of an account, or its password",
		Long: `Change the scopes of an account, which are those that are named from then on, and no others; --scope= takes all away. It
counts at once, for its logins and tokens, too.

A new password ends all logins of the account.`,
		Example: "  fnhost account set ada --scope developer,payments\n  fnhost account set ada --generate",
		Args:    between(1, 1, "NAME"), ValidArgsFunction: a.completeAccounts,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var req admin.AccountRequest
		if cmd.Flags().Changed("scope") {
			scopes = append([]string{}, scopes...)
			req.Scopes = &scopes
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Password, err = a.newPassword(cmd, &p, "", false); err != nil {
			return err
		}
		if req.Scopes == nil && req.Password == nil {
			return usagef("nothing to change: --scope, --password-stdin or --generate says what")
		}
		a.sayServer()
		acc, err := c.ChangeAccount(cmd.Context(), args[0], req)
		if err != nil {
			return badRequest(err)
		}
		return a.showAccount(acc, "changed", req.Password, &p)
	}
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "scope that it has from now on; may be repeated")
	onlyFlags(cmd.Flags(), "scope")
	p.register(cmd)
	completeScopes(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// onEach is a command that does something to each of its arguments.
func (a *app) onEach(cmd *cobra.Command, what, done string, complete cobra.CompletionFunc, do func(*admin.Client, context.Context, string) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = between(1, 1000, what), complete
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		for _, name := range args {
			if err := do(c, cmd.Context(), name); err != nil {
				return badRequest(err)
			}
			a.confirm("%s %s", name, done)
		}
		return nil
	}
	return cmd
}

func (a *app) accountEndCommand() *cobra.Command {
	return a.onEach(&cobra.Command{Use: "end NAME...", Short: "End all logins of accounts; their tokens stay"},
		"NAME", "is logged out everywhere; its tokens of `fnhost token create` stay", a.completeAccounts, (*admin.Client).EndLogins)
}

func (a *app) accountRemoveCommand() *cobra.Command {
	return a.onEach(&cobra.Command{Use: "rm NAME...", Short: "Remove accounts, with their logins and tokens"},
		"NAME", "is removed", a.completeAccounts, (*admin.Client).RemoveAccount)
}

func (a *app) completeAccounts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeNames(cmd, func(c *admin.Client) (names []string) {
		list, _ := c.Accounts(cmd.Context())
		for i := range list {
			names = append(names, list[i].Name+"\t"+strings.Join(list[i].Scopes, ", "))
		}
		return names
	})
}

// completeNames offers what the host knows.
func (a *app) completeNames(cmd *cobra.Command, ask func(*admin.Client) []string) ([]string, cobra.ShellCompDirective) {
	if a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ask(c), cobra.ShellCompDirectiveNoFileComp
}

// completeScopes offers the scopes that each host has.
func completeScopes(cmd *cobra.Command, more ...string) {
	cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions(append([]string{"admin", "developer", "viewer", "invoker"}, more...), cobra.ShellCompDirectiveNoFileComp))
}
