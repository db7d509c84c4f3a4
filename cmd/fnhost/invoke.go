package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fnhost/fnhost/builder/nearest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host/admin"
)

// invocation is a parsed command line of invoke.
type invocation struct {
	name    string
	data    string
	hasData bool
	typed   [][2]string // flags of the function, in order; those without "=" have value "\x00"
	include bool
	help    bool
	timeout time.Duration
}

func (a *app) invokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoke NAME[/ENDPOINT] [-d DATA|@FILE|@-] [--FIELD=VALUE...]",
		Short: "Run a function",
		Long: `Run a function and print its result.

The input is what -d says (JSON or text, @FILE, or @- for standard input), or standard input if something is
piped into it, or what the flags say that the function's own input has: see 'fnhost invoke NAME --help'.

Flags:
  -d, --data DATA       input; @FILE reads a file, @- standard input
  -i, --include         say version, invocation and status on standard error
  -o, --output FORMAT   auto (JSON is indented on a terminal), raw
      --timeout D       give up after, such as 10s
      --server URL      admin address of the host`,
		Example:            "  fnhost invoke hello --name=Ada\n  fnhost invoke orders/create -d @order.json\n  curl -s … | fnhost invoke thumbnail > small.png",
		DisableFlagParsing: true, // the flags are the function's
		ValidArgsFunction:  a.completeFunctions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inv, err := a.parseInvoke(cmd, args)
		if err != nil {
			return err
		}
		if inv.name == "" {
			if inv.help {
				return cmd.Help()
			}
			return usagef("name a function: fnhost invoke NAME")
		}
		return a.invoke(cmd, inv)
	}
	return cmd
}

// parseInvoke takes fnhost's own flags out of args; the rest is the function's.
func (a *app) parseInvoke(cmd *cobra.Command, args []string) (*invocation, error) {
	inv := &invocation{}
	if err := a.settings.apply(cmd); err != nil {
		return nil, err
	}
	a.output = "auto"
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			if inv.name != "" {
				return nil, usagef("unexpected %q: input goes behind -d, or in --field=value", arg)
			}
			inv.name = arg
			continue
		}
		name, value, hasValue := strings.Cut(arg, "=")
		if len(arg) > 2 && arg[1] != '-' && !hasValue && strings.ContainsRune("do", rune(arg[1])) { // -dDATA
			name, value, hasValue = arg[:2], arg[2:], true
		}
		next := func() string {
			if !hasValue && i+1 < len(args) {
				i++
				value, hasValue = args[i], true
			}
			return value
		}
		var err error
		switch name {
		case "-h", "--help":
			inv.help = true
		case "-d", "--data":
			inv.data = next()
			inv.hasData = hasValue
			if !hasValue {
				err = usagef("%s needs a value", name)
			}
		case "-i", "--include":
			inv.include = true
		case "-o", "--output":
			a.output = next()
		case "--server":
			a.server = next()
		case "--config", "--no-color", "-q", "--quiet":
			if name == "--config" {
				next()
			}
			a.noColor = a.noColor || name == "--no-color"
		case "--timeout":
			if inv.timeout, err = time.ParseDuration(next()); err != nil {
				err = usagef("--timeout %q: want a duration such as 10s", value)
			}
		default:
			if !strings.HasPrefix(name, "--") {
				return nil, usagef("unknown flag %s", name)
			}
			if !hasValue {
				value = "\x00"
				if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
					i++
					value = args[i]
				}
			}
			inv.typed = append(inv.typed, [2]string{strings.TrimPrefix(name, "--"), value})
		}
		if err != nil {
			return nil, err
		}
	}
	if a.output != "auto" && a.output != "raw" && a.output != "json" {
		return nil, usagef("-o %s: want auto, json or raw", a.output)
	}
	return inv, nil
}

func (a *app) invoke(cmd *cobra.Command, inv *invocation) error {
	ctx := cmd.Context()
	if inv.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, inv.timeout)
		defer cancel()
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var body []byte
	contentType := ""
	if inv.help || len(inv.typed) > 0 {
		e, err := endpointOf(ctx, c, inv.name)
		if err != nil {
			return err
		}
		if inv.help {
			return a.invokeHelp(inv.name, e)
		}
		if inv.hasData {
			return usagef("both -d and --%s say what the input is: choose one", inv.typed[0][0])
		}
		if body, err = typedInput(e, inv); err != nil {
			return err
		}
		contentType = "application/json"
	} else if body, err = a.input(inv); err != nil {
		return err
	}
	r, err := c.Invoke(ctx, inv.name, contentType, nil, bytes.NewReader(body))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer within %v", inv.name, inv.timeout)
	}
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if inv.include {
		fmt.Fprintf(a.stderr, "status %d, version %s, invocation %s\n", r.Status, r.Version, r.Invocation)
	}
	return a.printResult(r)
}

// input reads what the function gets, where flags do not say it.
func (a *app) input(inv *invocation) ([]byte, error) {
	switch {
	case inv.hasData && inv.data == "@-":
		return io.ReadAll(a.stdin)
	case inv.hasData && strings.HasPrefix(inv.data, "@"):
		b, err := os.ReadFile(inv.data[1:])
		if err != nil {
			return nil, usageError{err}
		}
		return b, nil
	case inv.hasData:
		return []byte(inv.data), nil
	}
	if f, ok := a.stdin.(*os.File); ok {
		info, err := f.Stat()
		if err != nil || info.Mode()&os.ModeNamedPipe == 0 && !info.Mode().IsRegular() {
			return nil, nil // a terminal, or /dev/null
		}
	}
	return io.ReadAll(a.stdin)
}

func (a *app) printResult(r *admin.Result) error {
	if a.output == "auto" && isTerminal(a.stdout) && strings.HasPrefix(r.ContentType, "application/json") {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if json.Indent(&out, data, "", "  ") == nil {
			data = out.Bytes()
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", data)
		return err
	}
	n, err := io.Copy(a.stdout, r.Body)
	if err != nil {
		return fmt.Errorf("the result broke off after %d bytes: %w", n, err)
	}
	if n > 0 && a.output != "raw" && strings.HasPrefix(r.ContentType, "application/json") {
		fmt.Fprintln(a.stdout)
	}
	return nil
}

func endpointOf(ctx context.Context, c *admin.Client, name string) (*admin.Endpoint, error) {
	function, endpoint, _ := strings.Cut(name, "/")
	f, err := c.Function(ctx, function)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range f.Endpoints {
		if f.Endpoints[i].Name == endpoint {
			return &f.Endpoints[i], nil
		}
		names = append(names, orDash(f.Endpoints[i].Name))
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("function %q is not ready: %s", function, firstLine(f.Error))
	}
	return nil, fmt.Errorf("function %q has no endpoint %q%s; it has %s", function, endpoint, nearest.DidYouMean(endpoint, names), strings.Join(names, ", "))
}

func (a *app) invokeHelp(name string, e *admin.Endpoint) error {
	if e.Doc != "" {
		fmt.Fprintf(a.stdout, "%s\n\n", e.Doc)
	}
	fmt.Fprintf(a.stdout, "Usage:\n  fnhost invoke %s [-d DATA|@FILE|@-]", name)
	s := parseSchema(e.Request)
	if s == nil || len(s.Properties) == 0 {
		fmt.Fprintln(a.stdout)
		return nil
	}
	fmt.Fprintf(a.stdout, " [--FIELD=VALUE...]\n\nFields:\n")
	for _, f := range fieldsOf(s, "", nil) {
		fmt.Fprintf(a.stdout, "  --%-20s %s\n", f.flag, typeName(f.schema))
	}
	return nil
}

// typedInput makes JSON of the function's own flags.
func typedInput(e *admin.Endpoint, inv *invocation) ([]byte, error) {
	s := parseSchema(e.Request)
	if s == nil || len(s.Properties) == 0 {
		return nil, usagef("%s takes no fields, so no --%s: give its input with -d", inv.name, inv.typed[0][0])
	}
	fields := fieldsOf(s, "", nil)
	input := make(map[string]any)
	for _, typed := range inv.typed {
		i := slices.IndexFunc(fields, func(f field) bool {
			return strings.EqualFold(f.flag, typed[0]) || strings.EqualFold(strings.Join(f.path, "."), typed[0])
		})
		if i < 0 {
			var flags []string
			for _, f := range fields {
				flags = append(flags, f.flag)
			}
			return nil, usagef("%s has no --%s%s; see 'fnhost invoke %s --help'", inv.name, typed[0], nearest.DidYouMean(typed[0], flags), inv.name)
		}
		v, err := typedValue(fields[i].schema, typed[1])
		if err != nil {
			return nil, usagef("--%s: %w", typed[0], err)
		}
		setField(input, fields[i], v)
	}
	return json.Marshal(input)
}

func setField(input map[string]any, f field, v any) {
	for _, name := range f.path[:len(f.path)-1] {
		next, ok := input[name].(map[string]any)
		if !ok {
			next = make(map[string]any)
			input[name] = next
		}
		input = next
	}
	name := f.path[len(f.path)-1]
	if f.schema.Items == nil {
		input[name] = v
		return
	}
	list, _ := input[name].([]any)
	input[name] = append(list, v)
}

// typedValue converts a flag's text to what the schema wants.
func typedValue(s *functions.Schema, text string) (any, error) {
	if s.Items != nil {
		return typedValue(s.Items, text)
	}
	if text == "\x00" {
		if s.Type == "boolean" {
			return true, nil
		}
		return nil, fmt.Errorf("needs a value: a %s", typeName(s))
	}
	switch s.Type {
	case "integer":
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return json.Number(text), nil
	case "number":
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return json.Number(text), nil
	case "boolean":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	case "string":
		return text, nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), nil
	}
	return text, nil
}
