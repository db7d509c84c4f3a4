package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/manifest"
)

// commandLine is that of invoke, taken apart: the name, fnhost's own flags, and
// those that only the function knows.
type commandLine struct {
	name  string
	own   []string
	typed []typedFlag
	help  bool
}

// typedFlag is a flag of the function.
type typedFlag struct {
	name, value string
	hasValue    bool
}

// splitLine takes args apart. What is no flag of fnhost's own is one of the
// function, whose name has to come first.
func splitLine(cmd *cobra.Command, args []string) (*commandLine, error) {
	cmd.InheritedFlags() // has cobra add them to cmd.Flags
	line := &commandLine{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-h" || arg == "--help":
			line.help = true
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			name, value, hasValue := strings.Cut(arg[2:], "=")
			if flag := cmd.Flags().Lookup(name); flag != nil {
				line.own = append(line.own, arg)
				if !hasValue && flag.NoOptDefVal == "" && i+1 < len(args) {
					i++
					line.own = append(line.own, args[i])
				}
				continue
			}
			if line.name == "" {
				return nil, unknownBefore(cmd, name)
			}
			if !hasValue && i+1 < len(args) && isValue(args[i+1]) {
				i++
				value, hasValue = args[i], true
			}
			line.typed = append(line.typed, typedFlag{name, value, hasValue})
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			line.own = append(line.own, arg)
			if needsNext(cmd.Flags(), arg) && i+1 < len(args) {
				i++
				line.own = append(line.own, args[i])
			}
		case line.name != "":
			return nil, unexpected(line.name, arg)
		default:
			line.name = arg
		}
	}
	return line, nil
}

// unexpected is the error of a second argument.
func unexpected(name, arg string) error {
	const input = "input goes behind -d, or in --FIELD=VALUE"
	if manifest.ValidName(arg) == nil && !strings.Contains(name, "/") {
		return usagef("unexpected %q: did you mean %s/%s? %s", arg, name, arg, strings.ToUpper(input[:1])+input[1:])
	}
	return usagef("unexpected %q: %s", arg, input)
}

// unknownBefore is the error of a flag before the name of the function, where
// only fnhost's own can stand.
func unknownBefore(cmd *cobra.Command, name string) error {
	var have []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { have = append(have, f.Name) })
	return usagef("unknown flag --%s%s: flags of a function come after its name", name, flagHint(name, have))
}

// isValue reports whether an argument behind a flag is its value: it is no flag
// itself, or it is a negative number.
func isValue(arg string) bool {
	return !strings.HasPrefix(arg, "-") || len(arg) > 1 && strings.ContainsRune(".0123456789", rune(arg[1]))
}

// needsNext reports whether the last of some short flags, as in -id, takes the
// next argument.
func needsNext(flags *pflag.FlagSet, arg string) bool {
	for i := 1; i < len(arg); i++ {
		flag := flags.ShorthandLookup(arg[i : i+1])
		if flag == nil {
			return false
		}
		if flag.NoOptDefVal == "" {
			return i == len(arg)-1
		}
	}
	return false
}
