package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Make, list and revoke tokens for programs", Args: unknownSubcommand, RunE: help,
		Long: `Make, list and revoke tokens for programs, which are good until they expire or are revoked.

A program sends one as "Authorization: Bearer TOKEN"; commands take it from FNHOST_TOKEN; git takes it as the password.`,
	}
	cmd.AddCommand(a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
	return cmd
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var req admin.TokenRequest
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a token, and print it, once",
		Long: `Make a token of that name, and print it. Nothing shows it again.

It comes as the account, the own one unless --account names another, with all that it may do, or with --scope less. --in (or -n)
limits it to a namespace. If the account is removed, or loses a scope, so does the token.`,
		Example: "  fnhost token create ci --scope developer --ttl 720h\n  fnhost token create shop --account shop --scope invoker > token",
		Args:    between(1, 1, "NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name, req.Namespace = args[0], cmp.Or(req.Namespace, a.namespace)
		switch {
		case ttl < 0 || ttl == 0 && cmd.Flags().Changed("ttl"):
			return usagef("--ttl %v: want a duration such as 720h", ttl)
		case ttl > 0:
			req.TTL = ttl.String()
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		t, err := c.CreateToken(cmd.Context(), req)
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(t)
		}
		a.confirm("token %s (%s) of %s, scopes %s, namespace %s, %s; it is shown this once:", t.Name, t.ID, t.Account, scopesOf(&t), namespaceOf(&t), untilText(&t))
		_, err = fmt.Fprintln(a.stdout, t.Secret)
		return err
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Account, "account", "", "account that it comes as (default the own one)")
	flags.StringSliceVar(&req.Scopes, "scope", nil, "scope that it has, of those of the account; may be repeated (default all of them)")
	flags.StringVar(&req.Namespace, "in", "", "namespace that it is good for (default the one of --namespace, or else those of the account)")
	flags.DurationVar(&ttl, "ttl", 0, "how long it is good, such as 720h (default until it is revoked)")
	onlyFlags(flags, "account", "scope", "in", "ttl")
	cmd.RegisterFlagCompletionFunc("account", a.completeAccounts)
	completeScopes(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func scopesOf(t *admin.Token) string {
	if len(t.Scopes) == 0 {
		return "all of the account"
	}
	return strings.Join(t.Scopes, ", ")
}

func namespaceOf(t *admin.Token) string {
	if t.Namespace == "" {
		return "that of the account"
	}
	return everywhere(t.Namespace)
}

func untilText(t *admin.Token) string {
	switch {
	case t.Expires == nil:
		return "until it is revoked"
	case time.Now().After(*t.Expires):
		return "expired"
	}
	return "until " + t.Expires.Local().Format(time.DateTime)
}

func (a *app) tokenListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the own tokens, or all", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Tokens(cmd.Context(), all)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			a.confirm("no tokens: `fnhost token create NAME` makes one; `fnhost token ls --all` lists those of all accounts")
			return nil
		}
		rows := [][]string{{"ID", "NAME", "ACCOUNT", "NAMESPACE", "SCOPES", "AGE", "GOOD"}}
		for i := range list {
			t := &list[i]
			rows = append(rows, []string{t.ID, t.Name, t.Account, orDash(t.Namespace), orDash(strings.Join(t.Scopes, ",")), age(&t.Created), untilText(t)})
		}
		return a.printTable(rows)
	}
	cmd.Flags().BoolVar(&all, "all", false, "those of all accounts")
	onlyFlags(cmd.Flags(), "all")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeNames(cmd, func(c *admin.Client) (names []string) {
			list, _ := c.Tokens(cmd.Context(), false)
			for i := range list {
				names = append(names, list[i].ID+"\t"+list[i].Name)
			}
			return names
		})
	}
	return a.onEach(&cobra.Command{Use: "revoke ID...", Aliases: []string{"rm"}, Short: "Revoke tokens: they prove nothing from then on"},
		"ID", "is revoked", complete, (*admin.Client).RevokeToken)
}
