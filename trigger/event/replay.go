package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// MaxAtOnce is how many events a replay handles at once at most.
const MaxAtOnce = 1000

// Replay says which events to run a function on once more.
type Replay struct {
	Function string
	Endpoint string // of the trigger; "" for any, if that leaves one
	Version  string // to run, "v7"; "" for what is released
	Subject  string // a trigger's, or a part of one, or a bucket, or "bucket/keys"; "" if the function has one event or kv trigger
	From, To Point  // both belong to it; without To, up to what is stored when it begins
	Limit    int    // how many events at most; 0 for all
	AtOnce   int    // how many at once, up to MaxAtOnce; with 1, the default, in the order of the stream
	Dry      bool   // only tell which
}

// Replayed is what a replay tells of one event.
type Replayed struct {
	Sequence uint64
	Subject  string
	Time     time.Time // when it was stored
	Size     int       // of its data, in bytes
	Err      error     // of the function
	// Next is where to go on if the replay ends here: all events before have been run,
	// and with more than one at once some of those behind.
	Next uint64
}

// Plan is what a replay is about to do.
type Plan struct {
	Stream, Subject, Endpoint string
	First, Last               uint64 // sequence numbers, of the stream
}

// hostPatience is how long a replay waits for a function that its host cannot run.
const hostPatience = time.Minute

// Replay runs a function on events that a stream still holds, as its event trigger
// would, its filter included, but beside it: the trigger's own place in the stream stays, and an event
// that fails is neither tried again nor a dead letter. The function sees that it is a
// replay. Begin is told what is about to happen, and yield of each event, one after
// the other, as it ends, until one of them returns an error.
//
// It ends when ctx does, once what has begun has ended. The error is that of ctx, of
// begin or yield, or an *[wire.Error]: NoFunction if there is no such version,
// NotFound if it has no such trigger, BadRequest if several match, and Unavailable or
// Overloaded if the function could not be run for a minute.
func (t *Trigger) Replay(ctx context.Context, q Replay, begin func(Plan) error, yield func(Replayed) error) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return wire.Errorf(wire.Unavailable, "the host stops")
	}
	t.tasks.Add(1)
	t.mu.Unlock()
	defer t.tasks.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(wire.Errorf(wire.Unavailable, "the host stops")) })()

	r := &replay{t: t, q: q, cancel: cancel}
	if err := r.plan(ctx); err != nil {
		return err
	}
	if err := begin(r.Plan); err != nil {
		return err
	}
	if err := r.run(ctx, yield); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// replay is one in progress.
type replay struct {
	Plan
	t      *Trigger
	q      Replay
	source Source
	spec   *manifest.Event // of source
	stream jetstream.Stream
	cancel context.CancelCauseFunc
}

// plan finds the trigger, its stream and the place to begin at.
func (r *replay) plan(ctx context.Context) error {
	fn, err := r.t.invoker.Await(ctx, r.q.Function, r.q.Version)
	if err != nil {
		return err
	}
	if r.source, err = r.t.chosenTrigger(fn, &r.q); err != nil {
		return err
	}
	spec := &r.source.Spec
	r.spec = spec
	if r.stream, err = r.t.findStream(ctx, spec.Stream, spec.Subject); err != nil {
		return wire.Errorf(wire.NotFound, "%v", err)
	}
	state := r.stream.CachedInfo().State
	r.Stream, r.Subject, r.Endpoint, r.Last = r.stream.CachedInfo().Config.Name, spec.Subject, spec.Endpoint, state.LastSeq
	if r.q.Subject != "" && !r.source.isNamed(r.q.Subject) {
		r.Subject = r.q.Subject
	}
	if r.First, err = sequence(ctx, r.stream, r.q.From); err != nil {
		return err
	}
	r.First = max(r.First, state.FirstSeq, 1)
	if r.q.To.Sequence > 0 {
		r.Last = min(r.Last, r.q.To.Sequence)
	}
	return nil
}

// chosenTrigger returns the event or kv trigger that a replay means: one on its very
// subject, or of its bucket, or else one that it is a part of.
func (t *Trigger) chosenTrigger(fn *trigger.Function, q *Replay) (none Source, err error) {
	matches := []func(*Source) bool{func(s *Source) bool { return s.isNamed(q.Subject) }, func(s *Source) bool { return Covers(s.Spec.Subject, q.Subject) }}
	var found []Source
	for _, match := range matches {
		for _, s := range t.sourcesOf(fn.Manifest) {
			if match(&s) && (q.Endpoint == "" || q.Endpoint == s.Spec.Endpoint) {
				found = append(found, s)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return none, wire.Errorf(wire.NotFound, "function %q (%s) has no such event trigger: `fnhost trigger status %s` lists those of what is released", fn.Name, fn.Version, fn.Name)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, s := range found {
		names = append(names, strings.TrimSpace(s.Name+" "+s.Spec.Endpoint))
	}
	return none, wire.Errorf(wire.BadRequest, "several event triggers match: %s: name one with --subject, or its endpoint as %s/ENDPOINT", strings.Join(names, "; "), fn.Name)
}

// run runs the events, and tells yield of them.
func (r *replay) run(ctx context.Context, yield func(Replayed) error) error {
	var workers sync.WaitGroup
	work, done := make(chan *jetstream.RawStreamMsg), make(chan Replayed)
	var open openEvents
	for range min(max(r.q.AtOnce, 1), MaxAtOnce) {
		workers.Go(func() {
			for m := range work {
				e := Replayed{Sequence: m.Sequence, Subject: m.Subject, Time: m.Time, Size: len(m.Data)}
				if !r.q.Dry {
					if e.Err = r.invoke(ctx, m); e.Err == errStopped {
						continue
					}
				}
				done <- e
			}
		})
	}
	var failed error
	go func() {
		failed = r.read(ctx, work, &open)
		close(work)
		workers.Wait()
		close(done)
	}()
	var told error
	for e := range done {
		e.Next = open.end(e.Sequence)
		if told == nil {
			if told = yield(e); told != nil {
				r.cancel(told)
			}
		}
	}
	if told == nil && !errors.Is(failed, context.Canceled) {
		told = failed
	}
	return told
}

// read hands the events to the workers, as they are free.
func (r *replay) read(ctx context.Context, work chan<- *jetstream.RawStreamMsg, open *openEvents) error {
	n, filter := 0, newFilter(r.spec.Filter)
	err := scan(ctx, r.stream, r.Subject, r.First, func(m *jetstream.RawStreamMsg) bool {
		if m.Sequence > r.Last || r.q.To.after(m) {
			return false
		}
		msg := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
		if !r.source.takes(msg) || filter != nil && !filter.matches(msg) {
			return ctx.Err() == nil
		}
		open.begin(m.Sequence)
		select {
		case work <- m:
		case <-ctx.Done():
			return false
		}
		n++
		return ctx.Err() == nil && (r.q.Limit == 0 || n < r.q.Limit)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// errStopped is the error of an event whose function was not run any more.
var errStopped = errors.New("stopped")

// invoke runs the function for one event. What has begun goes to its end, though
// the replay may have ended; what the host does not let happen ends the replay.
func (r *replay) invoke(ctx context.Context, m *jetstream.RawStreamMsg) error {
	h := make(wire.Header, 0, 512).Add(wire.KeySubject, m.Subject).Add(wire.KeyStream, r.Stream).AddInt(wire.KeySequence, int64(m.Sequence)).
		AddInt(wire.KeyTime, m.Time.UnixNano()).AddInt(wire.KeyAttempt, 1).Add(wire.KeyReplayed, "1")
	h = r.source.header(h, &nats.Msg{Subject: m.Subject, Header: m.Header}, m.Time, r.stream.CachedInfo().Config.MaxAge)
	h, depth, err := passHeader(h, m.Header)
	if err != nil {
		return err
	}
	begin := time.Now()
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, maxHostDelay) {
		if ctx.Err() != nil {
			return errStopped
		}
		inv := &trigger.Invocation{Function: r.q.Function, Endpoint: r.Endpoint, Version: r.q.Version, Trigger: r.source.Kind, Header: h, Depth: depth, Payload: m.Data}
		err := r.t.runAlone(r.t.work, inv, r.spec)
		if err == nil || !hostFault(err) && r.t.work.Err() == nil {
			return err
		}
		if time.Since(begin) > hostPatience || wire.AsError(err).Code == wire.NoFunction {
			e := *wire.AsError(err)
			e.Message = fmt.Sprintf("the function could not be run on event %d: %s", m.Sequence, e.Message)
			r.cancel(&e)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// openEvents are the sequence numbers of events that have begun and have not ended.
type openEvents struct {
	mu   sync.Mutex
	list []uint64 // ascending
	last uint64   // that has begun
}

func (o *openEvents) begin(sequence uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list, o.last = append(o.list, sequence), sequence
}

// end takes one off, and returns the first that has not ended.
func (o *openEvents) end(sequence uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.list, sequence); i >= 0 {
		o.list = slices.Delete(o.list, i, i+1)
	}
	if len(o.list) > 0 {
		return o.list[0]
	}
	return o.last + 1
}
