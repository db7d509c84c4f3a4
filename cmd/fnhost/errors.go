package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/auth"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 4
	exitInterrupted = 130
)

// errInterrupted ends a command that was interrupted twice.
var errInterrupted = errors.New("interrupted")

// usageError is a command line, or a setting, that says what cannot be meant.
type usageError struct {
	err error
	see string // the command whose help tells more; "" for the one that ran
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{err: fmt.Errorf(format, args...)} }

// exit says what went wrong, and what to do, and returns the exit code.
func (a *app) exit(cmd *cobra.Command, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errNotAllowed):
		return exitFailed
	case errors.As(err, &usage):
		see := usage.see
		if see == "" {
			see = cmd.CommandPath()
		}
		a.complain(err, fmt.Sprintf("see '%s --help'", see))
		return exitUsage
	case errors.Is(err, admin.ErrUnreachable):
		a.complain(err, "start one with `fnhost dev`, or name another with --server")
		return exitUnreachable
	}
	a.complain(err, nextStep(err))
	return exitFailed
}

func (a *app) complain(err error, next string) {
	text := strings.ReplaceAll(err.Error(), auth.SendToken, "") // what a command does instead is said next
	fmt.Fprintf(a.stderr, "%s %s\n", a.painter(a.stderr).paint(red, "fnhost:"), strings.TrimRight(text, "\n"))
	if next != "" {
		fmt.Fprintln(a.stderr, next)
	}
}

// nextStep says what to do about errors that do not say it themselves.
func nextStep(err error) string {
	switch {
	case strings.Contains(strings.ReplaceAll(err.Error(), auth.SendToken, ""), "`fnhost "):
		return "" // it does
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop it, or choose other addresses with --http, --admin and --nats: port 0 picks a free one"
	case errors.Is(err, functions.ErrNoFunction):
		return "`fnhost list` shows what there is"
	case isUnauthorized(err):
		return "`fnhost login` logs in; `fnhost server add` keeps a token, and FNHOST_TOKEN gives one"
	case errors.Is(err, functions.ErrPanicked), errors.Is(err, functions.ErrCrashed):
		return "`fnhost logs` shows what happened"
	}
	return ""
}

// flagError makes usage errors of what is wrong with flags.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && strings.Trim(unknown.GetSpecifiedShortnames(), "0123456789.") == "" && unknown.GetSpecifiedShortnames() != "" {
		return usagef("-%s is taken for a flag: put -- before what begins with a dash, as in `%s -- ... -%[1]s`", unknown.GetSpecifiedShortnames(), cmd.CommandPath())
	}
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usageError{err: err}
	}
	var have []string
	add := func(f *pflag.Flag) { have = append(have, f.Name) }
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return usagef("unknown flag --%s%s", unknown.GetSpecifiedName(), flagHint(unknown.GetSpecifiedName(), have))
}

// parseVersion returns "v3" for "v3" or "3", and "" for none.
func parseVersion(flag, s string) (string, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	switch {
	case s == "":
		return "", nil
	case err != nil || n < 1:
		return "", usagef("%s %q: want a version such as v1", flag, s)
	}
	return "v" + strconv.Itoa(n), nil
}

// badRequest makes a usage error of err, if the host says that what was asked of it
// cannot be meant.
func badRequest(err error) error {
	if errors.Is(err, functions.ErrBadRequest) {
		return usageError{err: err}
	}
	return err
}

// exclusive checks that at most one of some flags is set.
func exclusive(flags *pflag.FlagSet, names ...string) error {
	set := slices.DeleteFunc(names, func(name string) bool { return !flags.Changed(name) })
	if len(set) > 1 {
		return usagef("--%s and --%s exclude each other", set[0], set[1])
	}
	return nil
}

// flagHint suggests the flag that a mistyped one was meant to be.
func flagHint(name string, have []string) string {
	near, ok := nearest.Name(name, have)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (did you mean --%s?)", near)
}

// unknownCommand is the check of arguments of the root command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var have []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			have = append(have, sub.Name())
		}
	}
	return usagef("unknown command %q%s", args[0], nearest.DidYouMean(args[0], have))
}

// between is a check of the number of arguments; what names them.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			names := strings.Fields(strings.NewReplacer(",", " ", " and ", " ").Replace(what))
			verb := "is"
			if len(args) < len(names) {
				names = names[len(args):]
			}
			if len(names) > 1 {
				verb = "are"
			}
			return usagef("%s %s missing: %s", strings.Join(names, " and "), verb, cmd.UseLine())
		case len(args) > most && most == 0:
			return usagef("unexpected %q: %s takes no arguments", args[0], cmd.CommandPath())
		case len(args) > most:
			return usagef("unexpected %q: one %s is enough", args[most], what)
		}
		return nil
	}
}
