package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server that was killed takes its schedules up from what it had last written down,
// or from nothing: it may publish a tick once more, and not make up for one that was
// missed. So the latest run of each schedule is noted among the IDs that were handled,
// before it begins.

// run is one of a schedule.
type run struct {
	tick     uint64    // its sequence
	at       time.Time // when that was stored
	revision uint64    // of the note, 0 for none
}

func lastRunSubject(key string) string { return seenPrefix + key + ".last" }

// lastRun returns the latest run, as it was noted.
func (r *reader) lastRun(ctx context.Context) (run, error) {
	stream, err := r.t.js.Stream(ctx, SeenStream)
	if err != nil {
		return run{}, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, lastRunSubject(r.key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return run{}, nil
	}
	if err != nil {
		return run{}, err
	}
	last := run{revision: m.Sequence}
	var at int64
	if _, err := fmt.Sscan(string(m.Data), &last.tick, &at); err == nil {
		last.at = time.Unix(0, at)
	}
	return last, nil
}

// isRepeated reports whether a tick is for a run that has begun before, by another
// one. It notes the run of one that is not.
func (r *reader) isRepeated(meta *jetstream.MsgMetadata) bool {
	ctx, cancel := context.WithTimeout(r.t.work, setupTimeout)
	defer cancel()
	for {
		last, err := r.lastRun(ctx)
		switch {
		case err != nil:
		case last.tick == meta.Sequence.Stream: // it comes again
			return false
		case last.tick != 0 && r.isSameRun(last.at, meta.Timestamp):
			return true
		default:
			note := nats.NewMsg(lastRunSubject(r.key))
			note.Data = fmt.Appendf(nil, "%d %d", meta.Sequence.Stream, meta.Timestamp.UnixNano())
			_, err = r.t.js.PublishMsg(ctx, note, jetstream.WithExpectLastSequencePerSubject(last.revision), jetstream.WithExpectStream(SeenStream))
		}
		if err == nil {
			return false
		}
		if isWrongLast(err) && ctx.Err() == nil {
			continue // another node has noted one
		}
		r.t.log.Warn("a run of a schedule cannot be noted, and may be repeated after a crash: "+err.Error(), "function", r.function)
		return false
	}
}

// skipRepeated takes a tick off whose run has begun before, and reports whether it has
// done so.
func (r *reader) skipRepeated(m jetstream.Msg, meta *jetstream.MsgMetadata) bool {
	if !r.isRepeated(meta) {
		return false
	}
	r.skipped.Add(1)
	r.t.log.Info("a run of a schedule is skipped, which the server has published before", "function", r.function, "schedule", r.schedule.String())
	if err := m.Ack(); err != nil {
		r.t.log.Warn("a run that was skipped may come again: "+err.Error(), "function", r.function)
	}
	return true
}

// early is how much before its time the server's clock may let a run begin.
const early = 100 * time.Millisecond

// isSameRun reports whether a tick that was stored then is for the same time as one
// before it: no time of the schedule lies between them, whichever way the clock was set
// meanwhile.
func (r *reader) isSameRun(before, then time.Time) bool {
	if then.Before(before) {
		before, then = then, before
	}
	if r.schedule.Every > 0 {
		return then.Sub(before) < r.schedule.Every/2
	}
	next := r.schedule.Next(before.Add(early))
	return next.IsZero() || next.After(then.Add(early))
}

// promptly is how long the server has for a tick before it counts as missed.
const promptly = 2 * time.Second

// makeUp has a schedule run once for the times that were missed, if its server has
// not seen to that.
func (r *reader) makeUp(ctx context.Context) error {
	if r.schedule.Missed == "skip" {
		return nil
	}
	stream, err := r.t.js.Stream(ctx, ScheduleStream)
	if err != nil {
		return err
	}
	last, err := r.lastRun(ctx)
	if err != nil {
		return err
	}
	since := last.at
	if m, err := stream.GetLastMsgForSubject(ctx, schedulePrefix+r.id); err == nil && m.Time.After(since) {
		since = m.Time // it is new
	}
	if m, err := stream.GetLastMsgForSubject(ctx, r.spec.Subject); err == nil && m.Time.After(since) {
		return nil // a tick waits
	}
	due := r.overdue(since, time.Now())
	if due.IsZero() {
		return nil
	}
	tick := nats.NewMsg(r.spec.Subject)
	tick.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s:%d", r.id, due.Unix()))
	if _, err := r.t.js.PublishMsg(ctx, tick, jetstream.WithExpectStream(ScheduleStream)); err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	r.t.log.Info("a run of a schedule was missed, and is made up for", "function", r.function, "schedule", r.schedule.String(), "due", due)
	return nil
}

// overdue returns when the schedule should have run after a time, zero if it need not
// have by now.
func (r *reader) overdue(since, now time.Time) time.Time {
	due := since.Add(r.schedule.Every * 3 / 2)
	if r.schedule.Every == 0 {
		due = r.schedule.Next(since.Add(early))
	}
	if now.Sub(due) < promptly {
		return time.Time{}
	}
	return due
}
