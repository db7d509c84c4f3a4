package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func (a *app) issuerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "issuer", Short: "Take the tokens of somebody else, such as an OpenID Connect provider", Args: unknownSubcommand, RunE: help,
		Long: `Take the tokens (JWT) of somebody else, such as an OpenID Connect provider: who brings one needs no account here, and is
called NAME/SUBJECT.`,
	}
	cmd.AddCommand(a.issuerAddCommand(), a.issuerListCommand(), a.issuerRemoveCommand())
	return cmd
}

func (a *app) issuerAddCommand() *cobra.Command {
	var i admin.Issuer
	var scopes []string
	cmd := &cobra.Command{
		Use: "add NAME URL", Short: "Take the tokens of an issuer",
		Long: `Take the tokens of the issuer at URL, as they have it (iss), that are meant for the audience. Its keys are fetched as its
discovery document says (URL/.well-known/openid-configuration), or from --jwks.

What is in a claim of the token (--scopes-claim) stands for scopes here as --map says, and what is not mapped for nothing.`,
		Example: "  fnhost issuer add corp https://login.example.com --audience fnhost --scopes-claim groups --map platform=developer --always viewer",
		Args:    between(2, 2, "NAME URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.Name, i.URL, i.Namespace = args[0], args[1], cmp.Or(i.Namespace, a.namespace)
			var err error
			if i.Scopes, err = parseScopeMap(scopes); err != nil {
				return err
			}
			if i.Audience == "" {
				return usagef("--audience is missing: a token that is meant for somebody else must not count here")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			a.sayServer()
			added, err := c.AddIssuer(cmd.Context(), i)
			if err != nil {
				return badRequest(err)
			}
			a.confirm("tokens of %s that are for %s are good from now on, in namespace %s", i.URL, i.Audience, everywhere(cmp.Or(i.Namespace, admin.DefaultNamespace)))
			if added.Warning != "" {
				a.confirm("%s", added.Warning)
			}
			if len(i.Scopes) == 0 && len(i.Always) == 0 {
				a.confirm("who brings one has no scopes: --map and --always give some")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.Audience, "audience", "", "audience (aud) that tokens must have")
	flags.StringVar(&i.JWKS, "jwks", "", "URL of the keys (default what the discovery document says)")
	flags.StringVar(&i.Namespace, "in", "", "namespace that those who bring one belong to, * is all (default the one of --namespace, or else \"default\")")
	flags.StringVar(&i.AccountClaim, "account-claim", "", "claim that tells people apart (default sub)")
	flags.StringVar(&i.ScopesClaim, "scopes-claim", "", "claim that is mapped, such as groups (default scope)")
	flags.StringSliceVar(&scopes, "map", nil, "VALUE=SCOPE: what a value of that claim stands for; may be repeated")
	flags.StringSliceVar(&i.Always, "always", nil, "scope that all of them have; may be repeated")
	onlyFlags(flags, "audience", "jwks", "in", "account-claim", "scopes-claim", "map", "always")
	return cmd
}

// parseScopeMap parses VALUE=SCOPE; values may have = themselves.
func parseScopeMap(list []string) (map[string][]string, error) {
	m := make(map[string][]string)
	for _, one := range list {
		at := strings.LastIndex(one, "=")
		if at < 1 || at == len(one)-1 {
			return nil, usagef("--map %q: want VALUE=SCOPE, such as platform=developer", one)
		}
		m[one[:at]] = append(m[one[:at]], one[at+1:])
	}
	return m, nil
}

func (a *app) issuerListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the issuers whose tokens are taken", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Issuers(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			a.confirm("no other issuers: `fnhost issuer add NAME URL --audience A` takes the tokens of one")
			return nil
		}
		rows := [][]string{{"NAME", "URL", "AUDIENCE", "NAMESPACE", "SCOPES", "BY"}}
		for n := range list {
			i := &list[n]
			var scopes []string
			for _, value := range sortedKeys(i.Scopes) {
				scopes = append(scopes, fmt.Sprintf("%s (%s %s)", strings.Join(i.Scopes[value], "+"), cmp.Or(i.ScopesClaim, "scope"), value))
			}
			scopes = slices.Concat(i.Always, scopes)
			rows = append(rows, []string{i.Name, i.URL, i.Audience, i.Namespace, orDash(strings.Join(scopes, ", ")), orDash(i.By)})
		}
		return a.printTable(rows)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) issuerRemoveCommand() *cobra.Command {
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeNames(cmd, func(c *admin.Client) (names []string) {
			list, _ := c.Issuers(cmd.Context())
			for i := range list {
				names = append(names, list[i].Name+"\t"+list[i].URL)
			}
			return names
		})
	}
	return a.onEach(&cobra.Command{Use: "rm NAME...", Short: "Take the tokens of issuers no more"}, "NAME", "is removed", complete, (*admin.Client).RemoveIssuer)
}

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "List and rotate the keys that logins are signed with", Args: unknownSubcommand, RunE: help,
		Long: `List and rotate the keys that logins are signed with. Others verify the tokens of this host with what it publishes at
/.well-known/jwks.json of the management API.`,
	}
	list := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the signing keys, the active one first", Args: between(0, 0, "")}
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		keys, err := c.SigningKeys(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(keys)
		}
		if len(keys) == 0 {
			a.confirm("no keys yet: the first login makes one")
			return nil
		}
		rows := [][]string{{"ID", "USE", "AGE"}}
		for i := range keys {
			use := "verifies only"
			if keys[i].Active {
				use = "signs"
			}
			rows = append(rows, []string{keys[i].ID, use, age(&keys[i].Created)})
		}
		return a.printTable(rows)
	}
	a.outputFlag(list, "table", "json")
	rotate := &cobra.Command{
		Use: "rotate", Short: "Make a new signing key",
		Long: `Make a new signing key. What the one before has signed is good until it expires, which is minutes; what the one before that
has signed is refused: after two rotations all access tokens are replaced, and no login has ended.`,
		Args: between(0, 0, ""),
	}
	rotate.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		k, err := c.RotateKeys(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(k)
		}
		return a.printTable([][]string{{k.ID, "signs from now on"}})
	}
	a.outputFlag(rotate, "text", "json")
	cmd.AddCommand(list, rotate)
	return cmd
}
