package event

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// maxEventOutput is how much of what a function answers to an event is recorded.
const maxEventOutput = 4 << 10

// recorded runs the function for an event, and has that recorded: failures always,
// but for those of the host, and of the rest as many as are wanted.
func (r *reader) recorded(inv *trigger.Invocation, m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	begin := time.Now()
	result, err := r.t.invoker.Invoke(r.t.work, inv)
	err = finish(result, err)
	r.record(inv, m, meta, begin, result, err)
	return err
}

// record has one attempt at an event recorded, or of a batch at one of its events.
func (r *reader) record(inv *trigger.Invocation, m jetstream.Msg, meta *jetstream.MsgMetadata, begin time.Time, result *trigger.Result, err error) {
	if hostFault(err) || r.t.work.Err() != nil || err == nil && !r.t.runs.Wants(r.function) {
		return
	}
	now := time.Now()
	run := &trigger.Run{
		Function: r.function, Endpoint: r.spec.Endpoint, Version: inv.Ran, Trigger: inv.Trigger, Invocation: inv.ID, State: trigger.RunDone,
		Attempts: int(meta.NumDelivered), Queued: meta.Timestamp, Started: begin, Ended: now, Duration: now.Sub(begin),
		Input: trigger.RunInput{Stream: meta.Stream, Sequence: meta.Sequence.Stream, Subject: m.Subject(), Size: int64(len(m.Data()))},
	}
	if result != nil {
		run.Status, run.OutputSize = result.Status(), int64(len(result.Payload))
		run.Output = result.Payload[:min(len(result.Payload), maxEventOutput)]
		run.Dropped = len(run.Output) < len(result.Payload)
	}
	if e := wire.AsError(err); e != nil {
		run.State, run.Error, run.Code = trigger.RunFailed, e.Error()[:min(len(e.Error()), maxError)], e.Code
		if e.Retry >= 0 && run.Attempts <= r.spec.Retries {
			run.Next = now.Add(r.delay(run.Attempts, e))
		}
	}
	r.t.runs.Record(run)
}
