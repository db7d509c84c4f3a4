package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/admin"
)

// input makes the body of an invocation, of -d and the function's own flags, or
// else of standard input.
func (a *app) input(ctx context.Context, hasData bool, data string, line *commandLine, e *admin.Endpoint) ([]byte, error) {
	var body []byte
	var err error
	switch {
	case hasData && data == "@-":
		body, err = io.ReadAll(a.stdin)
	case hasData && strings.HasPrefix(data, "@"):
		if body, err = os.ReadFile(data[1:]); err != nil {
			return nil, usagef("-d %s: %w", data, err)
		}
	case hasData:
		body = []byte(data)
	case len(line.typed) == 0:
		return a.piped(ctx)
	}
	if err != nil || len(line.typed) == 0 {
		return body, err
	}
	return typedInput(e, line, body)
}

// piped returns what is piped into standard input: nothing if that is a terminal
// or a device.
func (a *app) piped(ctx context.Context) ([]byte, error) {
	if f, ok := a.stdin.(*os.File); ok {
		info, err := f.Stat()
		if err != nil || info.Mode()&os.ModeNamedPipe == 0 && !info.Mode().IsRegular() {
			return nil, nil
		}
	}
	return a.readInput(ctx, "-d '' gives none")
}

// readInput reads standard input until it ends; instead is what can be done instead.
func (a *app) readInput(ctx context.Context, instead string) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(a.stdin)
		read <- result{data, err}
	}()
	// A pipe that nobody writes to or closes is what scripts and CI leave open.
	hint := time.NewTimer(2 * time.Second)
	defer hint.Stop()
	for {
		select {
		case r := <-read:
			return r.data, r.err
		case <-hint.C:
			if !a.quiet {
				fmt.Fprintln(a.stderr, "reading the input from standard input until it ends; "+instead)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// looksJSON reports whether a body is a JSON object, list or text.
func looksJSON(body []byte) bool {
	trimmed := bytes.TrimSpace(body)
	return len(trimmed) > 0 && strings.ContainsRune(`{["`, rune(trimmed[0])) && json.Valid(trimmed)
}

// indented returns JSON for people, and anything else as it is.
func indented(data []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, data, "", "  ") != nil {
		return data
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}
