package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// goEnv is what a build takes over from the host's own Go settings.
type goEnv struct {
	GOROOT, GOVERSION, GOMODCACHE, GOTOOLDIR          string
	GOPROXY, GONOPROXY, GOSUMDB, GONOSUMDB, GOPRIVATE string
	GOINSECURE                                        string
}

// readGoEnv asks the go command.
func readGoEnv(ctx context.Context, goCmd string) (goEnv, error) {
	var env goEnv
	cmd := exec.CommandContext(ctx, goCmd, "env", "-json", "GOROOT", "GOVERSION", "GOMODCACHE", "GOTOOLDIR",
		"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE")
	cmd.Dir = os.TempDir() // not below a go.mod that may be broken, or ask for another version
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return env, fmt.Errorf("builder: %s env: %w", goCmd, err)
	}
	return env, json.Unmarshal(out, &env)
}

// flags are those of every build, for development and for deployment: another
// set would compile the standard library anew.
var flags = []string{"-buildvcs=false", "-trimpath", "-ldflags=-s -w"}

// environ returns the environment of a build, from scratch.
func (b *Builder) environ(work string) []string {
	env := []string{
		"PATH=" + filepath.Join(b.env.GOROOT, "bin") + ":/usr/local/bin:/usr/bin:/bin",
		"HOME=" + work, "TMPDIR=" + work, "GOTMPDIR=" + work,
		"GOROOT=" + b.env.GOROOT, "GOPATH=" + filepath.Join(b.cache, "gopath"),
		"GOMODCACHE=" + b.env.GOMODCACHE, "GOCACHE=" + filepath.Join(b.cache, "go-build"),
		"CGO_ENABLED=0", "GOFLAGS=", "GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOVCS=*:off", "GOAUTH=off", "GOTELEMETRY=off",
		"GOPROXY=" + b.env.GOPROXY, "GONOPROXY=" + b.env.GONOPROXY, "GOSUMDB=" + b.env.GOSUMDB,
		"GONOSUMDB=" + b.env.GONOSUMDB, "GOPRIVATE=" + b.env.GOPRIVATE, "GOINSECURE=" + b.env.GOINSECURE,
	}
	for _, name := range network {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// lacksModules reports whether a go command has failed because a module is not in the
// cache: it was to ask the proxy, or to write to the cache that it may only read.
func (b *Builder) lacksModules(output []byte) bool {
	return bytes.Contains(output, []byte("GOPROXY=off")) || bytes.Contains(output, []byte(filepath.Join(b.env.GOMODCACHE, "cache")+"/")) ||
		bytes.Contains(output, []byte("mkdir "+filepath.Join(b.env.GOMODCACHE, "cache")+":"))
}

// goCommand runs go build in a room of its own: with -n as its flags, it reads modules
// from the network, and compiles nothing; otherwise there is no network.
func (b *Builder) goCommand(ctx context.Context, t *tree, p *plan, work string, how ...string) ([]byte, error) {
	sources, err := t.sources()
	if err != nil {
		return nil, err
	}
	env := b.environ(work)
	needs := Needs{Dir: t.dir, Read: sources, Write: []string{work, filepath.Join(b.cache, "go-build")}}
	if p.files != "" {
		needs.Read = append(needs.Read, p.files)
	}
	modules := []string{b.env.GOMODCACHE, filepath.Join(b.cache, "gopath")}
	for _, dir := range modules { // the go command wants them to be there
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("builder: module cache: %w", err)
		}
	}
	if needs.Network = how[0] == "-n"; needs.Network {
		needs.Read = append(needs.Read, b.proxyFiles()...)
		needs.Write = append(needs.Write, modules...)
	} else {
		needs.Read = append(needs.Read, modules...)
		env = replaced(env, "GOPROXY=off", "GONOPROXY=none")
	}
	room, err := b.openRoom(needs)
	if err != nil {
		return nil, err
	}
	defer room.Close()
	args := append([]string{b.goCmd, "build", "-json", "-x"}, how...)
	args = append(append(args, flags...), p.args...)
	return run(ctx, room, p.dir, env, append(args, p.target)...)
}

// network are the variables that say how to reach a module proxy.
var network = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// errLimit is the error of a tool that has met a limit of its room.
type errLimit string

func (e errLimit) Error() string { return string(e) }

// run runs a tool in a room, and returns what it wrote. The error is the cause of ctx
// if that has ended, an errLimit, or an *exec.ExitError.
func run(ctx context.Context, room Room, dir string, env []string, args ...string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := room.Start(Command{Path: args[0], Args: args, Dir: dir, Env: env, Files: []*os.File{null, w, w}})
	w.Close()
	if err != nil {
		return nil, err
	}
	var out limitedBuffer
	copied := make(chan struct{})
	go func() {
		io.Copy(&out, r)
		close(copied)
	}()
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.Kill()
		close(killed)
	})
	state, limit, err := p.Wait()
	if !stop() {
		<-killed
	}
	r.SetReadDeadline(time.Now().Add(2 * time.Second)) // somebody else may hold the other end
	<-copied
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && !state.Success() && limit != "":
		err = errLimit(limit)
	case err == nil && !state.Success():
		err = &exec.ExitError{ProcessState: state}
	}
	return out.buf.Bytes(), err
}

// replaced returns env with other values of some variables: of two, programs take
// the first.
func replaced(env []string, values ...string) []string {
	for _, v := range values {
		name, _, _ := strings.Cut(v, "=")
		env = slices.DeleteFunc(env, func(one string) bool { return strings.HasPrefix(one, name+"=") })
		env = append(env, v)
	}
	return env
}

// limitedBuffer keeps the first of what is written to it: a build that fails in
// a million places is understood from fewer.
type limitedBuffer struct{ buf bytes.Buffer }

const maxToolOutput = 16 << 20

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxToolOutput - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// buildEvent is one line of `go build -json`.
type buildEvent struct{ ImportPath, Action, Output string }

// parseEvents splits the output of `go build -json -x`; what is no event is
// kept as the output of no package.
func parseEvents(out []byte) []buildEvent {
	var events []buildEvent
	for line := range bytes.Lines(out) {
		var e buildEvent
		if json.Unmarshal(line, &e) != nil || e.Action == "" {
			e = buildEvent{Action: "build-output", Output: string(line)}
		}
		events = append(events, e)
	}
	return events
}

var position = regexp.MustCompile(`^(\S[^:]*\.(?:go|s|mod)):(\d+)(?::(\d+))?: (.*)$`)

// diagnostics picks the error messages out of a failed build's events. Paths
// are made absolute, from dir; those of the generated file are left out.
func diagnostics(events []buildEvent, dir, shim string) []Diagnostic {
	failed := make(map[string]bool)
	for _, e := range events {
		if e.Action == "build-fail" {
			failed[e.ImportPath] = true
		}
	}
	var list []Diagnostic
	inMessages := make(map[string]bool) // packages whose commands are over
	for _, e := range events {
		text := strings.TrimRight(e.Output, "\n")
		if e.Action != "build-output" || text == "" {
			continue
		}
		m := position.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(text, "# ") && e.ImportPath != "":
			inMessages[e.ImportPath] = true
		case m != nil && !isCommand(text):
			inMessages[e.ImportPath] = true
			d := Diagnostic{File: m[1], Message: m[4]}
			d.Line, _ = strconv.Atoi(m[2])
			d.Column, _ = strconv.Atoi(m[3])
			if !filepath.IsAbs(d.File) {
				d.File = filepath.Join(dir, d.File)
			}
			list = append(list, d)
		case strings.HasPrefix(text, "\t") && len(list) > 0 && inMessages[e.ImportPath]:
			list[len(list)-1].Message += "\n" + text
		case strings.HasPrefix(text, "go: "):
			inMessages[e.ImportPath] = true
			list = append(list, Diagnostic{Message: text})
		case inMessages[e.ImportPath] && failed[e.ImportPath] && !isCommand(text):
			list = append(list, Diagnostic{Message: text})
		}
	}
	return list
}

// isCommand reports whether a line is what -x prints of the commands it runs.
func isCommand(text string) bool {
	first, _, _ := strings.Cut(text, " ")
	switch first {
	case "mkdir", "cat", "cd", "cp", "mv", "rm", "echo", "EOF", "go", "GOROOT=''":
		return true
	}
	return strings.HasPrefix(text, "WORK=") || filepath.IsAbs(first) && strings.Contains(first, "/tool/")
}
