package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startBus(t *testing.T, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func open(t *testing.T, b *bus.Bus, change func(*Config)) *Log {
	t.Helper()
	cfg := Config{Conn: b.Control(), Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flush(l) })
	return l
}

func flush(l *Log) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	l.Close(ctx)
}

func read(t *testing.T, l *Log, q Query) (list []Record) {
	t.Helper()
	if err := l.Read(t.Context(), q, func(r Record) error { list = append(list, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func verify(t *testing.T, l *Log) Verified {
	t.Helper()
	v, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRecordsAreKeptInTheirOrderAndChosen(t *testing.T) {
	b := startBus(t, t.TempDir())
	l := open(t, b, func(c *Config) { c.Node = "n1" })
	if list := read(t, l, Query{}); list != nil {
		t.Errorf("before the first record there are %v", list)
	}
	if v := verify(t, l); v != (Verified{}) {
		t.Errorf("before the first record: %+v", v)
	}
	for i, action := range []string{"deploy", "functions.release", "functions.remove", "functional"} {
		l.Record(Entry{Action: action, Account: []string{"ada", "bo"}[i%2], OK: i > 0, Error: strings.Repeat("conflict", 1-min(i, 1))})
	}
	flush(l)
	tests := []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "deploy functions.release functions.remove functional"},
		{"of an account", Query{Account: "bo"}, "functions.release functional"},
		{"of an action and those below it", Query{Action: "functions"}, "functions.release functions.remove"},
		{"the latest", Query{Limit: 1}, "functional"},
		{"the latest of an account", Query{Limit: 1, Account: "ada"}, "functions.remove"},
		{"since a time to come", Query{Since: time.Now().Add(time.Hour)}, ""},
		{"since a time before", Query{Since: time.Now().Add(-time.Hour), Limit: 10}, "deploy functions.release functions.remove functional"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, r := range read(t, l, test.q) {
				got = append(got, r.Action)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
	first := read(t, l, Query{})[0]
	if first.Sequence != 1 || first.Node != "n1" || first.OK || first.Error != "conflict" || first.Prev != "" || first.Time.IsZero() {
		t.Errorf("the first one is %+v", first)
	}
	if v := verify(t, l); v.Records != 4 || v.Broken != 0 || v.First != 1 || v.Last != 4 || v.Hash == "" {
		t.Errorf("verified: %+v", v)
	}
}

func TestNodesAppendToOneChain(t *testing.T) {
	b := startBus(t, t.TempDir())
	const nodes, each = 3, 60
	var wg sync.WaitGroup
	var one *Log
	for n := range nodes {
		l := open(t, b, func(c *Config) { c.Node = fmt.Sprint("n", n) })
		one = l
		wg.Go(func() {
			for range each {
				l.Record(Entry{Action: "deploy", OK: true})
			}
			flush(l)
		})
	}
	wg.Wait()
	if v := verify(t, one); v.Records != nodes*each || v.Broken != 0 || v.Missing != 0 {
		t.Errorf("of %d records: %+v", nodes*each, v)
	}
}

func TestAChainGoesOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for _, run := range []string{"the first run", "the second run"} {
		t.Run(run, func(t *testing.T) {
			l := open(t, startBus(t, dir), nil)
			l.Record(Entry{Action: "deploy"})
			flush(l)
		})
	}
	l := open(t, startBus(t, dir), nil)
	if v := verify(t, l); v.Records != 2 || v.Broken != 0 {
		t.Errorf("%+v", v)
	}
	if list := read(t, l, Query{}); len(list) != 2 || list[1].Prev == "" {
		t.Errorf("%+v", list)
	}
}

func TestWhatWasChangedIsFound(t *testing.T) {
	record := func(action, prev string) string { return fmt.Sprintf(`{"action":%q,"prev":%q}`, action, prev) }
	tests := []struct {
		name   string
		change func(list []string) []string // what is stored instead
		broken uint64
		reason string
	}{
		{"nothing", func(list []string) []string { return list }, 0, ""},
		{"a record", func(list []string) []string {
			list[1] = strings.Replace(list[1], "b", "x", 1)
			return list
		}, 3, "was changed"},
		{"a record taken out", func(list []string) []string { return append(list[:1], list[2:]...) }, 2, "was changed"},
		{"a begin", func(list []string) []string { return list[1:] }, 1, "names one before"},
		{"no record", func(list []string) []string {
			list[2] = "{"
			return list
		}, 3, "cannot be read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := startBus(t, t.TempDir())
			l := open(t, b, nil)
			js, err := jetstream.New(b.Control())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), l.stream()); err != nil {
				t.Fatal(err)
			}
			var list []string
			prev := ""
			for _, action := range []string{"a", "b", "c", "d"} {
				list = append(list, record(action, prev))
				prev = hashOf([]byte(list[len(list)-1]))
			}
			for _, text := range test.change(list) {
				if _, err := js.Publish(t.Context(), subject, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			v := verify(t, l)
			if v.Broken != test.broken || !strings.Contains(v.Reason, test.reason) {
				t.Errorf("%+v, want %d %q", v, test.broken, test.reason)
			}
		})
	}
}

func TestTheServerTakesNoRecordOut(t *testing.T) {
	b := startBus(t, t.TempDir())
	l := open(t, b, nil)
	l.Record(Entry{Action: "deploy"})
	flush(l)
	s, err := l.js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a record was deleted")
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("the stream was purged")
	}
}

func TestVerifyingBeginsAtTheOldestRecordThatIsKept(t *testing.T) {
	b := startBus(t, t.TempDir())
	l := open(t, b, nil)
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	cfg := l.stream()
	cfg.DenyPurge = false
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		l.Record(Entry{Action: "deploy"})
	}
	flush(l)
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(3)); err != nil { // as their age does
		t.Fatal(err)
	}
	if v := verify(t, l); v.Broken != 0 || v.First != 3 || v.Records != 2 {
		t.Errorf("%+v", v)
	}
}

func TestWhatCannotBeStoredIsLoggedAndCounted(t *testing.T) {
	b := startBus(t, t.TempDir())
	js, err := jetstream.New(b.Control())
	if err != nil {
		t.Fatal(err)
	}
	// A stream of that name which somebody else has made.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: Stream, Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	l := open(t, b, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	l.Record(Entry{Action: "deploy", Account: "ada", Resource: "function:orders"})
	for deadline := time.Now().Add(time.Minute); l.missing.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the entry was not given up")
		}
	}
	if err := js.DeleteStream(t.Context(), Stream); err != nil {
		t.Fatal(err)
	}
	l.Record(Entry{Action: "release"})
	flush(l)
	if text := out.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "account=ada") || !strings.Contains(text, "somebody else's") {
		t.Errorf("the log has %s", text)
	}
	list := read(t, l, Query{})
	if len(list) != 1 || list[0].Action != "release" || list[0].Missing != 1 {
		t.Errorf("stored is %+v", list)
	}
	l.Record(Entry{Action: "late"})
	if !strings.Contains(out.String(), "action=late") {
		t.Error("an entry after Close is lost without a word")
	}
}

func TestFollowingGoesOnFromTheFirstRecord(t *testing.T) {
	b := startBus(t, t.TempDir())
	l := open(t, b, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Read(ctx, Query{Follow: true, Limit: 5}, func(r Record) error { got <- r.Action; return nil })
	}()
	for _, action := range []string{"one", "two"} {
		l.Record(Entry{Action: action})
		select {
		case a := <-got:
			if a != action {
				t.Errorf("got %s, want %s", a, action)
			}
		case err := <-ended:
			t.Fatalf("following ended: %v", err)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("following ended with %v", err)
	}
}

func TestReadingLeavesNothingBehind(t *testing.T) {
	b := startBus(t, t.TempDir())
	l := open(t, b, nil)
	l.Record(Entry{Action: "deploy"})
	flush(l)
	for _, q := range []Query{{}, {Limit: 1}, {Since: time.Now().Add(time.Hour)}} {
		read(t, l, q)
	}
	l.Read(t.Context(), Query{}, func(Record) error { return errors.New("enough") })
	verify(t, l)
	s, err := l.js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}
