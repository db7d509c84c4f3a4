package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// FindRun returns an asynchronous call, of whatever state. The error is of code
// NotFound if there is none of that ID.
func (t *Trigger) FindRun(ctx context.Context, id string) (*trigger.Run, error) {
	if err := CheckRunID(id); err != nil {
		return nil, err
	}
	run, err := t.calls.runs.Get(ctx, "*", id)
	if !errors.Is(err, notFound) {
		return run, err
	}
	stream, e := t.js.Stream(ctx, CallStream)
	if e == nil {
		var m *jetstream.RawStreamMsg
		if m, e = stream.GetLastMsgForSubject(ctx, callPrefix+"*."+id); e == nil {
			return queuedRun(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, m.Sequence, m.Time), nil
		}
	}
	if errors.Is(e, jetstream.ErrMsgNotFound) {
		return t.calls.runs.Get(ctx, "*", id) // it may have ended between the two
	}
	if errors.Is(e, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	return nil, fmt.Errorf("run %s: %w", id, e)
}

// QueuedRuns returns calls of a function, "" for all, that may wait for their first
// attempt, the oldest first, at most limit.
func (t *Trigger) QueuedRuns(ctx context.Context, function string, limit int) (list []*trigger.Run, err error) {
	if function == "" {
		function = "*"
	}
	stream, err := t.js.Stream(ctx, CallStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	for next := uint64(1); err == nil && len(list) < limit; {
		var m *jetstream.RawStreamMsg
		m, err = stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(callPrefix+function+".*"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return list, nil
		}
		if err == nil {
			list = append(list, queuedRun(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, m.Sequence, m.Time))
			next = m.Sequence + 1
		}
	}
	return list, err
}

// CallInput returns the body of a call that has not ended, nil if it is not kept any
// more.
func (t *Trigger) CallInput(ctx context.Context, run *trigger.Run) []byte {
	stream, err := t.js.Stream(ctx, CallStream)
	if err != nil {
		return nil
	}
	m, err := stream.GetMsg(ctx, run.Input.Sequence)
	if err != nil {
		return nil
	}
	_, body, _ := callParts(m.Data)
	return body
}

var errCanceled = errors.New("the run was canceled")

// CancelRun cancels a call: one that waits never runs, and the context of one that
// runs ends. The error is of code NotFound if there is none of that ID, and Conflict
// if it has ended.
func (t *Trigger) CancelRun(ctx context.Context, id string) (*trigger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	for {
		run, err := t.FindRun(ctx, id)
		if err != nil {
			return nil, err
		}
		if run.State.Ended() {
			return run, wire.Errorf(wire.Conflict, "the run %s has ended before: it is %s", id, run.State)
		}
		run.State, run.Ended, run.Data, run.Next = trigger.RunCanceled, time.Now(), nil, time.Time{}
		err = t.calls.runs.Put(ctx, run, t.calls.keep(run.Function))
		if errors.Is(err, conflict) && ctx.Err() == nil {
			continue // it has begun, or ended
		}
		if err != nil {
			return nil, err
		}
		// From here on nobody begins with it. The rest makes that known sooner: not
		// before its callback is stored, which else is done at the end of the attempt, or
		// instead of the next one.
		if err := t.calls.runs.Callback(ctx, run); err != nil {
			t.log.Warn("a run is canceled, and its callback waits: "+err.Error(), "function", run.Function, "run", run.ID)
			return run, nil
		}
		if stream, err := t.js.Stream(ctx, CallStream); err == nil {
			stream.DeleteMsg(ctx, run.Input.Sequence)
		}
		t.conn.Publish(cancelPrefix+id, nil)
		t.calls.stop(id)
		t.calls.tell(id)
		return run, nil
	}
}

var conflict = &wire.Error{Code: wire.Conflict}

// keep is how long results of a function are kept.
func (c *calls) keep(function string) time.Duration {
	if fn := c.table.Load().Functions[function]; fn != nil && fn.Manifest.Async.Keep > 0 {
		return fn.Manifest.Async.Keep
	}
	return manifest.DefaultAsync().Keep
}

// stop ends the context of a run that runs here.
func (c *calls) stop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.active[id]; cancel != nil {
		cancel(errCanceled)
	}
}

// tell wakes those who wait for the end of a run.
func (c *calls) tell(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.ended[id]; ch != nil {
		close(ch)
		delete(c.ended, id)
	}
}

// ofOthers is how often a run is looked at that may end on another node.
const ofOthers = time.Second

// WaitRun returns a call when it has ended, or as it is when ctx ends. The error is
// of code NotFound if there is none of that ID.
func (t *Trigger) WaitRun(ctx context.Context, id string) (*trigger.Run, error) {
	for {
		t.calls.mu.Lock()
		ch := t.calls.ended[id]
		if ch == nil {
			ch = make(chan struct{})
			t.calls.ended[id] = ch
		}
		t.calls.mu.Unlock()
		// ctx bounds the waiting, and not the last look.
		run, err := t.FindRun(context.WithoutCancel(ctx), id)
		if err != nil || run.State.Ended() || ctx.Err() != nil {
			t.calls.tell(id) // others who wait look again
			return run, err
		}
		timer := time.NewTimer(ofOthers)
		select {
		case <-ch:
		case <-timer.C:
		case <-ctx.Done():
		case <-t.ctx.Done():
			return run, nil
		}
		timer.Stop()
	}
}

// Awaited reports whether somebody waits for a run on this node.
func (t *Trigger) Awaited(id string) bool {
	t.calls.mu.Lock()
	defer t.calls.mu.Unlock()
	return t.calls.ended[id] != nil
}
