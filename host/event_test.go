package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/trigger/event"
)

// eventful is a function that does what the data of an event says.
const eventful = `package shop

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fnhost/fnhost/functions"
)

func Handle(ctx context.Context, e functions.Event) error {
	text := string(e.Data)
	var what string
	var until int
	fmt.Sscanf(text, "%s %d", &what, &until)
	switch {
	case what == "fail" && e.Attempt <= until:
		return errors.New("not yet")
	case what == "permanent":
		return functions.Permanent(errors.New("never"))
	case what == "exit" && e.Attempt <= until:
		os.Exit(3)
	}
	return functions.Publish(ctx, "seen", fmt.Sprintf("%s %d %s", e.Subject, e.Attempt, text))
}
`

// seen collects what the function publishes.
type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) count(text string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		if one == text {
			n++
		}
	}
	return n
}

func (f *fixture) listen() *seen {
	s := &seen{}
	_, err := f.Conn().Subscribe("seen", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = append(s.list, string(m.Data))
	})
	if err == nil {
		err = f.Conn().Flush() // else the server may not know of it when the first message comes
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// send publishes a message once a stream takes the subject.
func (f *fixture) send(subject, text string) {
	f.t.Helper()
	js, err := jetstream.New(f.Conn())
	if err != nil {
		f.t.Fatal(err)
	}
	f.await("a stream that takes "+subject, func() bool {
		_, err := js.StreamNameBySubject(f.t.Context(), subject)
		return err == nil
	})
	stored, err := f.Publish(f.t.Context(), &nats.Msg{Subject: subject, Data: []byte(text)})
	if err != nil || stored.Stream == "" {
		f.t.Fatalf("%s: %+v, %v", subject, stored, err)
	}
}

// idle waits until no event is left.
func (f *fixture) idle() {
	f.t.Helper()
	f.await("nothing is left", func() bool {
		list := f.Triggers(context.Background())
		return len(list) == 1 && list[0].Pending == 0 && list[0].InFlight == 0 && list[0].Error == ""
	})
}

// letters returns the dead letters.
func (f *fixture) letters() (list []*event.Letter) {
	err := f.DeadLetters(f.t.Context(), "", func(l *event.Letter) bool { list = append(list, l); return true })
	if err != nil {
		f.t.Error(err)
	}
	return list
}

func shop(t *testing.T) *fixture {
	f := start(t, map[string]string{
		"shop/shop.go":       eventful,
		"shop/function.yaml": "triggers:\n  event:\n    - subject: shop.*\n      start: all\n      retries: 2\n      backoff: 10ms\n",
	}, nil)
	f.awaitState("shop", host.Ready)
	return f
}

func TestEvents(t *testing.T) {
	f := shop(t)
	s := f.listen()
	for _, text := range []string{"ok", "fail 2", "fail 9", "permanent"} {
		f.send("shop.order", text)
	}
	for _, want := range []string{"shop.order 1 ok", "shop.order 3 fail 2"} {
		f.await(want, func() bool { return s.count(want) == 1 })
	}
	f.await("two dead letters", func() bool { return len(f.letters()) == 2 })
	f.idle()
	f.send("shop.order", "exit 1") // alone, since those beside it would be tried again, too
	f.await("the event whose worker ended", func() bool { return s.count("shop.order 2 exit 1") == 1 })
	for _, l := range f.letters() {
		want, attempts := "never", 1
		if strings.HasPrefix(string(l.Data), "fail") {
			want, attempts = "not yet", 3
		}
		if l.Error != want || l.Attempts != attempts || l.Subject != "shop.order" || l.Stream != event.EventStream || l.Sequence == 0 || time.Since(l.Time) > time.Hour {
			t.Errorf("letter %+v", l)
		}
	}
	f.idle()
}

func TestDeadLettersAreRedriven(t *testing.T) {
	f := shop(t)
	s := f.listen()
	f.send("shop.order", "fail 3")
	f.send("shop.order", "permanent")
	f.await("two dead letters", func() bool { return len(f.letters()) == 2 })
	failed := 0
	for _, l := range f.letters() {
		if err := f.Redrive(t.Context(), l.ID, ""); err != nil {
			failed++
			if !strings.Contains(err.Error(), "never") {
				t.Error(err)
			}
		}
	}
	if failed != 1 || len(f.letters()) != 1 {
		t.Errorf("%d of 2 failed again, and %d are left, want 1", failed, len(f.letters()))
	}
	f.await("the one that went well", func() bool { return s.count("shop.order 4 fail 3") == 1 })
}

// What was stored while no host was there is handled.
func TestEventsWaitForTheHost(t *testing.T) {
	f := shop(t)
	for i := range 50 {
		f.send("shop.order", fmt.Sprint("n", i))
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.open(nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	f.send("shop.order", "last")
	f.await("the last event", func() bool { return s.count("shop.order 1 last") == 1 })
	f.idle()
}

func TestSchedules(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       eventful,
		"shop/function.yaml": "triggers:\n  schedule:\n    - every: 1s\n    - cron: '* * * * * *'\n      zone: Europe/Berlin\n",
	}, nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	f.await("four runs", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.list) >= 4
	})
	f.write("shop/function.yaml", "timeout: 1s\n")
	f.await("no schedule is left", func() bool { return len(f.Triggers(t.Context())) == 0 })
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), event.ScheduleStream)
	if err != nil {
		t.Fatal(err)
	}
	f.await("the server has forgotten it", func() bool {
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("schedule.>"))
		return err == nil && len(info.State.Subjects) == 0
	})
}

func TestSubscriptions(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       eventful,
		"shop/function.yaml": "triggers:\n  subscribe:\n    - subject: shop.>\n",
	}, nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	f.await("a message", func() bool {
		if stored, err := f.Publish(t.Context(), &nats.Msg{Subject: "shop.a.b", Data: []byte("hi")}); err != nil || stored.Stream != "" {
			t.Fatalf("%+v, %v", stored, err)
		}
		return s.count("shop.a.b 1 hi") > 0
	})
}

func TestATriggerOfAnEndpointThatIsNot(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       eventful,
		"shop/function.yaml": "triggers:\n  schedule:\n    - {every: 1s, endpoint: poll}\n",
	}, nil)
	f.awaitState("shop", host.Failed)
	if s, err := f.Function("shop"); err != nil || !strings.Contains(s.Error, `the schedule @every 1s names the endpoint "poll", which the function does not have`) {
		t.Errorf("%q, %v", s.Error, err)
	}
}

// Two subscriptions of one function that overlap both get a message.
func TestSubscriptionsThatOverlap(t *testing.T) {
	f := start(t, map[string]string{
		"shop/shop.go":       eventful + "\nfunc HandleOther(ctx context.Context) error { return functions.Publish(ctx, \"seen\", \"other\") }\n",
		"shop/function.yaml": "triggers:\n  subscribe:\n    - subject: shop.>\n    - {subject: shop.a, endpoint: other}\n",
	}, nil)
	s := f.listen()
	f.awaitState("shop", host.Ready)
	if err := f.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	const n = 20
	for range n {
		if _, err := f.Publish(t.Context(), &nats.Msg{Subject: "shop.a", Data: []byte("hi")}); err != nil {
			t.Fatal(err)
		}
	}
	f.await("all of both", func() bool { return s.count("shop.a 1 hi") == n && s.count("other") == n })
}
