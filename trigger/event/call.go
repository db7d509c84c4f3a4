package event

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// MaxOutput is how much of the answer to an asynchronous call is kept, in bytes: one
// that is longer is not kept at all, since a part could be taken for the whole.
const MaxOutput = 1 << 20

// attempt is one at an asynchronous call.
type attempt struct {
	r      *reader
	c      *calls
	m      jetstream.Msg
	meta   *jetstream.MsgMetadata
	run    *trigger.Run
	inv    *trigger.Invocation
	ctx    context.Context // ends when the run is canceled
	cancel context.CancelCauseFunc
}

// handleCall runs the function for one call, and says what becomes of that.
func (r *reader) handleCall(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		r.t.log.Error("a message without metadata is left: "+err.Error(), "function", r.function)
		return
	}
	k := r.t.keep(m)
	defer r.t.release(k)
	a := &attempt{r: r, c: r.calls, m: m, meta: meta}
	a.run = queuedRun(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, meta.Sequence.Stream, meta.Timestamp)
	a.ctx, a.cancel = context.WithCancelCause(r.t.work)
	defer a.cancel(nil)
	if !a.enter() {
		m.NakWithDelay(time.Second) // it runs here already, since the server has thought it lost
		return
	}
	defer a.leave()
	if !a.begin() {
		return
	}
	header, body, err := callParts(m.Data())
	if err != nil {
		a.end(nil, err)
		return
	}
	a.inv = &trigger.Invocation{ID: a.run.ID, Function: r.function, Endpoint: a.run.Endpoint, Version: m.Headers().Get(headerCallVersion),
		Trigger: trigger.Async, Payload: body, Header: header[:len(header):len(header)].AddInt(wire.KeyAttempt, int64(meta.NumDelivered)).
				Add(wire.KeyStream, meta.Stream).AddInt(wire.KeySequence, int64(meta.Sequence.Stream)).
				AddInt(wire.KeyTime, meta.Timestamp.UnixNano())}
	a.end(a.invoke())
}

// enter lets the run be canceled from here on.
func (a *attempt) enter() bool {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.c.active[a.run.ID] != nil {
		return false
	}
	a.c.active[a.run.ID] = a.cancel
	return true
}

func (a *attempt) leave() {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	delete(a.c.active, a.run.ID)
}

// begin stores that the run is running. It reports false if there is nothing to run:
// it was canceled, or has ended before.
func (a *attempt) begin() bool {
	look := a.meta.NumDelivered > 1 || a.m.Headers().Get(headerGiven) != "" // else there is nothing to be found
	a.run.State, a.run.Attempts, a.run.Started, a.run.Invocation = trigger.RunRunning, int(a.meta.NumDelivered), time.Now(), a.run.ID
	for {
		if look {
			stored, err := a.c.runs.Get(a.ctx, a.run.Function, a.run.ID)
			if err == nil && stored.State.Ended() {
				a.finished(stored)
				return false
			}
			if err == nil {
				a.run.Revision = stored.Revision
			} else if !errors.Is(err, notFound) {
				a.later("a call waits, since its run cannot be read", err)
				return false
			}
		}
		err := a.c.runs.Put(a.ctx, a.run, 0)
		if err == nil {
			return true
		}
		if look = errors.Is(err, conflict); !look {
			a.later("a call waits, since its run cannot be stored", err)
			return false
		}
	}
}

// later hands the call back for another attempt.
func (a *attempt) later(what string, err error) {
	if a.r.t.work.Err() != nil {
		a.m.Nak()
		return
	}
	a.r.t.log.Warn(what+": "+err.Error(), "function", a.run.Function, "run", a.run.ID)
	a.m.NakWithDelay(a.r.delay(int(a.meta.NumDelivered), &wire.Error{}))
}

// finished takes off a call whose run has ended: in an attempt whose
// acknowledgement was lost, or as another call of the same ID.
func (a *attempt) finished(run *trigger.Run) {
	if run.Input.Sequence == a.meta.Sequence.Stream {
		if err := a.c.runs.Callback(a.ctx, run); err != nil {
			a.later("a call has ended, and its callback cannot be stored", err)
			return
		}
	}
	a.c.tell(run.ID)
	committed := a.r.t.effects.take(a.r.eventOf(a.meta, run.Endpoint))
	if err := a.r.t.acknowledge(a.m, committed); err != nil && a.r.t.work.Err() == nil {
		a.r.t.log.Warn("a call that has ended is looked at again: "+err.Error(), "function", run.Function, "run", run.ID)
	}
}

// answer is what a function has answered to a call.
type answer struct {
	status int
	header wire.Header
	output []byte
	size   int64
}

// invoke runs the function, as often as the host does not let it happen.
func (a *attempt) invoke() (*answer, error) {
	for delay := a.r.spec.Backoff; ; delay = min(2*delay, a.r.spec.BackoffMax, maxHostDelay) {
		ans, err := readAnswer(a.r.t.invoker.Invoke(a.ctx, a.inv))
		if !a.mayWait(err) {
			return ans, err
		}
		a.r.t.log.Debug("a call waits: "+err.Error(), "function", a.run.Function, "run", a.run.ID, "after", delay)
		timer := time.NewTimer(min(delay, maxHostDelay))
		select {
		case <-timer.C:
		case <-a.ctx.Done():
			timer.Stop()
			return nil, err
		case <-a.r.ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// mayWait reports whether the function may still get the call: not one whose endpoint
// or version there is no more, while the function is there.
func (a *attempt) mayWait(err error) bool {
	if !hostFault(err) {
		return false
	}
	return wire.AsError(err).Code != wire.NoFunction || a.c.table.Load().Functions[a.run.Function] == nil
}

// readAnswer reads a result to its end, since it may end in an error, and keeps what
// may be kept.
func readAnswer(result *trigger.Result, err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	ans := &answer{status: result.Status(), header: result.Header, output: result.Payload, size: int64(len(result.Payload))}
	if result.Body != nil {
		defer result.Body.Close()
		rest, err := io.ReadAll(io.LimitReader(result.Body, MaxOutput+1))
		if err != nil {
			return nil, err
		}
		more, err := io.Copy(io.Discard, result.Body)
		if err != nil {
			return nil, err
		}
		ans.output = append(ans.output[:len(ans.output):len(ans.output)], rest...)
		ans.size += int64(len(rest)) + more
	}
	if ans.status >= 500 {
		return ans, &wire.Error{Code: wire.Internal, Message: failure(&trigger.Result{Header: ans.header, Payload: ans.output}).Error(), Remote: true}
	}
	return ans, nil
}

// end says what becomes of the call after an attempt.
func (a *attempt) end(ans *answer, err error) {
	e := wire.AsError(err)
	run := a.run
	run.Duration = time.Since(run.Started)
	if a.inv != nil {
		run.Version = a.inv.Ran
	}
	switch {
	case context.Cause(a.ctx) == errCanceled:
		a.m.Ack() // the run says so
		a.r.t.settle(a.r.t.effects.take(a.r.eventOf(a.meta, run.Endpoint)), true)
		return
	case e != nil && (a.r.t.work.Err() != nil || a.mayWait(err)):
		a.m.Nak() // the host stops, or has no such function any more: somebody else's, at once
		return
	case e == nil:
		run.State = trigger.RunDone
	case a.isFinal(e):
		run.State = trigger.RunFailed
	default:
		a.retry(e)
		return
	}
	run.Ended, run.Next = time.Now(), time.Time{}
	run.Error, run.Code = "", ""
	if e != nil {
		run.Error, run.Code = e.Error()[:min(len(e.Error()), maxError)], e.Code
		a.r.t.log.Warn("an asynchronous call failed: "+e.Error(), "function", run.Function, "run", run.ID, "attempts", run.Attempts)
	} else {
		run.Data = nil
	}
	if ans != nil {
		run.Status, run.Header, run.Output, run.OutputSize = ans.status, ans.header, ans.output, ans.size
		if run.Dropped = ans.size > MaxOutput; run.Dropped {
			run.Output = nil
		}
	}
	a.store()
}

// isFinal reports whether a failure ends the run: the function says so, it is an
// answer of a status below 500, or there were enough attempts.
func (a *attempt) isFinal(e *wire.Error) bool {
	return e.Retry < 0 || e.Retry == 0 && trigger.StatusOf(e) < 500 || a.run.Attempts > a.r.spec.Retries
}

// retry has the call tried again.
func (a *attempt) retry(e *wire.Error) {
	a.r.t.settle(a.r.t.effects.take(a.r.eventOf(a.meta, a.run.Endpoint)), false)
	delay := a.r.delay(a.run.Attempts, e)
	a.run.State, a.run.Next = trigger.RunRetrying, time.Now().Add(delay)
	a.run.Error, a.run.Code = e.Error()[:min(len(e.Error()), maxError)], e.Code
	a.run.Data = nil // the call itself is there
	a.r.t.log.Warn("an asynchronous call failed and is tried again: "+e.Error(),
		"function", a.run.Function, "run", a.run.ID, "attempt", a.run.Attempts, "after", delay)
	a.c.runs.Put(a.ctx, a.run, 0) // it is only for who looks, and canceled ones are looked for before each attempt
	a.m.NakWithDelay(delay)
}

// store stores the end of the run, and takes the call off when that is certain.
func (a *attempt) store() {
	ctx := context.WithoutCancel(a.ctx)
	for range 10 {
		err := a.c.runs.Put(ctx, a.run, a.c.keep(a.run.Function))
		if err == nil {
			a.finished(a.run)
			return
		}
		if !errors.Is(err, conflict) {
			a.later("the result of a call cannot be stored, and it runs again", err)
			return
		}
		stored, err := a.c.runs.Get(ctx, a.run.Function, a.run.ID)
		switch {
		case err == nil && stored.State.Ended(): // it was canceled
			a.finished(stored)
			return
		case err == nil:
			a.run.Revision = stored.Revision
		case errors.Is(err, notFound):
			a.run.Revision = 0
		}
	}
	a.later("the result of a call cannot be stored, and it runs again", conflict)
}
