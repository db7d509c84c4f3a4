package event

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

func TestCovers(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a.b", false}, {"a.b", "a", false},
		{"*", "a", true}, {"*", "a.b", false}, {">", "a", true}, {">", ">", true}, {">", "*.>", true},
		{"a.*", "a.b", true}, {"a.*", "a.*", true}, {"a.*", "a.>", false}, {"a.*", "a", false},
		{"a.>", "a.b.c", true}, {"a.>", "a", false}, {"a.>", "a.*", true}, {"a.>", "a.>", true}, {"a.>", "b.>", false},
		{"a.b", "a.*", false}, {"*.b", "a.*", false}, {"*.*", "a.>", false}, {"*.>", "a.>", true}, {"a.*.>", "a.>", false},
	}
	for _, test := range tests {
		if got := Covers(test.a, test.b); got != test.want {
			t.Errorf("Covers(%q, %q) = %v", test.a, test.b, got)
		}
	}
}

// The server's own matching is what counts.
func FuzzCovers(f *testing.F) {
	for _, pair := range [][2]string{{"a.*", "a.>"}, {">", "a"}, {"*.b.>", "a.*.c"}, {"a.b", "a.b"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for part := range strings.SplitSeq(a+"."+b, ".") { // a manifest has no wildcard inside a part
			if !server.IsValidSubject(a) || !server.IsValidSubject(b) || len(part) > 1 && strings.ContainsAny(part, "*>") {
				t.Skip()
			}
		}
		if got, want := overlap(a, b), server.SubjectsCollide(a, b); got != want {
			t.Errorf("overlap(%q, %q) = %v, the server says %v", a, b, got, want)
		}
		if strings.ContainsAny(b, "*>") {
			if Covers(a, b) && !server.SubjectsCollide(a, b) {
				t.Errorf("%q covers %q, and they have nothing in common", a, b)
			}
		} else if got, want := Covers(a, b), server.SubjectsCollide(a, b); got != want {
			t.Errorf("Covers(%q, %q) = %v, the server says %v", a, b, got, want)
		}
		if overlap(a, b) {
			if j := join(a, b); !Covers(j, a) || !Covers(j, b) {
				t.Errorf("join(%q, %q) = %q", a, b, j)
			}
		}
	})
}

func TestAddSubject(t *testing.T) {
	tests := []struct{ have, subject, want string }{
		{"", "a", "a"},
		{"a b", "c", "a b c"},
		{"a.b a.c d", "a.*", "d a.*"},
		{"a.*.x", "a.b.*", "a.*.*"},
		{"a.b.> a.c", "a.*.x.y", "a.c a.*.>"},
		{"a.*.x a.b.*.c", "a.*.>", "a.*.>"},
	}
	for _, test := range tests {
		if got := strings.Join(addSubject(strings.Fields(test.have), test.subject), " "); got != test.want {
			t.Errorf("%q with %q = %q, want %q", test.have, test.subject, got, test.want)
		}
	}
}

func TestAUsersStreamIsUsedAsItIs(t *testing.T) {
	f := newFixture(t)
	before := f.stream("mine", "orders.>", "other").CachedInfo().Config
	f.serve(spec("orders.*"))
	f.publish("orders.created", "x")
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
	f.idle()
	if s := f.trigger.Status(t.Context())[0]; s.Stream != "mine" {
		t.Errorf("status %+v", s)
	}
	after, err := f.js.Stream(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.CachedInfo().Config; !reflect.DeepEqual(got, before) {
		t.Errorf("the stream is now %+v\nit was %+v", got, before)
	}
	if _, err := f.js.Stream(t.Context(), EventStream); err == nil {
		t.Error("a stream was made that nobody needs")
	}
}

// Whatever order they come in, each trigger gets what it names.
func TestOverlappingTriggers(t *testing.T) {
	subjects := []string{"orders.*", "orders.created", "orders.>", "orders.*.eu", "orders.paid.*"}
	for name, order := range map[string][]string{"narrow first": {subjects[1], subjects[3], subjects[4], subjects[0], subjects[2]}, "wide first": {subjects[2], subjects[0], subjects[4], subjects[3], subjects[1]}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			functions := make(map[string][]manifest.Event)
			for i, subject := range order {
				functions[string(rune('a'+i))] = []manifest.Event{spec(subject)}
				f.trigger.Update(table(functions))
				f.await("the triggers are set up", func() bool {
					list := f.trigger.Status(t.Context())
					return len(list) == len(functions) && !slices.ContainsFunc(list, func(s Status) bool { return s.Error != "" })
				})
			}
			for _, subject := range []string{"orders.created", "orders.paid.eu"} {
				f.publish(subject, subject)
			}
			f.await("all of them", func() bool { return len(f.seen()) == 6 })
			f.idle()
			counts := make(map[string]int)
			for _, c := range f.seen() {
				counts[functions[c.function][0].Subject+" "+c.subject]++
			}
			for _, want := range []string{"orders.created orders.created", "orders.* orders.created", "orders.> orders.created", "orders.> orders.paid.eu", "orders.*.eu orders.paid.eu", "orders.paid.* orders.paid.eu"} {
				if counts[want] != 1 {
					t.Errorf("%s: %d times", want, counts[want])
				}
			}
		})
	}
}

func TestAStreamThatTakesAPartOfTheSubject(t *testing.T) {
	f := newFixture(t)
	f.stream("mine", "orders.created")
	f.trigger.Update(table(map[string][]manifest.Event{"shop": {spec("orders.*")}}))
	f.await("an error", func() bool { return f.reported() != nil })
	if err := f.reported().Error(); !strings.Contains(err, "stream mine takes orders.created, and that is not all of orders.*") {
		t.Error(err)
	}
	if _, err := f.js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"orders.*"}}); err != nil {
		t.Fatal(err)
	}
	f.await("it works again", func() bool { return f.reported() == nil })
	f.publish("orders.paid", "x")
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
}

func TestANamedStreamThatIsMadeLater(t *testing.T) {
	f := newFixture(t)
	f.trigger.Update(table(map[string][]manifest.Event{"shop": {spec("orders.*", func(s *manifest.Event) { s.Stream = "later" })}}))
	f.await("an error", func() bool { return f.reported() != nil })
	if err := f.reported().Error(); !strings.Contains(err, "stream later") {
		t.Error(err)
	}
	f.stream("later", "orders.*")
	f.await("it works", func() bool { return f.reported() == nil })
	f.publish("orders.paid", "x")
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
}

// A stream that is removed while it is read, and made again, is read again.
func TestAStreamThatIsMadeAnew(t *testing.T) {
	f := newFixture(t)
	f.stream("mine", "orders.*")
	f.serve(spec("orders.*", func(s *manifest.Event) { s.Stream = "mine" }))
	f.publish("orders.paid", "x")
	f.await("the event", func() bool { return len(f.seen("x")) == 1 })
	if err := f.js.DeleteStream(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	f.await("an error", func() bool { return f.reported() != nil })
	f.stream("mine", "orders.*")
	f.await("it works", func() bool { return f.reported() == nil })
	f.publish("orders.paid", "y")
	f.await("the event", func() bool { return len(f.seen("y")) == 1 })
}

func TestStart(t *testing.T) {
	tests := []struct {
		name string
		from func(third time.Time) string
		want string
	}{
		{"all", func(time.Time) string { return "all" }, "0 1 2 3 new"},
		{"new", func(time.Time) string { return "new" }, "new"},
		{"empty", func(time.Time) string { return "" }, "new"},
		{"a sequence number", func(time.Time) string { return "3" }, "2 3 new"},
		{"a time", func(third time.Time) string { return third.Format(time.RFC3339Nano) }, "2 3 new"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			s := f.stream("mine", "a")
			f.publish("a", numbered(4)...)
			m, err := s.GetMsg(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			f.serve(spec("a", func(s *manifest.Event) { s.Start, s.InFlight = test.from(m.Time), 1 }))
			f.publish("a", "new")
			f.await("the newest", func() bool { return len(f.seen("new")) == 1 })
			var texts []string
			for _, c := range f.seen() {
				texts = append(texts, c.text)
			}
			if got := strings.Join(texts, " "); got != test.want {
				t.Errorf("events %s, want %s", got, test.want)
			}
		})
	}
}

func TestATriggerThatComesBackGoesOn(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("a"))
	f.publish("a", "1")
	f.await("the first", func() bool { return len(f.seen("1")) == 1 })
	f.idle()
	f.serve() // none
	f.publish("a", "2")
	f.serve(spec("a", func(s *manifest.Event) { s.Start, s.Retries = "new", 9 })) // other settings are no other trigger
	f.await("the second", func() bool { return len(f.seen("2")) == 1 })
	f.idle()
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func TestSettingsThatChangeWhileEventsAreHandled(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { time.Sleep(time.Millisecond); return nil })
	f.serve(spec("a"))
	for i := range 10 {
		f.publish("a", numbered(20)...)
		f.serve(spec("a", func(s *manifest.Event) { s.InFlight = 1 + i }))
	}
	f.await("all", func() bool { return len(f.seen()) >= 200 })
	f.idle()
	if n := len(f.seen()); n != 200 {
		t.Errorf("%d of 200 events: some came again", n)
	}
}

// Who sends an event as soon as it is accepted need not know of consumers.
func TestAnEventThatComesBeforeItsConsumerIsHandled(t *testing.T) {
	f := newFixture(t)
	for i := range 20 {
		subject := fmt.Sprintf("soon.%d", i)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				s, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: subject, Data: []byte(subject)})
				if err != nil || s.Stream != "" { // those before may have been stored as well
					return
				}
				f.trigger.takers.Clear() // as of somebody who has not asked before
			}
		}()
		var specs []manifest.Event
		for n := range i + 1 {
			specs = append(specs, spec(fmt.Sprintf("soon.%d", n), func(s *manifest.Event) { s.Start = "new" }))
		}
		f.serve(specs...)
		<-done
	}
	f.await("all are handled", func() bool {
		for i := range 20 {
			if len(f.seen(fmt.Sprintf("soon.%d", i))) == 0 {
				return false
			}
		}
		return true
	})
}

// A cluster says it in another way than a single server.
func TestWrongLastSequences(t *testing.T) {
	for _, test := range []struct {
		code          server.ErrorIdentifier
		wrong, coming bool
	}{
		{server.JSStreamWrongLastSequenceErrF, true, false},
		{server.JSStreamWrongLastSequenceConstantErr, true, true},
		{server.JSStreamMessageExceedsMaximumErr, false, false},
	} {
		err := fmt.Errorf("publish: %w", &jetstream.APIError{ErrorCode: jetstream.ErrorCode(test.code)})
		if isWrongLast(err) != test.wrong || isComing(err) != test.coming {
			t.Errorf("code %d: wrong %v, coming %v", test.code, isWrongLast(err), isComing(err))
		}
	}
	if isWrongLast(nil) || isWrongLast(jetstream.ErrNoStreamResponse) {
		t.Error("what is no refusal counts as one")
	}
}

// A trigger that is set up late, as on a machine with much to do, has what came since its function serves.
func TestEventsBeforeTheConsumerIsThereAreNew(t *testing.T) {
	f := newFixture(t)
	f.stream("OWN", "own.>")
	f.publish("own.a", "before")
	time.Sleep(50 * time.Millisecond)
	r := newReader(f.trigger, "shop", new(spec("own.a", func(s *manifest.Event) { s.Start = "new" })))
	r.ctx, r.cancel = context.WithCancel(t.Context())
	defer r.cancel()
	time.Sleep(50 * time.Millisecond)
	f.publish("own.a", "since", "too")
	c, err := r.setUp()
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().NumPending; n != 2 {
		t.Errorf("%d events wait, want 2", n)
	}
}

func TestSkew(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	for _, test := range []struct {
		server int
		want   time.Duration
	}{{1000, 0}, {1500, 0}, {2000, 0}, {900, -100 * time.Millisecond}, {2100, 100 * time.Millisecond}} {
		if got := skew(at(test.server), at(1000), at(2000)); got != test.want {
			t.Errorf("%d: %v, want %v", test.server, got, test.want)
		}
	}
}
