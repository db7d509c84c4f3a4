// Command fnhost runs functions: a directory of Go source becomes a running
// function the moment it is saved.
//
//	fnhost init hello     make a new function
//	fnhost dev hello      watch, build, run, and serve it over HTTP and NATS
//	fnhost invoke hello   run it
//	fnhost list           what there is; describe and logs tell more
//	fnhost doctor         check what fnhost needs of this machine
//
// dev is a host (see package host). The other commands are clients of the
// management API of one that runs, which --server names. A host of serve asks who comes: `fnhost login`
// logs in, and `fnhost server add` and FNHOST_TOKEN give a token.
//
// # Settings
//
// Each flag has an environment variable, FNHOST_HTTP for --http, and a key in
// fnhost.yaml, which is looked for in the working directory unless --config
// names another file. A flag beats the variable, which beats the file, which
// beats the default. Only the flags that make up one invocation (the input of
// invoke, and its headers) are flags alone. The file may name hosts, too, for
// --server:
//
//	http: 127.0.0.1:9080
//	watch: [functions]
//	servers:
//	  staging: http://127.0.0.1:9081
//
// # Output
//
// Results go to standard output, everything else to standard error. There are
// colours on a terminal only, and not with --no-color or NO_COLOR.
//
// Exit codes: 0 done, 1 failed, 2 used wrongly, 4 no host answers, 130 interrupted.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // zones of schedules, also where the system has none

	"github.com/fnhost/fnhost/builder/gitpush"
	"github.com/spf13/cobra"
)

func main() {
	if gitpush.IsHook() { // git runs this very program during a push
		os.Exit(gitpush.RunHook(os.Stdin, os.Stderr))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // a host's heap is small, and its garbage is the requests
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	settings       *settings
	server         string
	serverName     string // of the host that the command speaks to
	token          string
	namespace      string
	output         string
	noColor        bool
	quiet          bool
	warned         bool               // of others who may read the file of the user's hosts
	stop           context.CancelFunc // of the listening for signals
	misused        error              // what was wrong where help was asked for
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: func() {}}
	defer func() {
		a.stop()
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "fnhost: a bug in fnhost itself: %v\nplease report it with what follows\n%s", p, debug.Stack())
			code = exitFailed
		}
	}()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.misused
	}
	return a.exit(cmd, err)
}

// defaultServer is the host that commands speak to.
const defaultServer = "http://127.0.0.1:8081"

func (a *app) root() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "fnhost",
		Short: "Run functions: a directory of Go source is live the moment it is saved",
		Long: `Run functions: a directory of Go source is live the moment it is saved.

Each flag has an environment variable, which its help names, and a key of the flag's name in ` + configFile + `:
a flag beats the variable, which beats the file.`,
		Example:       "  fnhost init hello\n  fnhost dev hello\n  fnhost invoke hello --name=Ada",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return a.printVersion()
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVar(&version, "version", false, "say what version this is")
	onlyFlags(root.Flags(), "version")
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", defaultServer, "admin address, or name, of the host that client commands speak to (default the one that 'server use' has chosen)")
	flags.StringVar(&a.token, "token", "", "token for that host (default what 'login' or 'server add' keeps)")
	flags.StringVarP(&a.namespace, "namespace", "n", "", "namespace of that host that client commands are about (default the one named default)")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours, even on a terminal")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "only errors and results")
	a.settings = newSettings(flags)
	root.PersistentPreRunE = a.prepare
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.devCommand(), a.initCommand(), a.invokeCommand(), a.listCommand(), a.describeCommand(),
		a.logsCommand(), a.doctorCommand(), a.versionCommand(),
		a.serveCommand(), a.serverCommand(), a.deployCommand(), a.versionsCommand(), a.rollbackCommand(), a.releaseCommand(),
		a.promoteCommand(), a.removeCommand(), a.statusCommand(), a.gitRemoteCommand(), a.gitCredentialCommand(),
		a.sendCommand(), a.triggerCommand(), a.eventsCommand(), a.replayCommand(), a.deadCommand(), a.runsCommand(),
		a.bucketCommand(), a.kvCommand(), a.blobCommand(), a.configCommand(), a.secretCommand(), a.namespaceCommand(), a.backupCommand(), a.restoreCommand(), a.auditCommand(),
		a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.passwdCommand(), a.accountCommand(), a.tokenCommand(), a.ruleCommand(), a.authCommand(), a.issuerCommand(), a.keysCommand())
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if !cmd.Runnable() { // completion, which takes any shell as it comes
			cmd.Args, cmd.RunE = unknownSubcommand, help
		}
	}
	nameVariables(root)
	a.checkHelp(root)
	return root
}

// checkHelp has help about a command that there is not be an error, as running it is.
func (a *app) checkHelp(root *cobra.Command) {
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd.HasSubCommands() {
			if a.misused = cmd.ValidateArgs(cmd.Flags().Args()); a.misused != nil {
				return
			}
		}
		show(cmd, args)
	})
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && cmd.HasSubCommands() {
				err = cmd.ValidateArgs(rest)
			}
			return err
		}
	}
}

// usageTemplate leaves out of cobra's that a command which only has others runs.
func usageTemplate(template string) string {
	return strings.NewReplacer("{{if .Runnable}}", "{{if and .Runnable (or (not .HasAvailableSubCommands) (ne .Use .Name))}}", " [command]{{end}}", " COMMAND{{end}}").Replace(template)
}

// prepare runs before each command: it fills in the flags that the command line
// does not set, and has the first signal end the command's context.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if cmd.Annotations[ownSignals] == "" {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		cmd.SetContext(ctx)
		a.stop = stop
	}
	if cmd.DisableFlagParsing {
		return nil // it parses by itself, and applies the settings then
	}
	return a.settings.apply(cmd)
}

// ownSignals is the annotation of commands that deal with signals themselves.
const ownSignals = "own-signals"

// outputFlag gives a command the flag -o, whose first choice is the default.
func (a *app) outputFlag(cmd *cobra.Command, choices ...string) {
	output := cmd.Flags().StringP("output", "o", choices[0], "one of "+strings.Join(choices, ", "))
	before := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(choices, *output) {
			return usagef("-o %s: want one of %s", *output, strings.Join(choices, ", "))
		}
		a.output = *output
		return before(cmd, args)
	}
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}
