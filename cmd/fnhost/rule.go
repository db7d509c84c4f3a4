package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth/rules"
)

func (a *app) ruleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rule", Short: "Say who may do what", Args: unknownSubcommand, RunE: help,
		Long: `Say who may do what. A rule lets a scope do something to a resource, or denies it:

  function:NAME, function:NAME:ENDPOINT      to call it
  bucket:NAME:read, blob:NAME:write          and so on, also secret and config
  subject:publish:SUBJECT, subject:subscribe:SUBJECT
  admin:ACTION                               to steer the host: deploy, logs, read, auth ...

Parts are separated by colons, those of a subject by dots; * is one part, and > at the end all that follow. Scopes are those
that accounts have; public is anybody, * any account. Of the rules that match, the one of the highest priority decides; of
equal ones one that denies. "fnhost auth check" says what would be decided.`,
	}
	cmd.AddCommand(a.ruleAddCommand(), a.ruleListCommand(), a.ruleRemoveCommand())
	return cmd
}

func (a *app) ruleAddCommand() *cobra.Command {
	var r admin.Rule
	var deny bool
	cmd := &cobra.Command{
		Use: "add RESOURCE", Short: "Add a rule, which counts at once",
		Example: "  fnhost rule add function:hello --scope public\n  fnhost rule add function:orders:refund --scope billing --in shop\n" +
			"  fnhost rule add 'bucket:payroll:*' --scope developer --deny --priority 10 --note 'only billing'",
		Args: between(1, 1, "RESOURCE"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.Resource, r.Access, r.Namespace = args[0], rules.Grant, cmp.Or(r.Namespace, a.namespace)
		if deny {
			r.Access = rules.Deny
		}
		if r.Scope == "" {
			return usagef("--scope is missing: the scope of those it is for, %q for anybody, or %q for any account", rules.Public, rules.Any)
		}
		if err := rules.CheckResource(r.Resource); err != nil {
			return usagef("resource %w", err)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		added, err := c.AddRule(cmd.Context(), r)
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(added)
		}
		_, err = fmt.Fprintf(a.stdout, "%s  %s %s to %s, namespace %s, priority %d\n", added.ID, added.Access, added.Resource, added.Scope, everywhere(added.Namespace), added.Priority)
		return err
	}
	flags := cmd.Flags()
	flags.StringVar(&r.Scope, "scope", "", "scope of those that it is for; public is anybody, * any account")
	flags.BoolVar(&deny, "deny", false, "deny it, and do not allow it")
	flags.IntVar(&r.Priority, "priority", 0, "from -1000 to 1000: the highest decides; the rules of the roles that each host has are at -1000")
	flags.StringVar(&r.Namespace, "in", "", "namespace in which it holds, * is all, and what belongs to the host as a whole (default the one of --namespace, or else *)")
	flags.StringVar(&r.ID, "id", "", "name of the rule (default: one is made)")
	flags.StringVar(&r.Note, "note", "", "why there is this rule")
	onlyFlags(flags, "scope", "deny", "priority", "in", "id", "note")
	completeScopes(cmd, rules.Public, rules.Any)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) ruleListCommand() *cobra.Command {
	var wide bool
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the rules, with those that are always there", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Rules(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(list)
		}
		rows := [][]string{{"ID", "ACCESS", "RESOURCE", "SCOPE", "NAMESPACE", "PRIORITY", "BY"}}
		if wide {
			rows[0] = append(rows[0], "NOTE")
		}
		for i := range list {
			r := &list[i]
			row := []string{r.ID, string(r.Access), r.Resource, r.Scope, r.Namespace, strconv.Itoa(r.Priority), orDash(r.By)}
			if wide {
				row = append(row, orDash(oneLine(r.Note)))
			}
			rows = append(rows, row)
		}
		return a.printTable(rows)
	}
	cmd.Flags().BoolVar(&wide, "wide", false, "with the notes that say why there is a rule")
	onlyFlags(cmd.Flags(), "wide")
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) ruleRemoveCommand() *cobra.Command {
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeNames(cmd, func(c *admin.Client) (names []string) {
			list, _ := c.Rules(cmd.Context())
			for i := range list {
				if list[i].Priority > -rules.MaxPriority { // else it is one that stays
					names = append(names, list[i].ID+"\t"+list[i].Resource)
				}
			}
			return names
		})
	}
	return a.onEach(&cobra.Command{Use: "rm ID...", Short: "Remove rules"}, "ID", "is removed", complete, (*admin.Client).RemoveRule)
}

// errNotAllowed ends a check whose answer, which is no, has been printed.
var errNotAllowed = errors.New("not allowed")

func (a *app) authCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "auth", Short: "Ask the rules who may do what", Args: unknownSubcommand, RunE: help}
	var as, namespace string
	check := &cobra.Command{
		Use: "check RESOURCE", Short: "Say whether somebody may do something, and why",
		Long: `Say whether somebody, by default who asks, may do something, which rule decides that, and why. The exit code is 0 if it is
allowed, and 1 if it is not. What a function.yaml says of who may call the function is not looked at: it counts where no rule
decides.`,
		Example: "  fnhost auth check function:orders:create\n  fnhost auth check admin:deploy --as ada -n shop\n  fnhost auth check function:hello --as public",
		Args:    between(1, 1, "RESOURCE"),
	}
	check.RunE = func(cmd *cobra.Command, args []string) error {
		return a.authCheck(cmd.Context(), as, namespace, args[0])
	}
	check.Flags().StringVar(&as, "as", "", "account, or public for anybody (default who asks)")
	check.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace; * is what belongs to the host as a whole (default the one that commands are about, or what the resource belongs to)")
	onlyFlags(check.Flags(), "as")
	check.RegisterFlagCompletionFunc("as", a.completeAccounts)
	a.outputFlag(check, "text", "json")
	cmd.AddCommand(check)
	return cmd
}

func (a *app) authCheck(ctx context.Context, as, namespace, resource string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	d, err := c.CheckRule(ctx, as, namespace, resource)
	if err != nil {
		return badRequest(err)
	}
	if a.output == "json" {
		err = a.printJSON(d)
	} else {
		fmt.Fprintln(a.stdout, d.Why)
		rows := make([][]string, 0, len(d.Rules))
		for i := range d.Rules {
			r := &d.Rules[i].Rule
			rows = append(rows, []string{"  " + r.ID, strconv.Itoa(r.Priority), string(r.Access), r.Resource, r.Scope, r.Namespace, d.Rules[i].Why})
		}
		err = a.printTable(rows)
	}
	if err == nil && !d.Allowed {
		err = errNotAllowed
	}
	return err
}
