package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/kv/secrets"
)

// masterKeyVariable holds the master key of a host, which takes it out of its environment.
const masterKeyVariable = "FNHOST_MASTER_KEY"

func (a *app) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret", Short: "Set the secrets of functions, and change the key that seals them", Args: unknownSubcommand, RunE: help,
		Long: `Set the secrets of functions, and change the key that seals them.

A function gets one by functions.Secret(ctx, "NAME"), if access.secrets in its function.yaml names it, or it has no
access at all there. Nobody else does: no command shows a value.`,
	}
	cmd.AddCommand(a.secretSetCommand(), a.secretListCommand(), a.secretVersionsCommand(), a.secretRemoveCommand(), a.secretRotateCommand(), a.secretKeyCommand())
	return cmd
}

func (a *app) secretSetCommand() *cobra.Command {
	var exact bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set a secret to what standard input has, or to what is typed",
		Long: `Set a secret to what standard input has, without a newline at its end, or, on a terminal, to what is typed there unseen.
A value on the command line would be in the history of the shell, and could be read by every user of the machine.

Functions get it with their next call of functions.Secret. The latest 10 versions are kept. A value has 1 byte to 64 KiB,
a name at most 200 bytes: letters, digits and - _ / = . (no dot at an end, no two beside each other).`,
		Example: "  fnhost secret set stripe/key\n  fnhost secret set tls/key < key.pem\n  pass show db | fnhost secret set db",
		Args:    oneSecretName, ValidArgsFunction: a.completeSecrets,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := secrets.ValidateName(args[0]); err != nil {
			return usageError{err: err}
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		value, err := a.readSecret(cmd.Context(), args[0], exact)
		defer clear(value)
		if err != nil {
			return err
		}
		a.sayServer()
		v, err := c.SetSecret(cmd.Context(), args[0], value, whoami())
		if err != nil {
			return badRequest(err)
		}
		if a.output == "json" {
			return a.printJSON(v)
		}
		_, err = fmt.Fprintf(a.stdout, "%s  version %d\n", v.Name, v.Version)
		return err
	}
	cmd.Flags().BoolVar(&exact, "exact", false, "keep a newline at the end of standard input")
	onlyFlags(cmd.Flags(), "exact")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// oneSecretName refuses a value on the command line.
func oneSecretName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 || len(args) == 1 && strings.Contains(args[0], "=") {
		return usagef("a value does not go on the command line, where others can read it, and the shell keeps it: `fnhost secret set NAME` asks for it, or reads it " +
			"from standard input (if that was a value in use, it is better replaced)")
	}
	return between(1, 1, "NAME")(cmd, args)
}

// readSecret reads a value; from a terminal it asks for it twice.
func (a *app) readSecret(ctx context.Context, name string, exact bool) ([]byte, error) {
	if isTerminal(a.stdin) {
		value, err := a.askTwice(ctx, fmt.Sprintf("value of %s (it is not shown): ", name), func(value string) error {
			if value == "" {
				return fmt.Errorf("the value is empty: `fnhost secret rm %s` removes a secret", name)
			}
			return nil
		})
		return []byte(value), err
	}
	value, err := io.ReadAll(io.LimitReader(a.stdin, secrets.MaxValue+3))
	if err != nil {
		return nil, err
	}
	if !exact {
		if n := len(value); n > 0 && value[n-1] == '\n' {
			value = value[:n-1]
			if n > 1 && value[n-2] == '\r' {
				value = value[:n-2]
			}
		}
	}
	if len(value) == 0 {
		return nil, usagef("standard input is empty: `fnhost secret rm %s` removes a secret", name)
	}
	return value, nil
}

func (a *app) secretListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the secrets, without their values", Args: between(0, 0, "")}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.listSecrets(cmd.Context(), "no secrets yet: `fnhost secret set NAME` sets one", (*admin.Client).Secrets)
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) secretVersionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions NAME", Short: "List the versions of a secret that are kept, without their values",
		Args: between(1, 1, "NAME"), ValidArgsFunction: a.completeSecrets,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.listSecrets(cmd.Context(), "", func(c *admin.Client, ctx context.Context) ([]admin.Secret, error) {
			return c.SecretVersions(ctx, args[0])
		})
	}
	a.outputFlag(cmd, "table", "json")
	return cmd
}

func (a *app) listSecrets(ctx context.Context, none string, ask func(*admin.Client, context.Context) ([]admin.Secret, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := ask(c, ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.confirm("%s", none)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tAGE\tBY\tMASTER KEY")
	for _, v := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", v.Name, v.Version, age(&v.Created), orDash(v.By), v.Key)
	}
	return w.Flush()
}

func (a *app) secretRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Short: "Remove secrets, with all their versions",
		Args: between(1, 1000, "NAME"), ValidArgsFunction: a.completeSecrets,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			a.sayServer()
			for _, name := range args {
				if err := c.RemoveSecret(cmd.Context(), name); err != nil {
					return err
				}
				a.confirm("%s is removed", name)
			}
			return nil
		},
	}
}

func (a *app) secretRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Seal all secrets with a new master key",
		Long: `Seal all secrets with a new master key, while functions read them. Values stay as they are.

If the key is the host's own (master.key in its data directory), a new one is made, and the old one goes. If it comes from
--master-key-file or --master-key-command, put the new key (fnhost secret key) on a line before the old one there,
rotate, and take the old one away. (Where hosts share a NATS server, put both keys there on all of them first, and
rotate on each.) If it comes from FNHOST_MASTER_KEY, put both there, the new one first, restart the host, and rotate
then. A rotation that is broken off is finished by the next one.`,
		Args: between(0, 0, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		a.sayServer()
		done, err := c.RotateMasterKey(cmd.Context())
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(done)
		}
		fmt.Fprintf(a.stdout, "key %s seals all secrets; %d versions sealed anew\n", done.Key, done.Rewrapped)
		if !done.Owned && len(done.Dropped) > 0 {
			a.confirm("take %s out of %s now: nothing needs it any more, but backups from before", strings.Join(done.Dropped, ", "), done.Source)
		}
		if len(done.Unread) > 0 {
			return fmt.Errorf("these could not be sealed anew, since they are damaged, or their key is not there: %s; set them again", strings.Join(done.Unread, ", "))
		}
		return nil
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) secretKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Make a master key, and print it; nothing else is done",
		Example: "  (umask 077; fnhost secret key > /etc/fnhost/master.key)\n  fnhost serve --data /var/lib/fnhost --master-key-file /etc/fnhost/master.key",
		Args:    between(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, secrets.NewKey().Text())
			return err
		},
	}
}

func (a *app) completeSecrets(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := c.Secrets(cmd.Context())
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// takeMasterKey returns the key of the environment, which has it no more then. It refuses
// one beside the other sources of a key.
func takeMasterKey(file string, command []string) (string, error) {
	key := os.Getenv(masterKeyVariable)
	if key != "" {
		os.Unsetenv(masterKeyVariable)
		wipeEnvironment(key)
	}
	if key != "" && (file != "" || len(command) > 0) || file != "" && len(command) > 0 {
		return "", usagef("--master-key-file, --master-key-command and %s exclude each other", masterKeyVariable)
	}
	return key, nil
}
