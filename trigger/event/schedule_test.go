package event

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// scheduled returns a table of functions, "name" → its schedules.
func scheduled(functions map[string][]manifest.Schedule) *trigger.Table {
	t := &trigger.Table{Functions: make(map[string]*trigger.Function)}
	for name, list := range functions {
		m := manifest.Default()
		m.Triggers.Schedule = list
		t.Functions[name] = &trigger.Function{Name: name, Version: "v1", Manifest: m}
	}
	return t
}

// schedule has the trigger know one function, shop, and waits until it is set up.
func (f *fixture) schedule(list ...manifest.Schedule) {
	f.t.Helper()
	f.trigger.Update(scheduled(map[string][]manifest.Schedule{"shop": list}))
	f.await("the schedules are set up", func() bool {
		return !slices.ContainsFunc(f.trigger.Status(f.t.Context()), func(s Status) bool { return s.Error != "" })
	})
}

// Each tick runs the function once, whatever is stopped and started in between.
func TestATickRunsOnceAlsoAcrossRestarts(t *testing.T) {
	for name, s := range map[string]manifest.Schedule{"cron": {Cron: "* * * * * *", Zone: "Europe/Berlin"}, "every": {Every: time.Second}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			announced := make(map[string][]int64) // what a tick says of the next one → ticks
			f.set(func(ctx context.Context, c call) error {
				stream, err := f.js.Stream(ctx, ScheduleStream)
				if err != nil {
					return nil
				}
				if m, err := stream.GetMsg(ctx, uint64(c.sequence)); err == nil {
					next := m.Header.Get("Nats-Schedule-Next")
					announced[next] = append(announced[next], c.sequence)
				}
				return nil
			})
			for i := range 6 {
				f.schedule(s)
				before := len(f.seen())
				f.await("a run", func() bool { return len(f.seen()) > before+i%2 })
				if i%3 == 0 {
					f.close(f.trigger)
					f.trigger = f.open()
				} else {
					f.restart()
				}
			}
			times := make(map[int64]int)
			for _, c := range f.seen() {
				if times[c.sequence]++; times[c.sequence] > 1 {
					t.Errorf("tick %d ran %d times", c.sequence, times[c.sequence])
				}
			}
			for next, ticks := range announced {
				if len(ticks) > 1 {
					t.Errorf("ticks %v are one, after which %s comes", ticks, next)
				}
			}
			if len(announced) == 0 {
				t.Error("no tick was looked at")
			}
		})
	}
}

func TestMissed(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, "2026-03-29T"+s+"Z") // summer time begins at 01:00 UTC
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	nightly, minutely, hourly := manifest.Schedule{Cron: "30 3 * * *", Zone: "Europe/Berlin"}, manifest.Schedule{Cron: "* * * * *"}, manifest.Schedule{Every: time.Hour}
	for _, test := range []struct {
		name        string
		s           manifest.Schedule
		stored, now string
		want        bool
	}{
		{"in time", nightly, "01:30:00", "01:30:00", false},
		{"by a clock that is slow", nightly, "01:29:59", "01:29:59", false},
		{"half a minute late", nightly, "01:30:00", "01:30:30", false},
		{"stored in time, begun late", nightly, "01:30:00", "05:00:00", true},
		{"stored late by a server that was down", nightly, "05:00:00", "05:00:00", true},
		{"as winter time would have it", nightly, "02:30:00", "02:30:00", true},
		{"late, when the next one is due", minutely, "05:00:30", "05:00:30", false},
		{"waited, when others are due", minutely, "05:00:00", "05:03:30", true},
		{"an interval in time", hourly, "05:00:00", "05:00:59", false},
		{"an interval that waited", hourly, "05:00:00", "05:01:01", true},
		{"begun by a clock that was set back", nightly, "01:30:00", "00:10:00", false},
		{"an interval, by a clock that was set back", hourly, "05:00:00", "04:00:00", false},
	} {
		r := &reader{schedule: test.s}
		if got := r.missed(at(test.stored), at(test.now)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestMissedRuns(t *testing.T) {
	for _, missed := range []string{"run", "skip", ""} { // "" is of a version that was deployed before there was a choice
		t.Run(missed, func(t *testing.T) {
			f := newFixture(t)
			f.schedule(manifest.Schedule{Cron: "0 0 1 1 *", Missed: missed})
			if s := f.status(); s.Schedule != "0 0 1 1 *" || s.Subject != "" || s.Kind != trigger.Schedule || s.Next == nil || s.Next.Before(time.Now()) {
				t.Errorf("status %+v", s)
			}
			id := strings.Replace(strings.TrimPrefix(f.status().Consumer, "fn_"), "_tick_", ".", 1)
			if _, err := f.js.Publish(t.Context(), tickPrefix+id, nil); err != nil { // as the server does, late
				t.Fatal(err)
			}
			f.await("it is dealt with", func() bool {
				s := f.status()
				return s.Pending+uint64(s.InFlight) == 0 && s.Skipped+uint64(len(f.seen())) > 0
			})
			if s := f.status(); missed == "skip" && (s.Skipped != 1 || len(f.seen()) != 0) || missed != "skip" && (s.Skipped != 0 || len(f.seen()) != 1) {
				t.Errorf("%d runs, status %+v", len(f.seen()), s)
			}
		})
	}
}

// A retry of a run that has begun in time is not missed, however late it is.
func TestARetryIsNotMissed(t *testing.T) {
	r := &reader{schedule: manifest.Schedule{Every: time.Hour, Missed: "skip"}}
	if r.skipMissed(nil, &jetstream.MsgMetadata{NumDelivered: 2, Timestamp: time.Now().Add(-time.Hour)}) {
		t.Error("it is skipped")
	}
}

func TestAPolicyThatChanges(t *testing.T) {
	f := newFixture(t)
	f.schedule(manifest.Schedule{Every: time.Hour, Missed: "run"})
	f.schedule(manifest.Schedule{Every: time.Hour, Missed: "skip"})
	f.trigger.mu.Lock()
	defer f.trigger.mu.Unlock()
	for _, r := range f.trigger.readers {
		if r.schedule.Missed != "skip" {
			t.Errorf("the schedule is %+v", r.schedule)
		}
	}
}

// Of the runs of a pause one is left.
func TestAPausedSchedule(t *testing.T) {
	f := newFixture(t)
	f.schedule(manifest.Schedule{Every: time.Second})
	f.await("a run", func() bool { return len(f.seen()) > 0 })
	if list, err := f.trigger.Pause(t.Context(), "shop", "every 1s", time.Time{}); err != nil || !list[0].Paused {
		t.Fatalf("%+v, %v", list, err)
	}
	f.await("what had begun ends", func() bool { return f.status().InFlight == 0 })
	stream, err := f.js.Stream(t.Context(), ScheduleStream)
	if err != nil {
		t.Fatal(err)
	}
	last := func() uint64 {
		m, err := stream.GetLastMsgForSubject(t.Context(), tickPrefix+">")
		if err != nil {
			return 0
		}
		return m.Sequence
	}
	before, paused := last(), len(f.seen())
	f.await("three ticks", func() bool { return last() >= before+3 })
	if n := len(f.seen()); n != paused || f.status().Pending > 1 {
		t.Errorf("%d runs in the pause; status %+v", n-paused, f.status())
	}
	if _, err := f.trigger.Resume(t.Context(), "shop", ""); err != nil {
		t.Fatal(err)
	}
	f.await("the run that is left", func() bool { return len(f.seen()) > paused })
	if c := f.seen()[paused]; c.sequence < int64(before)+3 {
		t.Errorf("%+v is not the latest one", c)
	}
}

// kept returns the functions of the schedules that the server keeps.
func (f *fixture) kept() string {
	f.t.Helper()
	ids, err := f.trigger.keptSchedules()
	if err != nil {
		f.t.Fatal(err)
	}
	for i, id := range ids {
		ids[i] = functionOf(id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// What ended while no host ran is forgotten; what is not loaded yet, or does not
// build, is not.
func TestSchedulesOfNoFunction(t *testing.T) {
	f := newFixture(t)
	hourly, daily := manifest.Schedule{Every: time.Hour}, manifest.Schedule{Cron: "@daily"}
	f.trigger.Update(scheduled(map[string][]manifest.Schedule{"gone": {hourly}, "changed": {hourly, daily}, "slow": {hourly}, "broken": {hourly}}))
	f.await("all are kept", func() bool { return f.kept() == "broken changed changed gone slow" })
	f.await("all are read", func() bool {
		return !slices.ContainsFunc(f.trigger.Status(t.Context()), func(s Status) bool { return s.Error != "" })
	})
	f.restart()
	f.trigger.strayWait = 10 * time.Millisecond
	known := func(name string) bool { return name != "gone" }
	f.trigger.ForgetSchedules(known, true)
	f.await("that of no function is gone", func() bool { return f.kept() == "broken changed changed slow" })
	now := map[string][]manifest.Schedule{"changed": {daily}}
	f.trigger.Update(scheduled(now))
	f.await("that of no trigger is gone", func() bool { return f.kept() == "broken changed slow" })
	now["slow"] = []manifest.Schedule{hourly}
	f.trigger.Update(scheduled(now))
	f.await("slow is there", func() bool { return len(f.trigger.Status(t.Context())) == 2 })
	if got := f.kept(); got != "broken changed slow" {
		t.Errorf("schedules of %s are left", got)
	}
}

// Another host may have functions that this one knows nothing of.
func TestSchedulesOfAnotherHost(t *testing.T) {
	f := newFixture(t)
	f.schedule(manifest.Schedule{Every: time.Hour})
	nobody := func(string) bool { return false }
	f.await("the reader waits", func() bool {
		c, err := f.js.Consumer(t.Context(), ScheduleStream, f.status().Consumer)
		return err == nil && c.CachedInfo().NumWaiting > 0
	})
	other := f.open()
	other.strayWait = time.Millisecond
	for _, alone := range []bool{true, false} {
		if err := other.forgetSchedules(nobody, alone); err != nil || f.kept() != "shop" {
			t.Errorf("alone %v: schedules of %q are left, %v", alone, f.kept(), err)
		}
	}
	key := f.status().Consumer
	f.close(f.trigger)
	f.trigger = other
	if err := other.forgetSchedules(nobody, false); err != nil || f.kept() != "shop" {
		t.Errorf("of a host that may come back: schedules of %q are left, %v", f.kept(), err)
	}
	if err := f.js.DeleteConsumer(t.Context(), ScheduleStream, key); err != nil { // as the server does after a week
		t.Fatal(err)
	}
	if err := other.forgetSchedules(nobody, false); err != nil || f.kept() != "" {
		t.Errorf("of a host that is gone: schedules of %q are left, %v", f.kept(), err)
	}
}

// Retries are counted across restarts of the server too, up to the dead letter.
func TestAttemptsAreCountedAcrossRestarts(t *testing.T) {
	f := newFixture(t)
	f.set(func(context.Context, call) error { return failing(wire.Internal, 200*time.Millisecond) })
	s := spec("a")
	f.serve(s)
	f.publish("a", "x")
	for i := range 3 {
		f.await(fmt.Sprint("attempt ", i+1), func() bool { return len(f.seen()) > i })
		f.restart()
		f.serve(s)
	}
	f.await("a dead letter", func() bool { return len(f.letters()) == 1 })
	l := f.letters()[0]
	var attempts []int64
	for _, c := range f.seen() {
		attempts = append(attempts, c.attempt)
	}
	if l.Attempts != 4 || !slices.Equal(attempts, []int64{1, 2, 3, 4}) {
		t.Errorf("attempts %v, and a dead letter of %d", attempts, l.Attempts)
	}
}
