package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/trigger/event"
)

// replayed is a function that fails, unless it is mended, and says what it sees.
func replayed(mended bool) map[string]string {
	return map[string]string{
		"shop/function.yaml": "triggers:\n  event:\n    - {subject: shop.*, start: all, retries: 0}\n",
		"shop/shop.go": fmt.Sprintf(`package shop

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	if mended := %v; !mended {
		return errors.New("not mended")
	}
	return functions.Publish(ctx, "seen", fmt.Sprint(string(e.Data), e.Replayed, e.Attempt))
}
`, mended),
	}
}

// A fix is tried on what has failed before it is released.
func TestAFixIsTriedBeforeItIsReleased(t *testing.T) {
	f := server(t)
	s := f.listen()
	if _, err := f.Deploy(t.Context(), tree(t, replayed(false)), host.DeployOptions{}); err != nil {
		t.Fatal(err)
	}
	f.idle()
	for i := range 3 {
		f.send("shop.order", fmt.Sprint("n", i, " "))
	}
	f.await("dead letters", func() bool { return len(f.letters()) == 3 })
	if _, err := f.Deploy(t.Context(), tree(t, replayed(true)), host.DeployOptions{NoRelease: true}); err != nil {
		t.Fatal(err)
	}
	for version, failed := range map[string]int{"": 3, "v1": 3, "v2": 0} {
		ran, got := 0, 0
		err := f.Replay(t.Context(), event.Replay{Function: "shop", Version: version, AtOnce: 2}, func(event.Plan) error { return nil }, func(r event.Replayed) error {
			ran++
			if r.Err != nil {
				got++
			}
			return nil
		})
		if err != nil || ran != 3 || got != failed {
			t.Errorf("version %q: %d ran, %d failed, %v", version, ran, got, err)
		}
	}
	f.await("what v2 says", func() bool { return s.count("n0 true 1")+s.count("n1 true 1")+s.count("n2 true 1") == 3 })
	if n := len(f.letters()); n != 3 {
		t.Errorf("%d dead letters, want the 3 of before", n)
	}
	f.idle()
}

// brittle fails before the code of its handler: at the decoding of what has no
// number, by a panic of the decoding, or when its worker starts.
const brittle = `package shop

import (
	"context"
	"encoding/json"
	"os"

	"github.com/fnhost/fnhost/functions"
)

type number struct{ N int }

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "\"panic\"" {
		panic("a bug in decoding")
	}
	return json.Unmarshal(b, &n.N)
}

func init() {
	if path := os.Getenv("BROKEN"); path != "" {
		if _, err := os.Stat(path); err == nil {
			os.Exit(3)
		}
	}
}

func Handle(ctx context.Context, n number) error { return functions.Publish(ctx, "seen", n.N) }
`

func TestEventsThatFailBeforeTheirHandlerBecomeDeadLetters(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       brittle,
		"shop/function.yaml": "triggers:\n  event:\n    - {subject: shop.*, start: all, retries: 2, backoff: 10ms}\n",
	}, nil)
	f.awaitState("shop", host.Ready)
	s := f.listen()
	f.idle()
	for _, text := range []string{`"panic"`, `no json`, `"text"`, "\xff", "7"} {
		f.send("shop.order", text)
	}
	f.await("dead letters of all but the last", func() bool { return len(f.letters()) == 4 })
	f.await("the one that can be decoded", func() bool { return s.count("7") == 1 })
	for _, l := range f.letters() {
		if l.Attempts < 1 || l.Attempts > 3 || l.Error == "" {
			t.Errorf("letter %+v", l)
		}
	}
	f.idle()
}

// While no worker starts, events wait, and say so; it is no fault of theirs.
func TestEventsWaitForAWorkerThatDoesNotStart(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	f := start(t, map[string]string{
		"shop/shop.go":       brittle,
		"shop/function.yaml": "env:\n  BROKEN: " + broken + "\nscale:\n  idle: 1s\ntriggers:\n  event:\n    - {subject: shop.*, start: all, retries: 1, backoff: 10ms, backoffMax: 100ms}\n",
	}, func(c *host.Config) { c.Walls = wall.Off }) // it looks at a file of this machine
	f.awaitState("shop", host.Ready)
	s := f.listen()
	f.await("no worker is left", func() bool { v, err := f.Function("shop"); return err == nil && v.Workers.Workers == 0 })
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f.send("shop.order", "7")
	f.await("the trigger says why", func() bool {
		list := f.Triggers(t.Context())
		return len(list) == 1 && list[0].InFlight == 1 && strings.Contains(list[0].LastError, "no worker is ready")
	})
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	f.await("the event", func() bool { return s.count("7") == 1 })
	if n := len(f.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	f.idle()
}

// A host that starts forgets the schedules of what was removed meanwhile, and of
// nothing else.
func TestSchedulesOfRemovedFunctionsEnd(t *testing.T) {
	const yaml = "triggers:\n  schedule:\n    - every: 1h\n"
	files := make(map[string]string)
	for _, name := range []string{"gone", "kept", "broken"} {
		files[name+"/"+name+".go"], files[name+"/function.yaml"] = constant(name, "hi"), yaml
	}
	f := start(t, files, nil)
	for _, name := range []string{"gone", "kept", "broken"} {
		f.awaitState(name, host.Ready)
	}
	schedules := func() string {
		js, err := jetstream.New(f.Conn())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), event.ScheduleStream)
		if err != nil {
			return err.Error()
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("schedule.>"))
		if err != nil {
			return err.Error()
		}
		var names []string
		for subject := range info.State.Subjects {
			names = append(names, strings.Split(subject, ".")[1])
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	f.await("all schedules", func() bool { return schedules() == "broken gone kept" })
	f.await("all are read", func() bool {
		return !slices.ContainsFunc(f.Triggers(t.Context()), func(s event.Status) bool { return s.Error != "" })
	})
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer := ""
	for _, s := range f.Triggers(t.Context()) {
		if s.Function == "gone" {
			consumer = s.Consumer
		}
	}
	if err := js.DeleteConsumer(t.Context(), event.ScheduleStream, consumer); err != nil { // or it would be waited for
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "gone")); err != nil {
		t.Fatal(err)
	}
	f.write("broken/broken.go", "package broken\n\nfunc Handle() string { return 1 }\n")
	f.open(nil)
	f.await("the one of no function is gone", func() bool { return schedules() == "broken kept" })
	f.awaitState("kept", host.Ready)
	f.awaitState("broken", host.Failed)
	if got := schedules(); got != "broken kept" {
		t.Errorf("schedules of %s", got)
	}
}
