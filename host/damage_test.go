package host_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/registry"
)

// state is what a host that is stopped has stored.
type state struct {
	t         *testing.T
	kv        jetstream.KeyValue
	artifacts jetstream.ObjectStore
}

// whileStopped stops the host, changes what it has stored, and starts it again.
func (f *fixture) whileStopped(change func(s state)) {
	f.t.Helper()
	if err := f.stop(); err != nil {
		f.t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{StoreDir: f.data, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	change(stateOf(f.t, b))
	if err := b.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open(serves)
}

func stateOf(t testing.TB, b *bus.Bus) state {
	t.Helper()
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	s := state{t: t.(*testing.T)}
	if s.kv, err = js.KeyValue(t.Context(), "registry"); err == nil {
		s.artifacts, err = js.ObjectStore(t.Context(), "artifacts")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s state) put(key, value string) {
	s.t.Helper()
	if _, err := s.kv.PutString(s.t.Context(), key, value); err != nil {
		s.t.Fatal(err)
	}
}

// serves has a host watch nothing.
func serves(c *host.Config) { c.Watch = nil }

// deployAll deploys functions that answer with their names.
func (f *fixture) deployAll(names ...string) {
	f.t.Helper()
	files := make(map[string]string)
	for _, name := range names {
		files[name+"/f.go"] = constant(name, name)
	}
	if _, err := f.Deploy(f.t.Context(), tree(f.t.(*testing.T), files), host.DeployOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// says checks what a function answers.
func (f *fixture) says(name, want string) {
	f.t.Helper()
	if status, body, _ := f.do("GET", "/"+name, ""); status != 200 || body != want {
		f.t.Errorf("%s answers %d %s, want %s", name, status, body, want)
	}
}

// program returns the path of the program of a function's version, and its SHA-256.
func (f *fixture) program(name string) (path, sum string) {
	f.t.Helper()
	list, _, err := f.Versions(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return filepath.Join(f.data, "programs", list[0].Program), list[0].Program
}

// spoil puts another program of the same size into the place of one. Its file may
// have other names, and what they name stays.
func spoil(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 0x55
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedRecordsAtTheStart(t *testing.T) {
	f := server(t)
	f.deployAll("record", "version", "lost", "whole")
	f.whileStopped(func(s state) {
		s.put("function.default.record", `{"name":"record",`)
		s.put("version.default.version.1", "garbage")
		if err := s.kv.Purge(t.Context(), "function.default.lost"); err != nil {
			t.Fatal(err)
		}
	})
	f.says("whole", "whole")
	for name, want := range map[string]struct {
		state host.State
		err   string
	}{
		"record":  {host.Failed, "registry: damaged: the record function.default.record"},
		"version": {host.Failed, "registry: damaged: the record version.default.version.1"},
		"lost":    {host.Unreleased, "`fnhost release set` releases one"},
	} {
		f.awaitState(name, want.state)
		s, err := f.Function(name)
		if err != nil || !strings.Contains(s.Error, want.err) || !strings.Contains(s.Error, "fnhost release set") {
			t.Errorf("%s: %q, %v", name, s.Error, err)
		}
		if status, body, _ := f.do("GET", "/"+name, ""); status != 503 || !strings.Contains(body, "release") {
			t.Errorf("%s answers %d %s", name, status, body)
		}
	}
	// A deploy that fails takes nothing of them away.
	for _, name := range []string{"record", "lost"} {
		bad := tree(t, map[string]string{name + "/f.go": "package f\n\nfunc Handle() int { return \"\" }\n"})
		if _, err := f.Deploy(t.Context(), bad, host.DeployOptions{}); err == nil {
			t.Error("a source that does not compile was deployed")
		}
		if _, err := f.Function(name); err != nil {
			t.Errorf("after a deploy that has failed: %v", err)
		}
	}
	// What is whole can be released again, and what is not deployed again.
	for _, name := range []string{"record", "lost"} {
		if _, err := f.SetRelease(t.Context(), name, "me", registry.Whole(1)); err != nil {
			t.Errorf("release of %s: %v", name, err)
		}
		f.says(name, name)
	}
	if _, err := f.SetRelease(t.Context(), "version", "me", registry.Whole(1)); !errors.Is(err, registry.ErrDamaged) {
		t.Errorf("release of a damaged version: %v", err)
	}
	f.deployAll("version")
	f.says("version", "version")
	if s, err := f.Function("version"); err != nil || s.Version != "v2" || s.State != string(host.Ready) {
		t.Errorf("deployed again: %+v, %v", s, err)
	}
	f.whileStopped(func(state) {})
	for _, name := range []string{"record", "lost", "whole", "version"} {
		f.says(name, name)
	}
}

func TestDamagedProgramsAtTheStart(t *testing.T) {
	f := server(t)
	f.deployAll("changed", "gone", "empty", "both", "whole")
	changed, _ := f.program("changed")
	gone, _ := f.program("gone")
	empty, _ := f.program("empty")
	both, object := f.program("both")
	f.whileStopped(func(s state) {
		spoil(t, changed)
		spoil(t, both)
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(empty), os.WriteFile(empty, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.artifacts.PutString(t.Context(), object, "another program"); err != nil {
			t.Fatal(err)
		}
	})
	f.says("whole", "whole")
	f.says("gone", "gone")
	f.says("empty", "empty")
	f.await("the changed program is restored", func() bool { return strings.Contains(f.records("changed"), "was damaged and is restored") })
	f.says("changed", "changed")
	f.awaitState("both", host.Failed)
	s, err := f.Function("both")
	if err != nil || !strings.Contains(s.Error, "the program of v1 is damaged") || !strings.Contains(s.Error, object) || !strings.Contains(s.Error, "deploy the function again") {
		t.Errorf("both: %q, %v", s.Error, err)
	}
	if status, body, _ := f.do("GET", "/both", ""); status != 503 || !strings.Contains(body, "damaged") {
		t.Errorf("both answers %d %s", status, body)
	}
	if list, _, err := f.Versions(t.Context(), "both"); err != nil || len(list) != 1 {
		t.Errorf("%d versions of both, %v: nothing goes by itself", len(list), err)
	}
	f.deployAll("both") // the same source
	f.says("both", "both")
	f.whileStopped(func(state) {})
	f.says("both", "both")
}

func TestACanaryThatIsDamagedDoesNotTakeTheRestAlong(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{})
	f.deploy("two", host.DeployOptions{Canary: 30})
	f.whileStopped(func(s state) { s.put("version.default.hello.2", "garbage") })
	f.awaitState("hello", host.Failed)
	for range 20 {
		f.answers("", "one")
	}
	if s, err := f.Function("hello"); err != nil || s.Version != "v1" || !strings.Contains(s.Error, "version.default.hello.2") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := f.Rollback(t.Context(), "hello", "me", 1); err != nil {
		t.Error(err)
	}
	f.awaitState("hello", host.Ready)
}

func TestDamageAtRunTimeChangesNothingThatServes(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{})
	f.answers("", "one")
	s := stateOf(t, f.Bus())
	s.put("function.default.hello", "garbage")
	f.awaitState("hello", host.Failed)
	f.answers("", "one")
	if e, ok := f.event("hello", host.Failed); !ok || !errors.Is(e.Err, registry.ErrDamaged) || e.Version != "v1" {
		t.Errorf("event %+v", e)
	}
	// A release of what is not whole.
	s.put("version.default.hello.7", "garbage")
	s.put("function.default.hello", `{"name":"hello","release":{"parts":[{"version":7,"weight":100}]}}`)
	f.await("the release is refused", func() bool {
		s, err := f.Function("hello")
		return err == nil && strings.Contains(s.Error, "version.default.hello.7")
	})
	f.answers("", "one")
	if _, err := f.SetRelease(t.Context(), "hello", "me", registry.Whole(1)); err != nil {
		t.Fatal(err)
	}
	f.awaitState("hello", host.Ready)
	f.answers("", "one")
	if v := f.deploy("two", host.DeployOptions{}); v != "v8" {
		t.Errorf("version %s: the number of a damaged one is taken", v)
	}
	f.answers("", "two")
}

func TestADeployThatEndsBeforeItsReleaseLeavesVersions(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{NoRelease: true})
	if s, err := f.Function("hello"); err != nil || s.State != string(host.Unreleased) {
		t.Errorf("%+v, %v", s, err)
	}
	begin := time.Now()
	if _, err := f.Invoke(t.Context(), "hello", nil); !errors.Is(err, functions.ErrUnavailable) || time.Since(begin) > 10*time.Second {
		t.Errorf("Invoke = %v", err)
	}
	f.whileStopped(func(state) {})
	if s, err := f.Function("hello"); err != nil || s.State != string(host.Unreleased) {
		t.Errorf("after a restart: %+v, %v", s, err)
	}
	f.answers("v1", "one")
	if _, err := f.SetRelease(t.Context(), "hello", "me", registry.Whole(1)); err != nil {
		t.Error(err)
	}
	f.answers("", "one")
}
