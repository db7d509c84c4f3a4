package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/host/admin"
)

// invokeHelp prints the help of one endpoint: its comment, and the flags that
// its input makes.
func (a *app) invokeHelp(cmd *cobra.Command, name string, e *admin.Endpoint) error {
	w := a.stdout
	if e.Doc != "" {
		fmt.Fprintf(w, "%s\n\n", strings.TrimSpace(e.Doc))
	}
	s := parseSchema(e.Request)
	var fields []field
	if s != nil {
		fields = fieldsOf(s)
	}
	usage := "[-d DATA|@FILE|@-]"
	if len(fields) > 0 || s != nil && s.open() {
		usage = "[--FIELD=VALUE...] " + usage
	}
	fmt.Fprintf(w, "Usage:\n  fnhost invoke %s %s\n", name, usage)
	switch {
	case e.Kind == "http":
		fmt.Fprintln(w, "\nIt is an http handler: it gets a POST of / with the input as its body; --method and --path say otherwise.")
	case e.Kind == "raw":
		fmt.Fprintln(w, "\nIt takes the input as it is.")
	case s == nil:
		fmt.Fprintln(w, "\nIt takes no input.")
	case len(fields) == 0:
		fmt.Fprintf(w, "\nIts input is %s.\n", typeName(s)+remark(s.Schema))
	default:
		a.fieldHelp(cmd, fields)
	}
	fmt.Fprintln(w, "\nflags of fnhost itself: see 'fnhost invoke --help'")
	return nil
}

func (a *app) fieldHelp(cmd *cobra.Command, fields []field) {
	width := 0
	var lines [][2]string
	for _, f := range fields {
		if f.whole {
			continue
		}
		flag := f.flag
		if cmd.Flags().Lookup(flag) != nil || flag == "help" {
			flag = fieldPrefix + flag
		}
		what := typeName(f.schema)
		switch {
		case f.schema.Items != nil:
			what = typeName(f.schema.Items) + "; may be repeated"
		case f.schema.Values != nil:
			what = "KEY=VALUE, to " + typeName(f.schema.Values) + "; may be repeated"
		}
		lines = append(lines, [2]string{flag, what + remark(f.schema)})
		width = max(width, len(flag))
	}
	fmt.Fprintf(a.stdout, "\nFields:\n")
	for _, line := range lines {
		fmt.Fprintf(a.stdout, "  --%-*s  %s\n", width, line[0], line[1])
	}
}

// completeInvoke completes the name of a function, and then the flags that its
// input makes.
func (a *app) completeInvoke(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	line, err := splitLine(cmd, args)
	if err != nil || cmd.Flags().Parse(line.own) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if line.name == "" {
		return a.completeEndpoints(cmd, toComplete)
	}
	if a.settings.apply(cmd) != nil || !strings.HasPrefix(toComplete, "-") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	function, endpoint, _ := strings.Cut(line.name, "/")
	f, err := c.Function(cmd.Context(), function)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	e, err := findEndpoint(&f, endpoint)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	flags := []string{"--data", "--header", "--method", "--path", "--include", "--output", "--timeout", "--help"}
	if s := parseSchema(e.Request); s != nil {
		for _, f := range fieldsOf(s) {
			flags = append(flags, "--"+f.flag+"=\t"+typeName(f.schema)+remark(f.schema))
		}
	}
	return flags, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeEndpoints offers functions, and, where they have no root or one has been
// named, their endpoints.
func (a *app) completeEndpoints(cmd *cobra.Command, toComplete string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, f := range a.knownFunctions(cmd) {
		_, noRoot := findEndpoint(&f, "")
		if noRoot == nil || len(f.Endpoints) == 0 {
			names = append(names, f.Name+"\t"+synopsis(f.Doc))
		}
		if noRoot == nil && !strings.HasPrefix(toComplete, f.Name+"/") {
			continue
		}
		for _, e := range f.Endpoints {
			if e.Name != "" {
				names = append(names, f.Name+"/"+e.Name+"\t"+synopsis(e.Doc))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
