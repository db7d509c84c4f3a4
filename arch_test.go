package fnhost

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rules say what packages may not import, and why. A package is under a rule if
// its directory is, or lies below, where; tests are not.
var rules = []struct {
	where     string
	except    []string
	forbidden func(path string) bool
	why       string
}{
	{"functions", []string{"functions/functest"}, outsideSDK, "it is compiled into every function, offline: standard library and itself only"},
	{"functions", []string{"functions/httpfn"}, is("net", "net/http"), "a function that does not use net/http must not link it: link time, size and cold start follow from it"},
	{"functions/functest", nil, func(p string) bool { return outsideSDK(p) && p != Module+"/kv/memkv" }, "it is compiled into tests of functions"},
	{"kv", []string{"kv/jetkv", "kv/config", "kv/secrets"}, outsideSDK, "it is compiled into functions"},
	{"kv/memkv", nil, module("functions"), "it is compiled into tests of functions: standard library and kv only"},
	{"kv/jetkv", nil, module("host", "trigger", "builder", "functions", "cmd"), "buckets know JetStream, and nothing of functions"},
	{"kv/secrets", nil, module("host", "trigger", "builder", "functions", "cmd", "kv/jetkv"), "secrets know a bucket by its contract, and nothing of functions"},
	{"builder", nil, module("host", "trigger", "cmd"), "it turns source into artifacts and knows nothing of running them"},
	{"builder", nil, is("github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2/server"), "builds need no bus"},
	{"builder/bundle", nil, outsideStd, "it reads what anybody may send, with as little code as can be: standard library only"},
	{"builder/gitpush", nil, is(Module + "/builder"), "a push is a tree of files: what is made of it is for Deploy to decide"},
	{"builder/gitpush", nil, is("net/http/cgi"), "git http-backend as a CGI program fails for chunked pushes, and shows nothing before its end"},
	{"trigger", nil, module("host", "cmd"), "triggers know the host by trigger.Invoker alone"},
	{"trigger/limit", nil, module("host", "trigger", "builder", "functions", "kv"), "whatever has callers may limit them"},
	{"trigger", nil, is("github.com/nats-io/nats-server/v2/server"), "only host/bus knows the server"},
	{"trigger/event", nil, module("kv"), "it reads streams, and what a bucket makes of one is for trigger/kvwatch to know"},
	{"host/worker", nil, module("host/bus", "host/admin", "trigger", "builder"), "a pool runs processes, whatever made them"},
	{"host/wall", nil, module("host", "trigger", "builder", "kv", "functions", "cmd"), "a wall keeps in processes, and knows nothing of functions"},
	{"host/redact", nil, outsideStd, "it sees secrets: standard library only"},
	{"host/auth/rules", nil, outsideStd, "it decides who may do what: standard library only"},
	{"host/outbound", nil, outsideStd, "it stands between strangers and this network: standard library only"},
	{"host/logs", nil, module("host", "trigger", "builder"), "records belong to everybody"},
	{"host/audit", nil, module("host", "trigger", "builder", "kv", "functions"), "records belong to everybody, and no part of the host may hold them up"},
	{"host/backup", nil, module("host", "trigger", "builder", "kv", "functions"), "a backup is streams and files, whatever they mean"},
	{"host/bus", nil, module("host/worker", "trigger", "builder"), "the bus carries messages and knows none"},
	{"", []string{"host/bus"}, is("github.com/nats-io/nats-server/v2/server"), "one place embeds the server"},
	{"", []string{"trigger/codec"}, is("github.com/goccy/go-json"), "one seam for envelope JSON, so that it can be exchanged"},
	{"", []string{"builder/watch"}, is("github.com/fsnotify/fsnotify"), "one watcher for the host: inotify instances are few"},
	{"", []string{"cmd", "examples"}, func(p string) bool { return p == Module+"/host" }, "the host is assembled for programs, not for its own parts"},
	{"", nil, is("log", "plugin"), "slog only; plugins break"},
}

func is(paths ...string) func(string) bool {
	return func(p string) bool {
		for _, path := range paths {
			if p == path {
				return true
			}
		}
		return false
	}
}

func module(dirs ...string) func(string) bool {
	return func(p string) bool {
		for _, dir := range dirs {
			if p == Module+"/"+dir || strings.HasPrefix(p, Module+"/"+dir+"/") {
				return true
			}
		}
		return false
	}
}

// outsideSDK is true for what is neither standard library nor of the packages
// that are compiled into functions.
func outsideSDK(p string) bool {
	if rest, ok := strings.CutPrefix(p, Module+"/"); ok {
		return rest != "kv" && rest != "functions" && !strings.HasPrefix(rest, "functions/")
	}
	return outsideStd(p)
}

func outsideStd(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}

func TestImportsKeepToTheArchitecture(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata") {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		dir := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			for _, r := range rules {
				if below(dir, r.where) && !anyBelow(dir, r.except) && r.forbidden(imported) {
					t.Errorf("%s imports %s: %s", path, imported, r.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 40 {
		t.Errorf("only %d files were looked at: does the test run in the module's root?", seen)
	}
}

func below(dir, where string) bool {
	return where == "" || dir == where || strings.HasPrefix(dir, where+"/")
}

func anyBelow(dir string, list []string) bool {
	for _, where := range list {
		if below(dir, where) {
			return true
		}
	}
	return false
}

// A rule that nothing could break holds nothing.
func TestRulesCatchWhatTheyForbid(t *testing.T) {
	for _, path := range []string{Module + "/host", "github.com/goccy/go-json", "net/http"} {
		caught := false
		for _, r := range rules {
			caught = caught || r.forbidden(path)
		}
		if !caught {
			t.Errorf("no rule forbids %s anywhere", path)
		}
	}
}
