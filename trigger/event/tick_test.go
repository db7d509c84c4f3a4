package event

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

// A server that was killed may publish a tick again.
func TestATickThatTheServerRepeats(t *testing.T) {
	for name, s := range map[string]manifest.Schedule{"cron": {Cron: "0 0 3 1 1 *"}, "every": {Every: 24 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.schedule(s)
			skipped := func() int { return int(f.trigger.Status(t.Context())[0].Skipped) }
			for i := range 3 {
				if _, err := f.js.PublishMsg(t.Context(), nats.NewMsg(f.readers()[0].spec.Subject)); err != nil {
					t.Fatal(err)
				}
				f.await("it was looked at", func() bool { return len(f.seen())+skipped() == i+1 })
			}
			if len(f.seen()) != 1 || skipped() != 2 {
				t.Errorf("%d runs, %d skipped, want 1 and 2", len(f.seen()), skipped())
			}
			f.restart() // which forgets nothing of that
			f.schedule(s)
			if _, err := f.js.PublishMsg(t.Context(), nats.NewMsg(f.readers()[0].spec.Subject)); err != nil {
				t.Fatal(err)
			}
			f.await("it was looked at", func() bool { return skipped() == 1 })
			if len(f.seen()) != 1 {
				t.Errorf("%d runs", len(f.seen()))
			}
		})
	}
}

// A clock that is set ahead over several times, or back, has no tick run twice, and
// keeps none from running.
func TestTicksOfAClockThatJumps(t *testing.T) {
	minutely, tens := manifest.Schedule{Every: time.Minute}, manifest.Schedule{Cron: "*/10 * * * *"}
	type tick struct {
		stored string
		runs   bool
	}
	for _, test := range []struct {
		name     string
		schedule manifest.Schedule
		ticks    []tick
	}{
		{"cron, ahead", tens, []tick{{"10:00:00.004", true}, {"13:17:00", true}, {"13:17:05", false}, {"13:20:00.002", true}, {"13:20:03", false}}},
		{"cron, back", tens, []tick{{"10:00:00.004", true}, {"09:00:00.002", true}, {"09:00:03", false}, {"09:10:00", true}, {"10:00:00", true}}},
		{"cron, back within a time", tens, []tick{{"10:00:03", true}, {"10:00:00.002", false}, {"10:10:00.002", true}}},
		{"cron, ahead and back", tens, []tick{{"10:00:00.004", true}, {"22:10:00", true}, {"10:10:00", true}, {"10:20:00", true}}},
		{"every, ahead", minutely, []tick{{"10:00:00", true}, {"12:00:10", true}, {"12:00:12", false}, {"12:01:10", true}}},
		{"every, back", minutely, []tick{{"10:00:00", true}, {"09:30:10", true}, {"09:30:12", false}, {"09:31:10", true}, {"09:31:09", false}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if err := f.trigger.ensureSeen(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := newScheduled(f.trigger, "shop", &test.schedule) // which no server knows of
			for i, tick := range test.ticks {
				at, err := time.Parse(time.RFC3339Nano, "2026-03-02T"+tick.stored+"Z")
				if err != nil {
					t.Fatal(err)
				}
				meta := &jetstream.MsgMetadata{Timestamp: at, Sequence: jetstream.SequencePair{Stream: uint64(i + 1)}}
				if repeated := r.isRepeated(meta); repeated == tick.runs {
					t.Errorf("the tick of %s is skipped: %v", tick.stored, repeated)
				}
				if tick.runs && r.isRepeated(meta) {
					t.Errorf("the tick of %s does not run when it comes again", tick.stored)
				}
			}
		})
	}
}

// readers returns those of the trigger.
func (f *fixture) readers() (list []*reader) {
	f.trigger.mu.Lock()
	defer f.trigger.mu.Unlock()
	for _, r := range f.trigger.readers {
		list = append(list, r)
	}
	return list
}

func TestRunsThatAreOneAndRunsThatWereMissed(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, "2026-03-02T"+text+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		schedule     manifest.Schedule
		before, then string
		same         bool
		overdue      string
	}{
		{manifest.Schedule{Cron: "*/20 * * * * *"}, "10:00:20.004", "10:00:24", true, ""},
		{manifest.Schedule{Cron: "*/20 * * * * *"}, "10:00:20.004", "10:00:40.001", false, ""},
		{manifest.Schedule{Cron: "*/20 * * * * *"}, "10:00:19.999", "10:00:24", true, ""}, // a server's clock that is a bit fast
		{manifest.Schedule{Cron: "*/20 * * * * *"}, "10:00:20.004", "10:00:39.999", false, ""},
		{manifest.Schedule{Cron: "*/20 * * * * *"}, "10:00:20.004", "10:00:43", false, "10:00:40"},
		{manifest.Schedule{Cron: "30 3 * * *", Zone: "Europe/Berlin"}, "02:30:00", "23:00:00", true, ""},
		{manifest.Schedule{Cron: "30 3 * * *", Zone: "Europe/Berlin"}, "02:29:00", "02:40:00", false, "02:30:00"},
		{manifest.Schedule{Cron: "30 3 * * *", Zone: "Europe/Berlin"}, "02:30:00.004", "01:00:00", false, ""}, // the clock was set back
		{manifest.Schedule{Cron: "30 3 * * *", Zone: "Europe/Berlin"}, "02:30:03", "02:30:00.002", true, ""},
		{manifest.Schedule{Every: time.Minute}, "10:00:00", "09:00:00", false, ""},
		{manifest.Schedule{Every: time.Minute}, "10:00:00", "09:59:50", true, ""},
		{manifest.Schedule{Every: time.Minute}, "10:00:00", "10:00:10", true, ""},
		{manifest.Schedule{Every: time.Minute}, "10:00:00", "10:01:00", false, ""},
		{manifest.Schedule{Every: time.Minute}, "10:00:00", "10:05:00", false, "10:01:30"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.schedule.String(), " ", test.then), func(t *testing.T) {
			r := &reader{schedule: test.schedule}
			if got := r.isSameRun(at(test.before), at(test.then)); got != test.same {
				t.Errorf("the same run: %v", got)
			}
			want := time.Time{}
			if test.overdue != "" {
				want = at(test.overdue)
			}
			if got := r.overdue(at(test.before), at(test.then)); !got.Equal(want) {
				t.Errorf("overdue since %v, want %v", got, want)
			}
		})
	}
}
