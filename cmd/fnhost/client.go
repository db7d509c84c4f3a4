package main

import (
	"context"
	"fmt"
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
	c, err := s.client(a.token, a.namespace)
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
	a.warnOfReaders(list)
	name := a.server
	if !a.settings.serverChosen && list.Current != "" {
		name = list.Current
	}
	a.serverName = name
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

// sayServer says which host a command is about to change, and what namespace, unless it is
// the default one of the host on this machine that all commands speak to if nobody says otherwise.
func (a *app) sayServer() {
	var where []string
	p := a.painter(a.stderr)
	if a.serverName != defaultServer {
		where = append(where, "on "+p.paint(bold, a.serverName))
	}
	if a.namespace != "" && a.namespace != admin.DefaultNamespace {
		where = append(where, "in namespace "+p.paint(bold, a.namespace))
	}
	if !a.quiet && len(where) > 0 {
		fmt.Fprintf(a.stderr, "%s:\n", strings.Join(where, ", "))
	}
}

// unknownFunction is for a function, "" for any, of which nothing was found: it
// returns an error if the host does not know it. Of one that was removed things may
// be left, so it is not asked before.
func unknownFunction(ctx context.Context, c *admin.Client, name string) error {
	if name == "" {
		return nil
	}
	_, err := c.Function(ctx, name)
	return err
}

// completeFunctions offers the names that the host knows.
func (a *app) completeFunctions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		for _, f := range a.knownFunctions(cmd) {
			if manifest.ValidName(f.Name) == nil { // else it is a directory that is left out
				names = append(names, f.Name+"\t"+synopsis(f.Doc))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// knownFunctions are those of the host, for completion: none if it does not answer.
func (a *app) knownFunctions(cmd *cobra.Command) []admin.Function {
	if a.settings.apply(cmd) != nil {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	list, err := c.Functions(cmd.Context())
	if err != nil {
		return nil
	}
	return list
}
