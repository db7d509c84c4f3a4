package host

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

// How much of a run is shown.
const (
	shownInput = 64 << 10
	shownLogs  = 200 // records
)

// Submit implements [admin.RunKeeper].
func (b backend) Submit(ctx context.Context, inv *trigger.Invocation, o admin.AsyncOptions) (admin.Run, error) {
	run, err := b.h.submit(ctx, inv, AsyncOptions(o))
	if err != nil {
		return admin.Run{}, err
	}
	return shownRun(run), nil
}

// Runs implements [admin.RunKeeper].
func (b backend) Runs(ctx context.Context, q admin.RunQuery) ([]admin.Run, error) {
	list, err := b.h.Runs(ctx, RunQuery{Function: q.Function, State: trigger.RunState(q.State), Limit: q.Limit})
	shown := make([]admin.Run, len(list))
	for i, run := range list {
		shown[i] = shownRun(run)
	}
	return shown, err
}

// Run implements [admin.RunKeeper].
func (b backend) Run(ctx context.Context, id string, wait time.Duration) (admin.Run, error) {
	run, err := b.h.LookUpRun(ctx, id)
	if err == nil && !run.State.Ended() && run.Trigger == trigger.Async && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		run, err = b.h.WaitRun(waiting, id)
		cancel()
	}
	if err != nil {
		return admin.Run{}, err
	}
	v := shownRun(run)
	v.Output, v.Input = admin.NewContent(run.Output, event.MaxOutput), admin.NewContent(b.h.runInput(ctx, run), shownInput)
	if run.Invocation != "" {
		b.h.logs.Read(ctx, logs.Query{Namespace: b.h.name, Function: run.Function, Invocation: run.Invocation}, func(r logs.Record) error {
			v.Logs = append(v.Logs, r)
			return nil
		})
	}
	v.Logs = v.Logs[max(len(v.Logs)-shownLogs, 0):]
	return v, nil
}

// CancelRun implements [admin.RunKeeper].
func (b backend) CancelRun(ctx context.Context, id string) error { return b.h.CancelRun(ctx, id) }

// CallbackSecret implements [admin.RunKeeper].
func (b backend) CallbackSecret() (string, error) { return b.h.CallbackSecret() }

func shownRun(run *Run) admin.Run {
	v := admin.Run{
		ID: run.ID, Function: run.Function, Endpoint: run.Endpoint, Version: run.Version, Trigger: run.Trigger, State: string(run.State),
		Attempts: run.Attempts, Invocation: run.Invocation, Status: run.Status, Error: run.Error, Code: string(run.Code), Callback: run.Callback,
		Subject: run.Input.Subject, Stream: run.Input.Stream, Sequence: run.Input.Sequence,
		ContentType: run.Header.Get("Content-Type"), OutputSize: run.OutputSize, OutputDropped: run.Dropped, InputSize: run.Input.Size,
	}
	if run.Duration > 0 {
		v.Duration = run.Duration.Round(time.Microsecond).String()
	}
	for _, t := range []struct {
		at time.Time
		to **time.Time
	}{{run.Queued, &v.Queued}, {run.Started, &v.Started}, {run.Ended, &v.Ended}, {run.Next, &v.Next}} {
		if !t.at.IsZero() {
			*t.to = &t.at
		}
	}
	return v
}
