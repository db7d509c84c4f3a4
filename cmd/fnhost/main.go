// Command fnhost runs functions: a directory of Go source becomes a running
// function the moment it is saved.
//
//	fnhost dev DIR        watch, build, run, and serve over HTTP and NATS
//	fnhost init DIR       make a new function
//	fnhost invoke NAME    run one
//	fnhost list           what there is
//
// Results go to standard output, everything else to standard error. Exit codes:
// 0 done, 1 failed, 2 used wrongly, 4 no host answers, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 4
	exitInterrupted = 130
)

// errInterrupted ends a command that was interrupted twice.
var errInterrupted = errors.New("interrupted")

// usageError is a command line that says what cannot be meant.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	settings       *settings
	server         string
	output         string
	noColor        bool
	quiet          bool
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exit(cmd, err)
}

// exit says what went wrong, and what to do, and returns the exit code.
func (a *app) exit(cmd *cobra.Command, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage) || isCobraUsage(err):
		fmt.Fprintf(a.stderr, "fnhost: %v\nsee '%s --help'\n", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, admin.ErrUnreachable):
		fmt.Fprintf(a.stderr, "fnhost: %v\nstart one with `fnhost dev DIR`, or name another with --server URL\n", err)
		return exitUnreachable
	}
	fmt.Fprintf(a.stderr, "fnhost: %v\n", err)
	return exitFailed
}

// isCobraUsage recognises the errors that cobra makes itself.
func isCobraUsage(err error) bool {
	for _, prefix := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "invalid argument", "flag needs", "bad flag"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "fnhost",
		Short:         "Run functions: a directory of Go source is live the moment it is saved",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "http://127.0.0.1:8081", "admin address of the host that client commands speak to")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours, even on a terminal")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "only errors and results")
	a.settings = newSettings(flags)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.settings.apply(cmd) }
	root.AddCommand(a.devCommand(), a.initCommand(), a.invokeCommand(), a.listCommand(), a.describeCommand(),
		a.logsCommand(), a.doctorCommand(), a.versionCommand())
	return root
}

// client returns a client of the host that --server names.
func (a *app) client() (*admin.Client, error) {
	c, err := admin.NewClient(a.server)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

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
}
