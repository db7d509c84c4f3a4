package event

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
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
	r := &reader{
		t: t, key: fmt.Sprintf("fn_%s_tick_%x", function, sum[:4]), function: function, schedule: *s, id: id,
		spec: manifest.Event{
			Subject: tickPrefix + id, Stream: ScheduleStream, Endpoint: s.Endpoint, Start: "all", Retries: s.Retries,
			Backoff: time.Second, BackoffMax: time.Minute, InFlight: 1,
		},
	}
	return r
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

// endSchedule has the server forget a schedule.
func (r *reader) endSchedule() {
	ctx, cancel := context.WithTimeout(r.t.work, setupTimeout)
	defer cancel()
	stream, err := r.t.js.Stream(ctx, ScheduleStream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(schedulePrefix+r.id))
	}
	if err != nil && ctx.Err() == nil {
		r.t.log.Warn("a schedule goes on although it is no more: "+err.Error(), "function", r.function)
	}
}
