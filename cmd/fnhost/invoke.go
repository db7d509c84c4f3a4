package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

// invokeFlags are fnhost's own flags of invoke; the others are the function's.
type invokeFlags struct {
	data    string
	headers []string
	method  string
	path    string
	include bool
	output  string
	timeout time.Duration

	async    bool
	await    bool
	callback string
	callID   string
}

// outputs of invoke.
var outputs = []string{"auto", "json", "raw"}

func (a *app) invokeCommand() *cobra.Command {
	var f invokeFlags
	cmd := &cobra.Command{
		Use:   "invoke NAME[/ENDPOINT] [-d DATA|@FILE|@-] [--FIELD=VALUE...]",
		Short: "Run a function",
		Long: `Run a function and print its result.

The input is what -d says, with what the flags say that the function's own input has: see
'fnhost invoke NAME --help'. Without either it is what is piped into standard input. A field whose
flag is one of fnhost's own is reached as --field.NAME.

The result goes to standard output as it comes. An error of the function goes to standard error, and
the exit code is 1.`,
		Example:            "  fnhost invoke hello --name=Ada\n  fnhost invoke orders/create -d @order.json\n  fnhost invoke thumbnail < photo.jpg > small.jpg",
		DisableFlagParsing: true, // the flags are the function's
	}
	f.register(cmd.Flags())
	cmd.ValidArgsFunction = a.completeInvoke
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		line, err := splitLine(cmd, args)
		if err != nil {
			return err
		}
		if err := cmd.Flags().Parse(line.own); err != nil {
			return flagError(cmd, err)
		}
		if err := a.settings.apply(cmd); err != nil {
			return err
		}
		switch {
		case line.name == "" && line.help:
			return cmd.Help()
		case line.name == "":
			return usagef("NAME is missing: %s", cmd.UseLine())
		}
		return a.invoke(cmd, &f, line)
	}
	return cmd
}

func (f *invokeFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.data, "data", "d", "", "input: JSON or text, @FILE for that of a file, @- for standard input")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header for the function, as 'Name: value'; may be repeated")
	flags.StringVarP(&f.method, "method", "X", "", "method that an http handler sees (default POST)")
	flags.StringVar(&f.path, "path", "", "path and query that an http handler sees, as '/x?width=10' (default /)")
	flags.BoolVarP(&f.include, "include", "i", false, "say status, version and invocation on standard error")
	flags.StringVarP(&f.output, "output", "o", outputs[0], "auto (JSON is indented on a terminal), json (as it comes), raw (nor is a last newline added)")
	flags.DurationVar(&f.timeout, "timeout", 0, "give up after that long (default: after the function's own timeout)")
	flags.BoolVar(&f.async, "async", false, "store the call, and print the ID of its run, instead of waiting for the result")
	flags.BoolVar(&f.await, "await", false, "with --async: wait for the result all the same; the call survives the end of the host")
	flags.StringVar(&f.callback, "callback", "", "with --async: URL that the result is sent to")
	flags.StringVar(&f.callID, "call-id", "", "with --async: ID of the run; a call of an ID that is known is not stored again")
	onlyFlags(flags, "data", "header", "method", "path", "include", "async", "await", "callback", "call-id")
}

func (a *app) invoke(cmd *cobra.Command, f *invokeFlags, line *commandLine) error {
	if f.output != "auto" && f.output != "json" && f.output != "raw" {
		return usagef("-o %s: want one of %s", f.output, strings.Join(outputs, ", "))
	}
	if !f.async && (f.await || f.callback != "" || f.callID != "") {
		return usagef("--await, --callback and --call-id go with --async")
	}
	if _, err := url.ParseRequestURI(f.path); f.path != "" && (err != nil || f.path[0] != '/') {
		return usagef("--path %q: want a path, and perhaps a query, such as /x?width=10", f.path)
	}
	header, err := parseHeaders(f.headers)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var e *admin.Endpoint
	if line.help || len(line.typed) > 0 {
		if e, err = endpointOf(ctx, c, line.name); err != nil {
			return timeoutError(ctx, meantEndpoint(ctx, c, line.name, err), line.name, f.timeout)
		}
	}
	if line.help {
		return a.invokeHelp(cmd, line.name, e)
	}
	body, err := a.input(ctx, cmd.Flags().Changed("data"), f.data, line, e)
	if err != nil {
		return err
	}
	if header.Get("Content-Type") == "" && looksJSON(body) {
		header.Set("Content-Type", "application/json")
	}
	if f.async {
		err = a.submit(ctx, c, f, line.name, header, body)
	} else {
		err = a.call(ctx, c, f, line.name, header, body)
	}
	return timeoutError(ctx, meantEndpoint(ctx, c, line.name, err), line.name, f.timeout)
}

// call runs the function and prints what it answers.
func (a *app) call(ctx context.Context, c *admin.Client, f *invokeFlags, name string, header http.Header, body []byte) error {
	r, err := c.Request(ctx, name, strings.ToUpper(f.method), f.path, header, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if f.include {
		fmt.Fprintf(a.stderr, "status %d, version %s, invocation %s\n", r.Status, r.Version, r.Invocation)
	}
	return a.printAnswer(f, name, r)
}

// printAnswer prints a result; one of an error status is an error.
func (a *app) printAnswer(f *invokeFlags, name string, r *admin.Result) error {
	if err := a.printResult(r, f.output); err != nil {
		return err
	}
	if r.Status >= 400 {
		return fmt.Errorf("%s answered with status %d %s", name, r.Status, http.StatusText(r.Status))
	}
	return nil
}

func parseHeaders(list []string) (http.Header, error) {
	header := make(http.Header)
	for _, h := range list {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, usagef("-H %q: want 'Name: value'", h)
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}

// timeoutError says it if err is that --timeout has passed.
func timeoutError(ctx context.Context, err error, name string, timeout time.Duration) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer within %v: --timeout gives it longer", name, timeout)
	}
	return err
}

// learnTime bounds how long to wait for what a host learns of a new version just
// after it serves.
const learnTime = 2 * time.Second

// endpointOf returns what the host knows of an endpoint. It waits for a function
// that is being built.
func endpointOf(ctx context.Context, c *admin.Client, name string) (*admin.Endpoint, error) {
	function, endpoint, _ := strings.Cut(name, "/")
	served := time.Time{}
	for {
		f, err := c.Function(ctx, function)
		if err != nil {
			return nil, err
		}
		if len(f.Endpoints) > 0 {
			if served.IsZero() {
				served = time.Now()
			}
			e, err := findEndpoint(&f, endpoint)
			if err != nil || e.Kind != "json" || e.Request != nil || e.Response != nil || time.Since(served) > learnTime {
				return e, err
			}
		} else if f.State != "building" {
			return nil, fmt.Errorf("function %q is not ready: %s", function, orDash(f.Error))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func findEndpoint(f *admin.Function, name string) (*admin.Endpoint, error) {
	var names []string
	for i := range f.Endpoints {
		if f.Endpoints[i].Name == name {
			return &f.Endpoints[i], nil
		}
		if f.Endpoints[i].Name != "" {
			names = append(names, f.Endpoints[i].Name)
		}
	}
	if name == "" {
		return nil, functions.Errorf(wire.NoFunction, "function %q has no root endpoint; it has %s: `fnhost describe %s` tells more", f.Name, strings.Join(names, ", "), f.Name)
	}
	return nil, functions.Errorf(wire.NoFunction, "function %q has no endpoint %q%s: `fnhost describe %s` shows what it has",
		f.Name, name, nearest.DidYouMean(name, names), f.Name)
}

// meantEndpoint makes of err, if it is that there is no such function or endpoint,
// one that says what there is.
func meantEndpoint(ctx context.Context, c *admin.Client, name string, err error) error {
	if !errors.Is(err, functions.ErrNoFunction) {
		return err
	}
	function, endpoint, slash := strings.Cut(name, "/")
	dotted := false
	if !slash {
		function, endpoint, dotted = strings.Cut(name, ".")
	}
	f, noFunction := c.Function(ctx, function)
	if noFunction != nil || len(f.Endpoints) == 0 {
		return err
	}
	_, better := findEndpoint(&f, endpoint)
	switch {
	case dotted && better == nil:
		return functions.Errorf(wire.NoFunction, "no function %q (did you mean %s/%s?)", name, function, endpoint)
	case better == nil || dotted:
		return err
	}
	return better
}

// printResult copies the result to standard output as it comes.
func (a *app) printResult(r *admin.Result, output string) error {
	isJSON := strings.HasPrefix(r.ContentType, "application/json")
	if isJSON && output == "auto" && isTerminal(a.stdout) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", indented(data))
		return err
	}
	out := &lastByte{w: a.stdout}
	n, err := io.Copy(out, r.Body)
	if err != nil {
		return fmt.Errorf("the result broke off after %d bytes: %w: `fnhost logs` may say why", n, err)
	}
	text := isJSON || strings.HasPrefix(r.ContentType, "text/")
	if n > 0 && output != "raw" && text && out.last != '\n' {
		_, err = io.WriteString(a.stdout, "\n")
	}
	return err
}

// lastByte remembers the last byte written.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}
