package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/host/admin"
)

// client returns a client of the host that --server names.
func (a *app) client() (*admin.Client, error) {
	server := a.server
	if url, ok := a.settings.servers[server]; ok {
		server = url
	} else if !strings.ContainsAny(server, ":/") {
		return nil, usagef("no server %q%s in the %s of %s: give a URL, or name one there",
			server, nearest.DidYouMean(server, sortedKeys(a.settings.servers)), serversKey, configFile)
	}
	c, err := admin.NewClient(server, admin.ClientOptions{})
	if err != nil {
		return nil, usageError{err: err}
	}
	return c, nil
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
		names = append(names, f.Name+"\t"+firstLine(f.Doc))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
