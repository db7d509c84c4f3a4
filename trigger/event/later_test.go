package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

// later returns a message that is due after d, with headers in pairs.
func later(subject, text string, d time.Duration, headers ...string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(text)
	m.Header.Set(headerSchedule, "@at "+time.Now().Add(d).Format(time.RFC3339Nano))
	for i := 0; i < len(headers); i += 2 {
		m.Header.Add(headers[i], headers[i+1])
	}
	return m
}

// delay publishes a message that must be stored until it is due.
func (f *fixture) delay(m *nats.Msg) Stored {
	f.t.Helper()
	stored, err := f.trigger.Publish(f.t.Context(), m)
	if err != nil || stored.Stream != LaterStream {
		f.t.Fatalf("%s is stored in %q, %v", m.Subject, stored.Stream, err)
	}
	return stored
}

// waiting returns how many messages wait to be published.
func (f *fixture) waiting() int {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), LaterStream)
	if err != nil {
		f.t.Fatal(err)
	}
	return int(stream.CachedInfo().State.Msgs)
}

func TestMessagesThatArePublishedLater(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	begin := time.Now()
	for text, d := range map[string]time.Duration{"short": 300 * time.Millisecond, "second": 1100 * time.Millisecond, "long": 2500 * time.Millisecond} {
		f.delay(later("shop.order", text, d, "X-Color", "red", HeaderDepth, "3"))
	}
	f.delay(later("shop.order", "hour", time.Hour))
	if stored, err := f.trigger.Publish(t.Context(), later("shop.order", "past", -time.Hour)); err != nil || stored.Stream != EventStream {
		t.Errorf("the past: %+v, %v", stored, err)
	}
	f.await("all that is due is handled", func() bool { return len(f.seen("short", "second", "long", "past")) == 4 })
	for _, c := range f.seen() {
		want := map[string]time.Duration{"short": 300 * time.Millisecond, "second": 1100 * time.Millisecond, "long": 2500 * time.Millisecond}[c.text]
		if c.at.Sub(begin) < want || c.subject != "shop.order" || c.text != "past" && c.depth != 3 {
			t.Errorf("%+v after %v", c, c.at.Sub(begin))
		}
	}
	f.await("one still waits", func() bool { return f.waiting() == 1 })
	events, err := f.js.Stream(t.Context(), EventStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := events.GetMsg(t.Context(), 2)
	if err != nil || m.Header.Get("X-Color") != "red" {
		t.Errorf("%v, %v", m, err)
	}
	for key := range m.Header {
		if strings.HasPrefix(key, "Fn-Later") || strings.HasPrefix(key, "Nats-Schedule") {
			t.Errorf("header %s", key)
		}
	}
}

// What came due while nobody ran is published by who comes next.
func TestMessagesThatCameDueMeanwhile(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	const n = 50
	for i := range n {
		f.delay(later("shop.order", fmt.Sprint(i), time.Duration(i%2)*time.Second+500*time.Millisecond))
	}
	f.close(f.trigger)
	time.Sleep(1700 * time.Millisecond) // the time of all of them passes
	f.trigger = f.open()
	f.serve(spec("shop.*"))
	f.await("all are handled", func() bool { return len(f.seen()) >= n })
	f.idle()
	f.await("nothing waits", func() bool { return f.waiting() == 0 })
	for i := range n {
		if got := len(f.seen(fmt.Sprint(i))); got != 1 {
			t.Errorf("%d was handled %d times", i, got)
		}
	}
}

// A trigger of a host that has delayed nothing finds what another one has.
func TestAnotherNodeForwards(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	f.delay(later("shop.order", "a", 1500*time.Millisecond))
	f.close(f.trigger)
	f.trigger = f.open()
	f.serve(spec("shop.*"))
	f.await("it is handled", func() bool { return len(f.seen("a")) == 1 })
}

func TestIDsOfMessagesThatArePublishedLater(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	id := []string{jetstream.MsgIDHeader, "one"}
	first := f.delay(later("shop.order", "first", time.Hour, id...))
	if again := f.delay(later("shop.order", "again", 2*time.Hour, id...)); !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("%+v, and again %+v", first, again)
	}
	if other := f.delay(later("shop.other", "other", time.Hour, id...)); other.Duplicate {
		t.Errorf("on another subject: %+v", other)
	}
	// After the stream's window.
	stream, err := f.js.Stream(t.Context(), LaterStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := f.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if again := f.delay(later("shop.order", "again", time.Hour, id...)); !again.Duplicate {
		t.Errorf("later again: %+v", again)
	}
	if again := f.delay(later("shop.order", "again", 200*time.Millisecond, id...)); !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("sooner again: %+v", again)
	}
	// And where it is published in the end.
	f.delay(later("shop.third", "delayed", 200*time.Millisecond, id...))
	if stored, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "shop.third", Data: []byte("at once"), Header: nats.Header{jetstream.MsgIDHeader: {"one"}}}); err != nil || stored.Duplicate {
		t.Errorf("%+v, %v", stored, err)
	}
	f.await("it was forwarded", func() bool { return f.waiting() == 2 })
	f.idle()
	if got := f.seen("delayed"); len(got) != 0 {
		t.Errorf("%+v, of an ID that the stream has", got)
	}
}

func TestHeadersThatContradictEachOther(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	f.stream("plain", "plain.*")
	tests := []struct {
		name string
		m    *nats.Msg
		want wire.Code
	}{
		{"a delay and a time", later("shop.a", "", time.Hour, headerSchedule, "@at 2026-01-01T00:00:00Z"), wire.BadRequest},
		{"two IDs", later("shop.a", "", 0, jetstream.MsgIDHeader, "a", jetstream.MsgIDHeader, "b"), wire.BadRequest},
		{"too far ahead", later("shop.a", "", MaxLater+time.Hour), wire.BadRequest},
		{"a sequence that is expected later", later("shop.a", "", time.Hour, headerExpect, "0"), wire.BadRequest},
		{"no time", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerSchedule: {"@at soon"}}}, wire.BadRequest},
		{"the zero time", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerSchedule: {"@at 0001-01-01T00:00:00Z"}}}, wire.BadRequest},
		{"a schedule", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerSchedule: {"@every 1h"}}}, wire.BadRequest},
		{"a roll-up later", later("shop.a", "", time.Hour, "Nats-Rollup", "all"), wire.BadRequest},
		{"a TTL of a fraction", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerTTL: {"1.5s"}}}, wire.BadRequest},
		{"a TTL below a second", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerTTL: {"500ms"}}}, wire.BadRequest},
		{"no TTL", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerTTL: {"0s"}}}, wire.BadRequest},
		{"a TTL for ever", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerTTL: {"9223372036854775807"}}}, wire.BadRequest},
		{"a TTL that the stream does not allow", &nats.Msg{Subject: "plain.a", Header: nats.Header{headerTTL: {"2s"}}}, wire.BadRequest},
		{"a sequence that is none", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerExpect: {"-1"}}}, wire.BadRequest},
		{"a sequence without a stream", &nats.Msg{Subject: "nobody.a", Header: nats.Header{headerExpect: {"0"}}}, wire.BadRequest},
		{"another sequence", &nats.Msg{Subject: "shop.a", Header: nats.Header{headerExpect: {"7"}}}, wire.Conflict},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stored, err := f.trigger.Publish(t.Context(), test.m)
			if e := wire.AsError(err); e == nil || e.Code != test.want {
				t.Errorf("%+v, %v; want %s", stored, err, test.want)
			}
		})
	}
	if got := f.seen(); len(got) > 0 {
		t.Errorf("handled %+v", got)
	}
}

func TestExpectedSequencesAndTTL(t *testing.T) {
	f := newFixture(t)
	f.serve(spec("shop.*"))
	for i, expect := range []string{"0", "1", "2"} {
		stored, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "shop.a", Header: nats.Header{headerExpect: {expect}, headerTTL: {"1s"}}})
		if err != nil || stored.Sequence != uint64(i+1) {
			t.Errorf("%+v, %v", stored, err)
		}
	}
	f.delay(later("shop.b", "b", 200*time.Millisecond, headerTTL, "1s"))
	f.await("all were handled", func() bool { return len(f.seen()) == 4 })
	stream, err := f.js.Stream(t.Context(), EventStream)
	if err != nil {
		t.Fatal(err)
	}
	f.await("all have gone", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
}

// A delayed message that its stream will never take becomes a dead letter, and is
// published when somebody redrives that.
func TestDelayedMessagesThatNoStreamTakes(t *testing.T) {
	f := newFixture(t)
	f.serve()
	cfg := jetstream.StreamConfig{Name: "small", Subjects: []string{"small.*"}, MaxMsgSize: 100}
	if _, err := f.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 200)
	if _, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "small.a", Data: []byte(text)}); !errors.Is(err, &wire.Error{Code: wire.TooLarge}) {
		t.Errorf("at once: %v", err)
	}
	f.delay(later("small.a", text, 100*time.Millisecond, "X-Color", "red"))
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	l := f.letters()[0]
	if l.Function != "" || l.Subject != "small.a" || l.Stream != LaterStream || l.Code != string(wire.TooLarge) || string(l.Data) != text || l.Header.Get("X-Color") != "red" {
		t.Errorf("%+v", l)
	}
	if err := f.trigger.Redrive(t.Context(), l.ID, ""); !errors.Is(err, &wire.Error{Code: wire.TooLarge}) || len(f.letters()) != 1 {
		t.Errorf("redriven: %v", err)
	}
	cfg.MaxMsgSize = 1000
	stream, err := f.js.UpdateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.trigger.Redrive(t.Context(), l.ID, ""); err != nil || len(f.letters()) != 0 {
		t.Errorf("redriven: %v", err)
	}
	if m, err := stream.GetMsg(t.Context(), 1); err != nil || string(m.Data) != text || m.Header.Get("X-Color") != "red" {
		t.Errorf("%v, %v", m, err)
	}
}

// A stream that is full takes a delayed message when there is room again.
func TestDelayedMessagesForAFullStream(t *testing.T) {
	f := newFixture(t)
	f.serve()
	cfg := jetstream.StreamConfig{Name: "full", Subjects: []string{"full.*"}, MaxMsgs: 1, Discard: jetstream.DiscardNew}
	stream, err := f.js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.publish("full.a", "first")
	f.delay(later("full.a", "second", 10*time.Millisecond))
	f.await("it was refused", func() bool {
		c, err := f.js.Consumer(t.Context(), LaterStream, "fn_later")
		return err == nil && c.CachedInfo().NumRedelivered > 0
	})
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await("it is there", func() bool {
		m, err := stream.GetMsg(t.Context(), 2)
		return err == nil && string(m.Data) == "second"
	})
	if n := len(f.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// Streams that somebody else has made under the host's names stay as they are, and
// who needs them is told.
func TestStreamsOfOthersUnderTheHostsNames(t *testing.T) {
	for name, of := range map[string]func(f *fixture) error{
		LaterStream: func(f *fixture) error {
			_, err := f.trigger.Publish(t.Context(), later("shop.a", "", time.Hour))
			return err
		},
		ScheduleStream: func(f *fixture) error {
			return newScheduled(f.trigger, "shop", &manifest.Schedule{Every: time.Hour}).setSchedule(f.t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			cfg := jetstream.StreamConfig{Name: name, Subjects: []string{"mine.>"}, MaxMsgs: 7}
			stream, err := f.js.CreateStream(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := of(f); err == nil || !strings.Contains(err.Error(), "the stream "+name+" is not the host's") {
				t.Errorf("%v", err)
			}
			info, err := stream.Info(t.Context())
			if err != nil || info.Config.MaxMsgs != 7 || len(info.Config.Subjects) != 1 || info.Config.Retention != jetstream.LimitsPolicy {
				t.Errorf("it is %+v now, %v", info, err)
			}
		})
	}
}

// The host's own stream of events, if somebody else has made it, is asked to take
// one subject more, and keeps all else.
func TestAStreamOfEventsThatSomebodyElseHasMade(t *testing.T) {
	f := newFixture(t)
	cfg := jetstream.StreamConfig{Name: EventStream, Subjects: []string{"mine.>"}, MaxMsgs: 7, MaxAge: time.Hour, Discard: jetstream.DiscardNew, Description: "mine"}
	stream, err := f.js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(spec("shop.*"))
	info, err := stream.Info(t.Context())
	if err != nil || info.Config.MaxMsgs != 7 || info.Config.MaxAge != time.Hour || info.Config.Discard != jetstream.DiscardNew || info.Config.Description != "mine" || len(info.Config.Subjects) != 2 {
		t.Errorf("it is %+v now, %v", info.Config, err)
	}
	for range 7 {
		f.publish("mine.a", "x")
	}
	if _, err := f.trigger.Publish(t.Context(), &nats.Msg{Subject: "shop.a"}); err == nil || !strings.Contains(err.Error(), "maximum messages exceeded") {
		t.Errorf("a stream that is full: %v", err)
	}
}

// Who ended between publishing what was due and saying so has published it all the
// same: it is forwarded again, and stored once.
func TestACrashBetweenPublishingAndAcknowledging(t *testing.T) {
	for name, headers := range map[string][]string{"without an ID": nil, "with one": {jetstream.MsgIDHeader, "one"}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.serve(spec("shop.*"))
			f.delay(later("shop.order", "a", 1200*time.Millisecond, headers...))
			f.close(f.trigger)
			stream, err := f.js.Stream(t.Context(), LaterStream)
			if err != nil {
				t.Fatal(err)
			}
			var m *jetstream.RawStreamMsg
			f.await("it is due", func() bool {
				m, err = stream.GetLastMsgForSubject(t.Context(), laterDue)
				return err == nil
			})
			f.trigger = f.open()
			out, at := due(&message{msg: &nats.Msg{Header: m.Header, Data: m.Data}})
			if _, err := f.trigger.publish(t.Context(), out); err != nil || time.Until(at) > 0 {
				t.Fatalf("%v, due at %v", err, at)
			}
			f.serve(spec("shop.*"))
			f.await("it left the stream", func() bool { return f.waiting() == 0 })
			f.idle()
			if n := len(f.seen("a")); n != 1 {
				t.Errorf("handled %d times", n)
			}
		})
	}
}
