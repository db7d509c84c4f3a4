package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/nearest"
)

// configFile is looked for in the working directory.
const configFile = "fnhost.yaml"

// settings gives each flag its environment variable and its key in fnhost.yaml:
// a flag beats the variable, which beats the file, which beats the default.
type settings struct {
	file string
}

func newSettings(flags *pflag.FlagSet) *settings {
	s := &settings{}
	flags.StringVar(&s.file, "config", "", "settings file (default "+configFile+" in the working directory, if it is there)")
	return s
}

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return "FNHOST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// apply sets the flags of cmd that the command line does not.
func (s *settings) apply(cmd *cobra.Command) error {
	if v := os.Getenv(variable("config")); v != "" && s.file == "" {
		s.file = v
	}
	values, err := s.read(cmd)
	if err != nil {
		return err
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if failed != nil || f.Changed || f.Name == "help" || f.Name == "config" {
			return
		}
		if v, ok := os.LookupEnv(variable(f.Name)); ok && v != "" {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				failed = usagef("%s=%q: %w", variable(f.Name), v, errors.Unwrap(err))
			}
			return
		}
		if v, ok := values[f.Name]; ok {
			if err := cmd.Flags().Set(f.Name, v.text); err != nil {
				failed = usagef("%s: %s: %q: %v", v.position, f.Name, v.text, err)
			}
		}
	})
	return failed
}

// setting is a value of the file and where it stands.
type setting struct{ text, position string }

// read parses the settings file: a mapping of flag names to scalars.
func (s *settings) read(cmd *cobra.Command) (map[string]setting, error) {
	name := s.file
	if name == "" {
		name = configFile
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && s.file == "" {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	values := make(map[string]setting)
	known := knownFlags(cmd.Root())
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		pairs, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			return nil, usagef("%s: want `flag: value` lines", name)
		}
		for _, pair := range pairs.Values {
			token := pair.Key.GetToken()
			position := fmt.Sprintf("%s:%d:%d", name, token.Position.Line, token.Position.Column)
			if !known[token.Value] {
				return nil, usagef("%s: unknown setting %q%s", position, token.Value, nearest.DidYouMean(token.Value, names(known)))
			}
			if _, scalar := pair.Value.(ast.ScalarNode); !scalar {
				return nil, usagef("%s: %s: want a plain value", position, token.Value)
			}
			values[token.Value] = setting{pair.Value.GetToken().Value, position}
		}
	}
	return values, nil
}

// knownFlags are those of all commands: one file serves them all.
func knownFlags(cmd *cobra.Command) map[string]bool {
	known := make(map[string]bool)
	add := func(f *pflag.Flag) { known[f.Name] = true }
	cmd.PersistentFlags().VisitAll(add)
	for _, sub := range cmd.Commands() {
		sub.Flags().VisitAll(add)
	}
	return known
}

func names(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	return list
}
