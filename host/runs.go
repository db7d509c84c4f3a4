package host

import (
	"context"
	"log/slog"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/runs"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

// AsyncOptions are those of [Host.InvokeAsync].
type AsyncOptions = trigger.AsyncOptions

// Run is what is known of a run: of an asynchronous call, or of an attempt at an event.
type Run = trigger.Run

// RunQuery chooses runs.
type RunQuery = runs.Query

// openRuns opens the store of runs.
func (h *Namespace) openRuns() error {
	s, err := runs.New(runs.Config{Conn: h.conn, Dir: h.spaceDir(h.name), PrivateCallbacks: h.cfg.PrivateCallbacks, Logger: h.log,
		Failed: func(run *trigger.Run, err error) {
			h.addLog(logs.Record{Level: slog.LevelError, Function: run.Function, Version: run.Version, Invocation: run.ID, Source: logs.Host,
				Message: "the callback was given up: " + err.Error()})
		}})
	if err != nil {
		return err
	}
	h.runStore = s
	h.closers = append(h.closers, s.Close)
	return nil
}

// InvokeAsync stores a call of the function name, "orders" or "orders/create" for an
// endpoint, and returns the ID of its run: the function runs then, at least
// once, also if the host ends meanwhile. The error is, or wraps, an
// *[functions.Error]: of code NoFunction if there is no such function or endpoint,
// BadRequest for options that are wrong, Conflict if the ID is that of another call, or
// of one with another body,
// TooLarge for a body over the limit of the function or of a message, and Unavailable
// if the call cannot be stored.
func (h *Namespace) InvokeAsync(ctx context.Context, name string, body []byte, o AsyncOptions) (id string, err error) {
	function, endpoint, _ := strings.Cut(name, "/")
	run, err := h.submit(ctx, &trigger.Invocation{Function: function, Endpoint: endpoint, Payload: body}, o)
	if err != nil {
		return "", err
	}
	return run.ID, nil
}

// submit stores a call, if a synchronous one would not be refused at once.
func (h *Namespace) submit(ctx context.Context, inv *trigger.Invocation, o AsyncOptions) (*Run, error) {
	_, v, err := h.serving(ctx, inv.Function, inv.Version)
	if err != nil {
		return nil, err
	}
	info := v.info.Load()
	if (inv.Endpoint != "" || len(info.Endpoints) > 0) && info.Endpoint(inv.Endpoint) == nil {
		return nil, noEndpoint(info, inv.Endpoint)
	}
	if limit := v.manifest.Body; limit > 0 && int64(len(inv.Payload)) > limit {
		return nil, trigger.BodyTooLarge(limit)
	}
	if o.ID != "" {
		if err := event.CheckRunID(o.ID); err != nil {
			return nil, err
		}
	}
	if o.Callback != "" {
		if err := h.runStore.CheckCallback(o.Callback); err != nil {
			return nil, err
		}
	}
	if inv.ID = o.ID; inv.ID == "" {
		inv.ID = h.ids.next()
	}
	if err := unavailable(h.bus.StorageErr()); err != nil {
		return nil, err
	}
	ctx, stop := h.whileStoring(ctx)
	defer stop()
	run, err := h.events.Submit(ctx, inv, v.manifest.Async, o)
	return run, h.explainEnd(ctx, err)
}

// LookUpRun returns a run: one of an asynchronous call by its ID, with its answer if
// it has one, or an attempt at an event by the ID that it has in lists. The error is
// of code NotFound if there is none, or it is not kept any more.
func (h *Namespace) LookUpRun(ctx context.Context, id string) (*Run, error) {
	if strings.HasPrefix(id, runs.EventID) {
		return h.runStore.Event(ctx, id)
	}
	return h.events.FindRun(ctx, id)
}

// WaitRun returns the run of an asynchronous call when it has ended, or as it is when
// ctx ends. The error is of code NotFound if there is none.
func (h *Namespace) WaitRun(ctx context.Context, id string) (*Run, error) {
	return h.events.WaitRun(ctx, id)
}

// CancelRun cancels an asynchronous call: one that waits never runs, and the context
// of one that runs ends. The error is of code NotFound if there is none, and Conflict
// if it has ended.
func (h *Namespace) CancelRun(ctx context.Context, id string) error {
	if strings.HasPrefix(id, runs.EventID) {
		return wire.Errorf(wire.Conflict, "%s is an attempt at an event, which cannot be canceled: `fnhost trigger pause` has no further one begin", id)
	}
	_, err := h.events.CancelRun(ctx, id)
	return err
}

// Runs returns the runs that q chooses, the newest first, without input and output:
// asynchronous calls, and of attempts at events those that failed and some of the
// others, for at most a week.
func (h *Namespace) Runs(ctx context.Context, q RunQuery) ([]*Run, error) {
	list, err := h.runStore.List(ctx, q)
	if err != nil || q.State != "" && q.State != trigger.RunQueued {
		return list, err
	}
	queued, err := h.events.QueuedRuns(ctx, q.Function, q.Limit)
	if err != nil {
		return nil, err
	}
	for _, run := range queued {
		if known, err := h.runStore.Get(ctx, run.Function, run.ID); err == nil && known.State != trigger.RunQueued {
			continue
		}
		run.Data = nil
		list = append(list, run)
	}
	return runs.Newest(list, q.Limit), nil
}

// CallbackSecret returns the key that callbacks of this host are signed with, as
// [runs.Sign] does. It is made at first use, and kept in the data directory.
func (h *Namespace) CallbackSecret() (string, error) { return h.runStore.Secret() }

// runInput returns the input of a run, nil if it is not kept any more.
func (h *Namespace) runInput(ctx context.Context, run *Run) []byte {
	switch {
	case run.Data != nil:
		return run.Data
	case run.Trigger == trigger.Async:
		return h.events.CallInput(ctx, run)
	}
	return h.runStore.Input(ctx, run.Input)
}

// async is the host as the gateway sees it for calls that are answered later.
type async struct{ h *Namespace }

// Submit implements [gateway.Async].
func (a async) Submit(ctx context.Context, inv *trigger.Invocation, o trigger.AsyncOptions) (*trigger.Run, error) {
	if err := a.h.admit(trigger.HTTP); err != nil {
		return nil, err
	}
	return a.h.submit(ctx, inv, o)
}

// WaitRun implements [gateway.Async].
func (a async) WaitRun(ctx context.Context, id string) (*trigger.Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.h.waits, cancel)()
	defer context.AfterFunc(a.h.ctx, cancel)()
	return a.h.events.WaitRun(ctx, id)
}

// CancelRun implements [gateway.Async].
func (a async) CancelRun(ctx context.Context, id string) (*trigger.Run, error) {
	return a.h.events.CancelRun(ctx, id)
}
