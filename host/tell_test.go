package host_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
)

// buffer is a log of a host.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// count returns how many events of a function there were in a state.
func (f *fixture) count(name string, state host.State) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Function == name && e.State == state {
			n++
		}
	}
	return n
}

func TestAFailedBuildIsLoggedIfNobodyWantsEvents(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		var log buffer
		f := start(t, map[string]string{"bad/b.go": "package bad\n\nfunc Handle() string { return 1 }\n"}, func(c *host.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if !wanted {
				c.OnEvent = nil
			}
		})
		f.awaitState("bad", host.Failed)
		time.Sleep(20 * time.Millisecond)
		text := log.String()
		if told := strings.Contains(text, "cannot use 1") && strings.Contains(text, "function=bad"); told == wanted {
			t.Errorf("events wanted: %v, log:\n%s", wanted, text)
		}
	}
}

func TestTheSameFailureIsToldOnce(t *testing.T) {
	f := start(t, nil, nil)
	f.write("bad/b.go", constant("bad", "x"))
	f.write("bad/function.yaml", "timout: 3s\n")
	f.awaitState("bad", host.Failed)
	for range 3 {
		f.write("bad/function.yaml", "timout: 3s\n")
		time.Sleep(150 * time.Millisecond)
	}
	if n := f.count("bad", host.Failed); n != 1 {
		t.Errorf("told %d times", n)
	}
	f.write("bad/function.yaml", "# a comment\ntimout: 3s\n")
	f.await("another one is told", func() bool { return f.count("bad", host.Failed) == 2 })
	f.write("bad/function.yaml", "timeout: 3s\n")
	f.awaitState("bad", host.Ready)
	f.write("bad/function.yaml", "# a comment\ntimout: 3s\n")
	f.await("it is told again", func() bool { return f.count("bad", host.Failed) == 3 })
}

func TestAFailedFirstDeployLeavesWhy(t *testing.T) {
	f := server(t)
	for _, test := range []struct{ source, want string }{
		{"package bye\n\nfunc Handle() string {\n\tx := 1\n\ty := 1\n\treturn \"\"\n}\n", "deploy by me failed: bye/b.go:4:2: declared and not used: x (and 1 more)"},
		{"package bye\n\nfunc init() { panic(\"no luck\") }\n\nfunc Handle() string { return \"\" }\n", "deploy by me failed: the new version does not start: no worker is ready: exit status 2 before it was ready"},
	} {
		_, err := f.Deploy(t.Context(), tree(t, map[string]string{"bye/b.go": test.source}), host.DeployOptions{By: "me"})
		if err == nil {
			t.Fatal("it does not fail")
		}
		var messages []string
		for _, r := range f.KeptRecords("bye") {
			messages = append(messages, r.Message)
		}
		if last := messages[len(messages)-1]; last != test.want {
			t.Errorf("log: %s, want %s", strings.Join(messages, "\n"), test.want)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) > 0 {
		t.Errorf("events: %+v", f.events)
	}
}

func TestAPanicAtStartIsToldOnceWithItsOutput(t *testing.T) {
	f := start(t, map[string]string{"pan/p.go": "package pan\n\nfunc init() { panic(\"no luck\") }\n\nfunc Handle() string { return \"\" }\n"}, nil)
	f.awaitState("pan", host.Failed)
	time.Sleep(50 * time.Millisecond)
	var messages []string
	for _, r := range f.KeptRecords("pan") {
		messages = append(messages, r.Message)
	}
	text := strings.Join(messages, "\n")
	if strings.Count(text, "no luck") != 1 || strings.Count(text, "exit status 2") != 1 {
		t.Errorf("log:\n%s", text)
	}
	e, _ := f.event("pan", host.Failed)
	if !strings.Contains(e.Err.Error(), "no luck") || strings.Contains(e.Reason(), "no luck") || !strings.Contains(e.Reason(), "exit status 2") {
		t.Errorf("error %v, reason %s", e.Err, e.Reason())
	}
}

func TestAMisspeltHandlerIsHintedAtOnce(t *testing.T) {
	handler := "package x\n\nfunc Handler() string { return \"\" }\n"
	f := start(t, map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n", "user/u.go": "package user\n\nimport x \"example.com/m/lib\"\n\nfunc Handle() string { return x.Handler() }\n",
		"lib/l.go": handler, "other/o.go": "package other\n\nfunc Help() {}\n", "nohandler/n.go": handler,
	}, nil)
	hints := func() (list []string) {
		for _, r := range f.KeptRecords("") {
			if strings.Contains(r.Message, "no handler") {
				list = append(list, r.Level.String()+" "+r.Message)
			}
		}
		return list
	}
	f.awaitState("user", host.Ready)
	want := "INFO functions/nohandler holds Go source, but no handler: did you mean Handle instead of Handler? (n.go:3)"
	f.write("nohandler/another.go", "package x\n")
	f.write("last/l.go", constant("last", ""))
	f.awaitState("last", host.Ready)
	if list := hints(); len(list) != 1 || list[0] != want {
		t.Errorf("hints %q, want %s", list, want)
	}
	f.write("nohandler/n.go", constant("x", "now"))
	f.awaitState("nohandler", host.Ready)
}
