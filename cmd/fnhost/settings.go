package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings gives each flag its environment variable and its key in fnhost.yaml:
// a flag beats the variable, which beats the file, which beats the default.
type settings struct {
	file    string
	servers map[string]string // from the file: name → URL
	// serverChosen is set if the flag, its variable or the file names a server.
	serverChosen bool
}

func newSettings(flags *pflag.FlagSet) *settings {
	s := &settings{}
	flags.StringVar(&s.file, "config", "", "settings file (default "+configFile+" in the working directory, if it is there)")
	return s
}

// flagOnly is the annotation of flags without variable and key.
const flagOnly = "flag-only"

// onlyFlags marks flags that say something of one call alone.
func onlyFlags(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flags.SetAnnotation(name, flagOnly, nil)
	}
}

func isSetting(f *pflag.Flag) bool {
	_, only := f.Annotations[flagOnly]
	return !only && f.Name != "help"
}

// pathFlags are file names; in the settings file they are relative to that file.
var pathFlags = map[string]bool{"data": true, "cache": true, "tls-cert": true, "tls-key": true, "ready-file": true, "master-key-file": true, "watch": true}

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return "FNHOST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// nameVariables has the help of each flag name its variable.
func nameVariables(cmd *cobra.Command) {
	name := func(f *pflag.Flag) {
		if isSetting(f) {
			f.Usage += " [" + variable(f.Name) + "]"
		}
	}
	cmd.Flags().VisitAll(name)
	if !cmd.HasParent() {
		cmd.PersistentFlags().VisitAll(name)
	}
	for _, sub := range cmd.Commands() {
		nameVariables(sub)
	}
}

// knownFlags are the settings of all commands: one file serves them all.
func knownFlags(root *cobra.Command) map[string]*pflag.Flag {
	known := make(map[string]*pflag.Flag)
	add := func(f *pflag.Flag) {
		if isSetting(f) && f.Name != "config" {
			known[f.Name] = f
		}
	}
	root.PersistentFlags().VisitAll(add)
	for _, sub := range root.Commands() {
		sub.LocalNonPersistentFlags().VisitAll(add)
	}
	return known
}

// apply sets the flags of cmd that the command line does not.
func (s *settings) apply(cmd *cobra.Command) error {
	cmd.InheritedFlags() // has cobra add them to cmd.Flags
	if v := os.Getenv(variable("config")); v != "" && s.file == "" {
		s.file = v
	}
	known := knownFlags(cmd.Root())
	values, err := s.read(known)
	if err != nil {
		return err
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if failed != nil || f.Changed || !isSetting(f) || f.Name == "config" {
			return
		}
		failed = setFrom(f, values)
	})
	if server := cmd.Flags().Lookup("server"); server != nil {
		s.serverChosen = server.Changed
	}
	if failed == nil {
		s.followAdmin(cmd.Flags().Lookup("server"), values)
	}
	return failed
}

// setFrom sets a flag from its variable, or else from the file.
func setFrom(f *pflag.Flag, values map[string]setting) error {
	if v := os.Getenv(variable(f.Name)); v != "" {
		if err := setFlag(f, []string{v}); err != nil {
			return usagef("%s: %q: %w", variable(f.Name), v, err)
		}
		return nil
	}
	v, ok := values[f.Name]
	if !ok {
		return nil
	}
	if err := setFlag(f, v.texts); err != nil {
		return usagef("%s: %s: %q: %w", v.position, f.Name, strings.Join(v.texts, ", "), err)
	}
	return nil
}

// setFlag sets a flag to a value, or, if it takes several, to all of them.
func setFlag(f *pflag.Flag, texts []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if len(texts) == 1 {
			texts = strings.Split(texts[0], ",")
		}
		f.Changed = true
		return list.Replace(texts)
	}
	if len(texts) != 1 {
		return fmt.Errorf("want one value")
	}
	if err := f.Value.Set(texts[0]); err != nil {
		return fmt.Errorf("want a %s", f.Value.Type())
	}
	f.Changed = true
	return nil
}

// followAdmin has clients speak to the host that the same settings would start,
// if nothing names another one.
func (s *settings) followAdmin(server *pflag.Flag, values map[string]setting) {
	if server == nil || server.Changed {
		return
	}
	address := os.Getenv(variable("admin"))
	if v, ok := values["admin"]; ok && address == "" {
		address = v.texts[0]
	}
	if address != "" && !strings.HasSuffix(address, ":0") {
		server.Value.Set("http://" + address)
	}
}

// fromFile makes a path of the settings file relative to that file.
func (s *settings) fromFile(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.file), path)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
