package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// heard publishes in one account, and returns what a subscription in another has got.
func heard(t *testing.T, from *nats.Conn, sub *nats.Subscription, to *nats.Conn, subjects ...string) (got []string) {
	t.Helper()
	for _, s := range subjects {
		from.Publish(s, nil)
	}
	from.Flush()
	to.Flush()
	for {
		m, err := sub.NextMsg(time.Millisecond)
		if err != nil {
			return got
		}
		if !strings.HasPrefix(m.Subject, "$") { // what JetStream tells of itself
			got = append(got, m.Subject)
		}
	}
}

func TestAnExportedSubjectReachesOneOtherAccount(t *testing.T) {
	b := open(t, Config{})
	a, c, d := openAccount(t, b, "a", AccountLimits{Streams: 5}), openAccount(t, b, "c", AccountLimits{Streams: 5}), openAccount(t, b, "d", AccountLimits{})
	subs := make(map[*nats.Conn]*nats.Subscription)
	for _, conn := range []*nats.Conn{a, c, d} {
		sub, err := conn.SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		subs[conn] = sub
		conn.Flush()
	}
	share := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	clear := func() { heard(t, a, subs[a], a); heard(t, a, subs[c], c); heard(t, a, subs[d], d) }
	steps := []struct {
		what         string
		do           func() error
		c, d, aFromC string // what a's x.1 y is heard as
	}{
		{"none", func() error { return nil }, "", "", ""},
		{"exported", func() error { return b.ExportSubject("a", "c", "x.>") }, "x.1", "", ""},
		{"again", func() error { return b.ExportSubject("a", "c", "x.>") }, "x.1", "", ""},
		{"to another", func() error { return b.ExportSubject("a", "d", "x.*") }, "x.1", "x.1", ""},
		{"a second one", func() error { return b.ExportSubject("a", "c", "y") }, "x.1 y", "x.1", ""},
		{"and one back", func() error { return b.ExportSubject("c", "a", "z") }, "x.1 y", "x.1", "z"},
		{"ended", func() error { return b.UnexportSubject("a", "c", "x.>") }, "y", "x.1", "z"},
		{"that was not", func() error { return b.UnexportSubject("a", "c", "x.>") }, "y", "x.1", "z"},
		{"all but one ended", func() error { return b.UnexportSubject("a", "c", "y") }, "", "x.1", "z"},
		{"anew", func() error { return b.ExportSubject("a", "c", "x.>") }, "x.1", "x.1", "z"},
		{"one removed", func() error { return b.RemoveAccount("d") }, "x.1", "", "z"},
	}
	for _, step := range steps {
		t.Run(step.what, func(t *testing.T) {
			share(step.do())
			clear()
			if got := strings.Join(heard(t, a, subs[c], c, "x.1", "y"), " "); got != step.c {
				t.Errorf("c hears %q, want %q", got, step.c)
			}
			if d.IsConnected() {
				if got := strings.Join(heard(t, a, subs[d], d), " "); got != step.d {
					t.Errorf("d hears %q, want %q", got, step.d)
				}
			}
			if got := strings.Join(heard(t, a, subs[a], a), " "); got != "x.1 y" {
				t.Errorf("a hears %q of its own", got)
			}
			if got := strings.Join(heard(t, c, subs[a], a, "z", "x.2", "y"), " "); got != step.aFromC {
				t.Errorf("a hears %q of c, want %q", got, step.aFromC)
			}
			for _, conn := range []*nats.Conn{a, c} { // streams are as they were, and limits
				put(t, bucketOf(t, conn, "test"), "key")
				if info, err := jetstreamOf(t, conn).AccountInfo(t.Context()); err != nil || info.Limits.MaxStreams != 5 {
					t.Errorf("limits: %+v %v", info, err)
				}
			}
		})
	}
}

func TestAnExportedServiceIsAnsweredForOneOtherAccount(t *testing.T) {
	b := open(t, Config{})
	a, c, d := openAccount(t, b, "a", AccountLimits{}), openAccount(t, b, "c", AccountLimits{}), openAccount(t, b, "d", AccountLimits{})
	if _, err := a.QueueSubscribe("fn.*", "fn", func(m *nats.Msg) { m.Respond([]byte(m.Subject)) }); err != nil {
		t.Fatal(err)
	}
	a.Flush()
	answered := func(conn *nats.Conn, subject string) bool {
		m, err := conn.Request(subject, nil, patience) // no responder is an answer at once
		return err == nil && string(m.Data) == subject
	}
	if answered(c, "fn.x") {
		t.Error("answered without an export")
	}
	if err := b.ExportService("a", "c", "fn.x"); err != nil {
		t.Fatal(err)
	}
	if !answered(c, "fn.x") || answered(c, "fn.y") || answered(d, "fn.x") {
		t.Error("exported: want an answer to c's fn.x alone")
	}
	if err := b.UnexportService("a", "c", "fn.x"); err != nil {
		t.Fatal(err)
	}
	if answered(c, "fn.x") {
		t.Error("answered when the export has ended")
	}
	if err := b.ExportService("a", "c", "fn.>"); err != nil {
		t.Fatal(err)
	}
	if !answered(c, "fn.y") {
		t.Error("not answered when exported anew")
	}
	if err := b.RemoveAccount("a"); err != nil {
		t.Fatal(err)
	}
	if answered(c, "fn.y") {
		t.Error("answered by an account that is gone")
	}
	if _, err := jetstreamOf(t, c).AccountInfo(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStreamTakesWhatIsExported(t *testing.T) {
	b := open(t, Config{})
	a, c := openAccount(t, b, "a", AccountLimits{}), openAccount(t, b, "c", AccountLimits{})
	before, err := jetstreamOf(t, c).CreateStream(t.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"x.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ExportSubject("a", "c", "x.>"); err != nil {
		t.Fatal(err)
	}
	after, err := jetstreamOf(t, c).CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"x.2"}})
	if err != nil {
		t.Fatal(err)
	}
	a.Publish("x.1", nil)
	a.Publish("x.2", nil)
	a.Flush()
	if err := b.UnexportSubject("a", "c", "x.>"); err != nil {
		t.Fatal(err)
	}
	a.Publish("x.2", nil)
	a.Flush()
	for name, s := range map[string]jetstream.Stream{"made before": before, "made after": after} {
		if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 1 {
			t.Errorf("the stream %s the export has %d messages of it: %v", name, info.State.Msgs, err)
		}
	}
}

func TestExportsThatAreRefused(t *testing.T) {
	b := open(t, Config{})
	openAccount(t, b, "a", AccountLimits{})
	openAccount(t, b, "c", AccountLimits{})
	if err := b.ExportSubject("a", "c", "x.*"); err != nil {
		t.Fatal(err)
	}
	openAccount(t, b, "e", AccountLimits{})
	if err := b.ExportSubject("c", "e", "x.>"); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ from, to, subject, want string }{
		{"a", "a", "x", "two namespaces"},
		{"a", ControlAccount, "x", "two namespaces"},
		{ControlAccount, "a", "x", "two namespaces"},
		{"a", "d", "x", "no such namespace"},
		{"d", "a", "x", "no such namespace"},
		{"a", "c", ">", "first part"},
		{"a", "c", "*.x", "first part"},
		{"a", "c", "$JS.API.>", "first part"},
		{"a", "c", "_INBOX.>", "first part"},
		{"a", "c", "a..b", "first part"},
		{"a", "c", "x.1", "do not overlap"},
		{"c", "a", "x.>", "come back"},
		{"e", "a", "x.1", "come back"},
	}
	for _, test := range tests {
		exports := []func(from, to, subject string) error{b.ExportSubject, b.ExportService}
		if test.want == "come back" { // requests go the other way
			exports = exports[:1]
		}
		for _, export := range exports {
			if err := export(test.from, test.to, test.subject); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s to %s, %q: %v, want %q in it", test.from, test.to, test.subject, err, test.want)
			}
		}
	}
}
