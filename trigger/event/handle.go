package event

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Headers of dead letters, which say where an event came from and why it failed.
const (
	HeaderFunction = "Fn-Function"
	HeaderEndpoint = "Fn-Endpoint"
	HeaderSubject  = "Fn-Subject"
	HeaderStream   = "Fn-Stream"
	HeaderSequence = "Fn-Sequence"
	HeaderTime     = "Fn-Time"
	HeaderAttempts = "Fn-Attempts"
	HeaderError    = "Fn-Error-Text"
	HeaderCode     = "Fn-Error"
)

// headerKnown begins headers of dead letters that have what a source has made of the
// event, each under its key without the colon.
const headerKnown = "Fn-Known-"

// HeaderDepth counts the events that lead to an event: one whose function
// publishes what starts it is found by it.
const HeaderDepth = "Fn-Depth"

// maxDepth is how many events may lead to one.
const maxDepth = 32

// maxError bounds the text of an error in a dead letter.
const maxError = 8 << 10

// handle runs the function for one event, and says what becomes of that.
func (r *reader) handle(m jetstream.Msg) {
	if r.calls != nil {
		r.handleCall(m)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		r.t.log.Error("a message without metadata is left: "+err.Error(), "function", r.function)
		return
	}
	if r.id != "" && (r.skipRepeated(m, meta) || r.skipMissed(m, meta)) {
		return
	}
	k := r.t.keep(m)
	err = r.invoke(m, meta)
	for delay := r.spec.Backoff; hostFault(err) && r.wait(delay, err, meta); delay = min(2*delay, r.spec.BackoffMax, maxHostDelay) {
		err = r.invoke(m, meta)
	}
	r.t.release(k)
	r.conclude(m, meta, err)
}

// conclude tells the server what has become of an event.
func (r *reader) conclude(m jetstream.Msg, meta *jetstream.MsgMetadata, err error) {
	switch {
	case err == nil:
		r.done(m, meta)
	case r.t.work.Err() != nil, hostFault(err):
		m.Nak() // the host stops, or has no such function any more: somebody else's, at once
	default:
		r.t.settle(r.t.effects.take(r.eventOf(meta, r.spec.Endpoint)), false)
		r.failed(m, meta, wire.AsError(err))
	}
}

// done tells the server that an event was handled. Its answer is not waited for:
// without the acknowledgement the event is handled once more. But where that would
// find effects, these stay until it is certain.
func (r *reader) done(m jetstream.Msg, meta *jetstream.MsgMetadata) {
	if f := r.latest.Load(); f != nil && !f.over.Load() {
		f.over.Store(true)
	}
	if err := r.t.acknowledge(m, r.t.effects.take(r.eventOf(meta, r.spec.Endpoint))); err != nil {
		r.t.log.Warn("an event was handled and may be again: "+err.Error(), "function", r.function, "sequence", meta.Sequence.Stream)
	}
}

func (t *Trigger) acknowledge(m jetstream.Msg, committed []record) error {
	if len(committed) == 0 {
		return m.Ack()
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	err := m.DoubleAck(ctx)
	t.settle(committed, err == nil)
	return err
}

// maxHostDelay bounds the time between attempts that the host has not let happen.
const maxHostDelay = 5 * time.Second

// wait waits before an event is tried again that its function has not even got.
// The event stays here meanwhile, since the server would count another attempt.
func (r *reader) wait(delay time.Duration, err error, meta *jetstream.MsgMetadata) bool {
	r.latest.Store(&lastFailure{text: err.Error(), at: time.Now()})
	r.t.log.Debug("an event waits: "+err.Error(), "function", r.function, "sequence", meta.Sequence.Stream, "after", delay)
	timer := time.NewTimer(min(delay, maxHostDelay))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done(): // which t.work outlives
		return false
	}
}

func (r *reader) invoke(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	inv := &trigger.Invocation{Function: r.function, Endpoint: r.spec.Endpoint, Trigger: r.source.Kind, Payload: m.Data()}
	var err error
	if inv.Header, inv.Depth, err = r.requestHeader(m, meta); err != nil {
		return err
	}
	if r.t.runs != nil {
		return r.recorded(inv, m, meta)
	}
	return finish(r.t.invoker.Invoke(r.t.work, inv))
}

// finish reads a result to its end, since it may end in an error.
func finish(result *trigger.Result, err error) error {
	if err != nil {
		return err
	}
	if result.Body != nil {
		defer result.Body.Close()
		if _, err := io.Copy(io.Discard, result.Body); err != nil {
			return err
		}
	}
	return failure(result)
}

// failure makes an error of a result that tells of one by its HTTP status.
func failure(result *trigger.Result) error {
	if status := result.Status(); status >= 400 {
		return wire.Errorf(wire.Internal, "status %d: %.200s", status, result.Payload)
	}
	return nil
}

// passHeader adds the headers that are the message's own, and returns how many
// messages have led to it.
func passHeader(h wire.Header, from nats.Header) (wire.Header, int, error) {
	for key, values := range from {
		if key == "" || key[0] == ':' || isOwn(key) {
			continue
		}
		for _, value := range values {
			if !h.Fits(key, value) || len(h) > wire.MaxHeader-2<<10 {
				return nil, 0, &wire.Error{Code: wire.HeaderLarge, Retry: -1, Message: "the event's headers are too large"}
			}
			h = h.Add(key, value)
		}
	}
	depth, _ := strconv.Atoi(from.Get(HeaderDepth))
	if depth > maxDepth {
		return nil, 0, &wire.Error{Code: wire.Loop, Retry: -1, Message: fmt.Sprintf("%d events have led to this one: a function that publishes what starts it", depth)}
	}
	return h, depth, nil
}

// isOwn reports whether a header is one of NATS, or of the host.
func isOwn(key string) bool {
	key = strings.ToLower(key)
	return strings.HasPrefix(key, "nats-") || strings.HasPrefix(key, "fn-") || strings.HasPrefix(key, "x-fn-") ||
		key == "kv-operation" || strings.HasPrefix(key, "fnhost-")
}

// failed has an event tried again, or makes it a dead letter.
func (r *reader) failed(m jetstream.Msg, meta *jetstream.MsgMetadata, e *wire.Error) {
	attempt := int(meta.NumDelivered)
	r.latest.Store(&lastFailure{text: e.Error(), at: time.Now()})
	if e.Retry < 0 || attempt > r.spec.Retries {
		r.bury(m, meta, e)
		return
	}
	delay, ok := r.beforeGone(r.delay(attempt, e), m, meta)
	if !ok {
		late := *e
		late.Message += " (it is not tried again, since its stream forgets it before)"
		r.bury(m, meta, &late)
		return
	}
	r.t.log.Warn("an event failed and is tried again: "+e.Error(),
		"function", r.function, "subject", m.Subject(), "sequence", meta.Sequence.Stream, "attempt", attempt, "after", delay)
	if err := m.NakWithDelay(delay); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		r.t.log.Warn("an event that failed is tried again later than it should: "+err.Error(), "function", r.function)
	}
}

// hostFault reports whether a function has had no chance to handle an event, so
// that it is no fault of the event. What the function itself returns is none, though
// it may be of the same code.
func hostFault(err error) bool {
	e := wire.AsError(err)
	return e != nil && !e.Remote && (e.Code == wire.Overloaded || e.Code == wire.Unavailable || e.Code == wire.NoFunction)
}

// crashDelay is what an event waits whose worker ended in the middle, at first.
const crashDelay = 20 * time.Millisecond

// delay returns the time before the next attempt.
func (r *reader) delay(attempt int, e *wire.Error) time.Duration {
	if e.Retry > 0 {
		return e.Retry
	}
	d := r.spec.Backoff
	if e.Code == wire.Crashed && attempt == 1 {
		d = min(d, crashDelay)
	}
	for range min(attempt-1, 40) {
		if d *= 2; d >= r.spec.BackoffMax {
			d = r.spec.BackoffMax
			break
		}
	}
	return min(d+time.Duration(rand.Int64N(int64(d)/5+1)), r.spec.BackoffMax)
}

// letterHeader returns the headers of an event that its dead letter keeps: all, but for
// those of NATS, and the large ones where they leave no room for the letter's own, since
// the server would not take it, ever.
func letterHeader(from nats.Header) nats.Header {
	h, left := make(nats.Header), maxHeaders-letterRoom
	for _, key := range slices.Sorted(maps.Keys(from)) {
		size := 0
		for _, value := range from[key] {
			size += len(key) + len(value) + 4
		}
		if size <= left && !strings.HasPrefix(key, "Nats-") {
			h[key] = from[key]
			left -= size
		}
	}
	return h
}

// bury stores a dead letter, and takes the event off when that is certain. The
// letter's id makes it one, however often this is tried.
func (r *reader) bury(m jetstream.Msg, meta *jetstream.MsgMetadata, e *wire.Error) {
	letter := nats.NewMsg(DeadPrefix + r.function)
	letter.Data, letter.Header = m.Data(), letterHeader(m.Headers())
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(e.Error())
	for key, value := range map[string]string{
		HeaderFunction: r.function, HeaderEndpoint: r.spec.Endpoint, HeaderSubject: m.Subject(), HeaderStream: meta.Stream,
		HeaderSequence: strconv.FormatUint(meta.Sequence.Stream, 10), HeaderTime: meta.Timestamp.UTC().Format(time.RFC3339Nano),
		HeaderAttempts: strconv.FormatUint(meta.NumDelivered, 10), HeaderError: text[:min(len(text), maxError)], HeaderCode: string(e.Code),
		jetstream.MsgIDHeader: fmt.Sprintf("%s:%d:%s:%d", meta.Stream, meta.Sequence.Stream, meta.Consumer, meta.Timestamp.UnixNano()),
	} {
		letter.Header.Set(key, value)
	}
	if r.source.Messages != nil {
		for key, value := range r.source.header(nil, bare(m), meta.Timestamp, time.Duration(r.maxAge.Load())).All() {
			letter.Header.Set(headerKnown+key[1:], value)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	_, err := r.t.js.PublishMsg(ctx, letter, jetstream.WithExpectStream(DeadStream))
	if err != nil {
		r.t.log.Error("a dead letter could not be stored, and the event stays: "+err.Error(), "function", r.function, "sequence", meta.Sequence.Stream)
		m.NakWithDelay(r.delay(int(meta.NumDelivered), e))
		return
	}
	r.t.log.Error("an event is a dead letter: "+e.Error(), "function", r.function, "subject", m.Subject(), "sequence", meta.Sequence.Stream, "attempts", meta.NumDelivered)
	if err := m.TermWithReason("dead letter"); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		r.t.log.Warn("an event that is a dead letter may be handled again: "+err.Error(), "function", r.function)
	}
}
