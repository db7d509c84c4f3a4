package host_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// relay is a function that publishes on a subject, where another one starts it.
func relay(name, publishes, started string) map[string]string {
	return map[string]string{
		name + "/f.go": `package relay

import (
	"context"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	return functions.Publish(ctx, "` + publishes + `", e.Data)
}
`,
		name + "/function.yaml": started + "\n",
	}
}

func eventOn(subject string) string { return "triggers: {event: [{subject: " + subject + "}]}" }

// warnings returns what the log of a function says of loops.
func (f *fixture) warnings(name string) (list []string) {
	f.Logs().Read(f.t.Context(), logs.Query{Function: name}, func(r logs.Record) error {
		if strings.Contains(r.Message, "publishes on") {
			list = append(list, r.Message)
		}
		return nil
	})
	return list
}

func TestAFunctionThatStartsItselfIsWarnedOf(t *testing.T) {
	files := relay("self", "self.again", eventOn("self.*"))
	for _, other := range []map[string]string{relay("straight", "elsewhere", eventOn("straight")), relay("listener", "heard", "triggers: {subscribe: [{subject: heard}]}")} {
		for name, text := range other {
			files[name] = text
		}
	}
	f := start(t, files, nil)
	for _, name := range []string{"self", "straight", "listener"} {
		f.awaitState(name, host.Ready)
	}
	for name, want := range map[string]string{"self": `/self/f.go:10 publishes on "self.again", which starts the function itself: `, "listener": `/listener/f.go:10 publishes on "heard", which starts the function itself: `} {
		f.await("a warning", func() bool { return len(f.warnings(name)) == 1 })
		if got := f.warnings(name)[0]; !strings.Contains(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := f.warnings("straight"); len(got) > 0 {
		t.Errorf("straight: %q", got)
	}
}

// Functions that start each other: the last one to come is warned of, and also after
// the next start of the host, which has no source then.
func TestFunctionsThatStartEachOtherAreWarnedOf(t *testing.T) {
	f := &fixture{t: t, data: t.TempDir()}
	f.open(serves)
	var mu sync.Mutex
	var warned []string
	o := host.DeployOptions{OnEvent: func(e admin.DeployEvent) {
		if e.Step == admin.StepWarning {
			mu.Lock()
			defer mu.Unlock()
			warned = append(warned, e.Function+": "+e.Text)
		}
	}}
	for _, files := range []map[string]string{relay("a", "b.in", eventOn("a.>")), relay("b", "c.in", eventOn("b.*")), relay("c", "a.in", eventOn("c.in"))} {
		if _, err := f.Deploy(context.Background(), tree(t, files), o); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	const want = `c: c/f.go:10 publishes on "a.in", which starts a; a/f.go:10 publishes on "b.in", which starts b; b/f.go:10 publishes on "c.in", which starts c: `
	if len(warned) != 1 || !strings.HasPrefix(warned[0], want) {
		t.Errorf("warned %q", warned)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(serves)
	f.await("a warning", func() bool { return len(f.warnings("a"))+len(f.warnings("b"))+len(f.warnings("c")) > 0 })
}
