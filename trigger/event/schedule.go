package event

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/trigger"
)

// Schedules are messages of a stream of their own, which the server publishes
// anew, on a subject beside, whenever it is time. What it publishes is an event
// like others, with retries and dead letters. The stream keeps one message of each
// subject: of runs that were missed, one is left.
const (
	ScheduleStream = "schedules"
	schedulePrefix = "schedule."
	tickPrefix     = "tick."
)

// newScheduled returns the reader of a schedule.
func newScheduled(t *Trigger, function string, s *manifest.Schedule) *reader {
	sum := sha256.Sum256([]byte(s.Pattern() + "|" + s.Zone + "|" + s.Endpoint))
	id := fmt.Sprintf("%s.%x", function, sum[:4])
	spec := manifest.Event{
		Subject: tickPrefix + id, Stream: ScheduleStream, Endpoint: s.Endpoint, Start: "all", Retries: s.Retries,
		Backoff: time.Second, BackoffMax: time.Minute, InFlight: 1,
	}
	source := Source{Kind: trigger.Schedule, ID: id, Name: s.String(), Spec: spec}
	return &reader{t: t, key: scheduleKey(id), function: function, schedule: *s, id: id, source: source, spec: spec}
}

// setSchedule has the server keep a schedule, if it does not already.
func (r *reader) setSchedule(ctx context.Context) error {
	t := r.t
	t.streams.Lock()
	defer t.streams.Unlock()
	stream, err := t.ownStream(ctx, jetstream.StreamConfig{
		Name: ScheduleStream, Description: "schedules of functions", Subjects: []string{schedulePrefix + ">", tickPrefix + ">"},
		MaxMsgsPerSubject: 1, AllowMsgSchedules: true, AllowMsgTTL: true, AllowDirect: true, AllowRollup: true,
	})
	if err != nil {
		return err
	}
	m := nats.NewMsg(schedulePrefix + r.id)
	m.Header.Set("Nats-Schedule", r.schedule.Pattern())
	m.Header.Set("Nats-Schedule-Target", tickPrefix+r.id)
	if r.schedule.Zone != "" {
		m.Header.Set("Nats-Schedule-Time-Zone", r.schedule.Zone)
	}
	last, err := stream.GetLastMsgForSubject(ctx, m.Subject)
	if err == nil && last.Header.Get("Nats-Schedule") == r.schedule.Pattern() && last.Header.Get("Nats-Schedule-Time-Zone") == r.schedule.Zone {
		return nil // a new one would begin to count anew
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("schedule: %w", err)
	}
	if _, err := t.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("schedule %q: %w", r.schedule.Pattern(), err)
	}
	return nil
}

// mostLate is how late a run may begin that is not missed.
const mostLate = time.Minute

// skipMissed takes a run off that was missed, and reports whether it has done so. A tick
// that the server has published late, after it was down, bears the time of that; so
// what counts for cron is the pattern's own time. A run that has begun before is none
// of them.
func (r *reader) skipMissed(m jetstream.Msg, meta *jetstream.MsgMetadata) bool {
	if r.schedule.Missed != "skip" || meta.NumDelivered > 1 || !r.missed(meta.Timestamp, time.Now()) {
		return false
	}
	r.skipped.Add(1)
	r.t.log.Warn("a run that was missed is skipped", "function", r.function, "schedule", r.schedule.String(), "stored", meta.Timestamp)
	if err := m.Ack(); err != nil {
		r.t.log.Warn("a run that was skipped may come again: "+err.Error(), "function", r.function)
	}
	return true
}

// missed reports whether the time of a tick that was stored then has passed.
func (r *reader) missed(stored, now time.Time) bool {
	if r.schedule.Every > 0 {
		return now.Sub(stored) > mostLate
	}
	due := r.schedule.Next(now.Add(-mostLate - time.Nanosecond))
	return due.IsZero() || due.After(stored.Add(time.Second)) // the server's clock need not be this one
}

// next returns when the schedule's next run is, nil if that is not known.
func (r *reader) next(ctx context.Context, stream jetstream.Stream) *time.Time {
	at := r.schedule.Next(time.Now())
	if r.schedule.Every > 0 {
		if m, err := stream.GetLastMsgForSubject(ctx, r.spec.Subject); err == nil {
			at, _ = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Schedule-Next"))
		} else if m, err := stream.GetLastMsgForSubject(ctx, schedulePrefix+r.id); err == nil {
			at = m.Time.Round(time.Second).Add(r.schedule.Every) // as the server does
		}
	}
	if at.IsZero() {
		return nil
	}
	return &at
}

// endSchedule has the server forget a schedule.
func (t *Trigger) endSchedule(id string) {
	ctx, cancel := context.WithTimeout(t.work, setupTimeout)
	defer cancel()
	stream, err := t.js.Stream(ctx, ScheduleStream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(schedulePrefix+id))
	}
	if seen, e := t.js.Stream(ctx, SeenStream); e == nil {
		seen.Purge(ctx, jetstream.WithPurgeSubject(lastRunSubject(scheduleKey(id))))
	}
	if err != nil && ctx.Err() == nil {
		t.log.Warn("a schedule goes on although it is no more: "+err.Error(), "function", functionOf(id))
	}
}

// functionOf returns the function of a schedule's id.
func functionOf(id string) string {
	function, _, _ := strings.Cut(id, ".")
	return function
}

// strayWait is how long the readers of another host have to come back after their
// server was away.
const strayWait = 30 * time.Second

// ForgetSchedules ends those schedules that the server keeps for what ended while no
// host ran: of functions that known does not know, and of the others when they are
// there, without that schedule. It is called once, when the names of all functions
// are known, whether they are there already or not. It returns at once.
//
// Other hosts may share the server and have other functions. A schedule whose runs
// somebody waits for is left alone, and, unless alone says that the server is this
// host's own, also one for which somebody did so within a week.
func (t *Trigger) ForgetSchedules(known func(function string) bool, alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.tasks.Go(func() {
			if err := t.forgetSchedules(known, alone); err != nil && t.ctx.Err() == nil {
				t.log.Warn("schedules of functions that are no more may go on: " + err.Error())
			}
		})
	}
}

func (t *Trigger) forgetSchedules(known func(function string) bool, alone bool) error {
	kept, err := t.keptSchedules()
	if err != nil {
		return err
	}
	strays, unknown := make(map[string]bool), []string(nil)
	for _, id := range kept {
		if known(functionOf(id)) {
			strays[id] = true
		} else {
			unknown = append(unknown, id)
		}
	}
	t.mu.Lock()
	t.strays = strays
	t.endStrays()
	t.mu.Unlock()
	left, err := t.endUnread(unknown, false)
	if err != nil || len(left) == 0 || !alone {
		return err
	}
	select {
	case <-time.After(t.strayWait):
	case <-t.ctx.Done():
		return nil
	}
	_, err = t.endUnread(slices.DeleteFunc(left, func(id string) bool { return known(functionOf(id)) }), true)
	return err
}

// endUnread ends those schedules for whose runs nobody waits, or has waited for a
// week, and returns the others.
func (t *Trigger) endUnread(ids []string, now bool) (left []string, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, setupTimeout)
	defer cancel()
	for _, id := range ids {
		c, err := t.js.Consumer(ctx, ScheduleStream, scheduleKey(id))
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil, err
		}
		if err == nil && (!now || c.CachedInfo().NumWaiting > 0 || c.CachedInfo().NumAckPending > 0) {
			left = append(left, id)
			continue
		}
		t.log.Info("a schedule ends whose function is no more", "function", functionOf(id))
		t.endSchedule(id)
	}
	return left, nil
}

// keptSchedules returns the ids of the schedules that the server keeps.
func (t *Trigger) keptSchedules() (ids []string, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, setupTimeout)
	defer cancel()
	stream, err := t.js.Stream(ctx, ScheduleStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(schedulePrefix+">"))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		ids = append(ids, strings.TrimPrefix(subject, schedulePrefix))
	}
	return ids, nil
}

// endStrays ends the schedules that functions do not have which are there by now.
// t.mu is held.
func (t *Trigger) endStrays() {
	for id := range t.strays {
		if t.table == nil || t.table.Functions[functionOf(id)] == nil {
			continue
		}
		delete(t.strays, id)
		if t.readers[scheduleKey(id)] == nil {
			t.tasks.Go(func() { t.endSchedule(id) })
		}
	}
}

// scheduleKey is the key of the reader of a schedule.
func scheduleKey(id string) string { return "fn_" + strings.Replace(id, ".", "_tick_", 1) }
