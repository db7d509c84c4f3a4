package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/registry"
)

// tree writes a source tree of its own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// server is a host that watches nothing.
func server(t *testing.T) *fixture {
	return start(t, nil, func(c *host.Config) { c.Watch = nil })
}

// deploy deploys one function hello that answers with text.
func (f *fixture) deploy(text string, o host.DeployOptions) string {
	f.t.Helper()
	list, err := f.Deploy(f.t.Context(), tree(f.t.(*testing.T), map[string]string{"hello/hello.go": constant("hello", text)}), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return list[0].Version
}

// answers checks what hello says, of a version if one is named.
func (f *fixture) answers(version, want string) {
	f.t.Helper()
	var header []string
	if version != "" {
		header = []string{"X-Fn-Version", version}
	}
	status, body, _ := f.do("GET", "/hello", "", header...)
	if status != 200 || body != want {
		f.t.Errorf("version %q answers %d %s, want %s", version, status, body, want)
	}
}

func TestDeployReleaseRollback(t *testing.T) {
	f := server(t)
	ctx := t.Context()
	if v := f.deploy("one", host.DeployOptions{}); v != "v1" {
		t.Errorf("version %s", v)
	}
	f.answers("", "one")
	if v := f.deploy("two", host.DeployOptions{}); v != "v2" {
		t.Errorf("version %s", v)
	}
	f.answers("", "two")
	f.answers("v1", "one")
	begin := time.Now()
	if v := f.deploy("two", host.DeployOptions{}); v != "v2" {
		t.Errorf("version %s of unchanged source", v)
	}
	t.Logf("unchanged: %v", time.Since(begin))
	if v := f.deploy("three", host.DeployOptions{NoRelease: true}); v != "v3" {
		t.Errorf("version %s", v)
	}
	f.answers("", "two")
	f.answers("v3", "three")
	if m, err := f.Conn().Request("fn.hello.v3", nil, time.Minute); err != nil || string(m.Data) != "three" {
		t.Errorf("over NATS: %v, %v", m, err)
	}
	begin = time.Now()
	if _, err := f.Rollback(ctx, "hello", "me", 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("rollback: %v", time.Since(begin))
	f.answers("", "one")
	if _, err := f.Rollback(ctx, "hello", "me", 0); err == nil {
		t.Error("rolled back to before the first version")
	}
	if _, err := f.SetRelease(ctx, "hello", "me", []registry.Part{{Version: 3, Weight: 60}, {Version: 2, Weight: 40}}); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for range 200 {
		_, body, h := f.do("GET", "/hello", "")
		seen[body+" "+h.Get("X-Fn-Version")]++
	}
	if len(seen) != 2 || seen["three v3"] < 60 || seen["two v2"] < 40 {
		t.Errorf("of a release 60:40 answered %v", seen)
	}
	if _, err := f.Promote(ctx, "hello", "me"); err != nil {
		t.Fatal(err)
	}
	f.answers("", "three")
	if err := f.Remove(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := f.do("GET", "/hello", ""); status != 404 {
		t.Errorf("a removed function answers %d", status)
	}
}

func TestARestartedHostServesWhatWasReleased(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{})
	f.deploy("two", host.DeployOptions{Canary: 30})
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(f.data, "programs")) // they are in the registry, too
	f.open(func(c *host.Config) { c.Watch = nil })
	f.answers("v1", "one")
	f.answers("v2", "two")
	s, err := f.Function("hello")
	if err != nil || len(s.Release) != 2 || s.Release[0].Version != "v1" || s.Release[0].Weight != 70 {
		t.Errorf("release %+v, %v", s.Release, err)
	}
}

func TestABadDeployChangesNothing(t *testing.T) {
	f := server(t)
	f.deploy("one", host.DeployOptions{})
	for name, test := range map[string]struct {
		files map[string]string
		check func(error) bool
	}{
		"does not compile": {map[string]string{"hello/hello.go": "package hello\n\nfunc Handle() string { return 1 }\n"}, func(err error) bool {
			var b *builder.Error
			return errors.As(err, &b)
		}},
		"exits at its start": {map[string]string{"hello/hello.go": constant("hello", "x") + "\nfunc init() { println(\"no database\"); panic(\"at the start\") }\n"}, func(err error) bool {
			return strings.Contains(err.Error(), "does not start") && strings.Contains(err.Error(), "no database")
		}},
		"one of two does not compile": {map[string]string{"hello/hello.go": constant("hello", "two"), "other/o.go": "package other\n\nfunc Handle() int { return \"\" }\n"}, func(err error) bool {
			var b *builder.Error
			return errors.As(err, &b)
		}},
		"no function": {map[string]string{"readme.txt": "hello"}, func(err error) bool { return strings.Contains(err.Error(), "no function") }},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Deploy(t.Context(), tree(t, test.files), host.DeployOptions{})
			if err == nil || !test.check(err) {
				t.Errorf("error %v", err)
			}
			f.answers("", "one")
			if list, _, err := f.Versions(t.Context(), "hello"); err != nil || len(list) != 1 {
				t.Errorf("%d versions, %v", len(list), err)
			}
			if _, err := f.Function("other"); !errors.Is(err, functions.ErrNoFunction) {
				t.Errorf("the other function: %v", err)
			}
		})
	}
}

func TestTheLaterOfTwoDeploysWins(t *testing.T) {
	f := server(t)
	slow := constant("hello", "slow") + "\nfunc init() { time.Sleep(5*time.Second) }\n"
	slow = strings.Replace(slow, "package hello", "package hello\n\nimport \"time\"", 1)
	ended := make(chan error, 1)
	begun := make(chan bool, 10)
	dir := tree(t, map[string]string{"hello/hello.go": slow})
	go func() {
		_, err := f.Deploy(context.Background(), dir, host.DeployOptions{OnEvent: onStep("start", begun)})
		ended <- err
	}()
	<-begun
	f.deploy("later", host.DeployOptions{})
	if err := <-ended; !errors.Is(err, host.ErrSuperseded) {
		t.Errorf("the earlier deploy: %v", err)
	}
	f.answers("", "later")
}

func TestAnUnchangedFunctionLeavesTheRelease(t *testing.T) {
	f := server(t)
	ctx := t.Context()
	source := tree(t, map[string]string{"hello/hello.go": constant("hello", "two")})
	f.deploy("one", host.DeployOptions{})
	deploy := func(o host.DeployOptions, unchanged bool, before, release string) {
		t.Helper()
		list, err := f.Deploy(ctx, source, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := list[0]; d.Version != "v2" || d.Unchanged != unchanged || d.Before != before || d.Release != release {
			t.Errorf("%+v, want unchanged %v, before %q, release %q", d, unchanged, before, release)
		}
	}
	deploy(host.DeployOptions{}, false, "v1", "v2")
	if _, err := f.SetRelease(ctx, "hello", "me", []registry.Part{{Version: 1, Weight: 50}, {Version: 2, Weight: 50}}); err != nil {
		t.Fatal(err)
	}
	_, record, err := f.Versions(ctx, "hello")
	if err != nil {
		t.Fatal(err)
	}
	deploy(host.DeployOptions{}, true, "v1=50 v2=50", "v1=50 v2=50")
	if _, after, err := f.Versions(ctx, "hello"); err != nil || after.Revision != record.Revision {
		t.Errorf("the record was changed: %+v %v", after, err)
	}
	deploy(host.DeployOptions{Canary: 10}, true, "v1=50 v2=50", "v1=90 v2=10")
	deploy(host.DeployOptions{NoRelease: true}, true, "v1=90 v2=10", "")
	if _, err := f.Rollback(ctx, "hello", "me", 0); err != nil {
		t.Fatal(err)
	}
	f.answers("", "one")
	deploy(host.DeployOptions{}, true, "v1", "v2")
	f.answers("", "two")
}
