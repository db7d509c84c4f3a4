package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/host/admin"
)

// client returns a client of the host that --server names, or else of the one
// that `fnhost server use` has chosen, or else of the one on this machine.
func (a *app) client() (*admin.Client, error) {
	s, err := a.chosenServer()
	if err != nil {
		return nil, err
	}
	c, err := s.client(a.token)
	if err != nil {
		return nil, usageError{err: err}
	}
	return c, nil
}

func (a *app) chosenServer() (*server, error) {
	list, err := loadServers()
	if err != nil {
		return nil, err
	}
	name := a.server
	if !a.settings.serverChosen && list.Current != "" {
		name = list.Current
	}
	if s, ok := list.Servers[name]; ok {
		return &s, nil
	}
	if url, ok := a.settings.servers[name]; ok {
		name = url
	} else if !strings.ContainsAny(name, ":/") {
		known := append(sortedKeys(a.settings.servers), sortedKeys(list.Servers)...)
		return nil, usagef("no server %q%s: give a URL, or name one with `fnhost server add`, or under %s in %s",
			name, nearest.DidYouMean(name, known), serversKey, configFile)
	}
	s := list.byURL(name)
	return &s, nil
}

// completeFunctions offers the names that the host knows.
func (a *app) completeFunctions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || a.settings.apply(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.Functions(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range list {
		if manifest.ValidName(f.Name) == nil { // else it is a directory that is left out
			names = append(names, f.Name+"\t"+firstLine(f.Doc))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
