package event

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
)

// reader takes the events of one trigger.
type reader struct {
	t        *Trigger
	key      string
	function string
	source   Source
	spec     manifest.Event    // of source
	schedule manifest.Schedule // of a schedule,
	id       string            // which has one; "" otherwise
	from     uint64            // where to begin if its stream has taken the subject for it; 0 otherwise
	begun    time.Time         // when the stream was made that it reads, zero for none yet
	anew     bool              // all that the stream has is new, since there was none before
	maxAge   atomic.Int64      // of the stream
	latest   atomic.Pointer[lastFailure]
	problem  atomic.Pointer[string] // why it does not work
	skipped  atomic.Uint64          // events that were taken off without being handled
	calls    *calls                 // for a reader of asynchronous calls; nil otherwise
	ctx      context.Context
	cancel   context.CancelFunc
	ended    recent // where their order matters
}

func newReader(t *Trigger, function string, spec *manifest.Event) *reader {
	return sourceReader(t, function, eventSource(spec))
}

func sourceReader(t *Trigger, function string, s Source) *reader {
	sum := sha256.Sum256([]byte(s.ID))
	return &reader{t: t, key: fmt.Sprintf("fn_%s_%x", function, sum[:4]), function: function, source: s, spec: s.Spec}
}

// run sets the consumer up, and takes its events until the reader is canceled.
// What goes wrong is tried again.
func (r *reader) run() {
	failed := ""
	for r.ctx.Err() == nil {
		consumer, err := r.setUp()
		if err == nil {
			r.problem.Store(nil)
			if failed != "" {
				failed = ""
				r.t.report(r.function, r.name(), nil)
			}
			err = r.read(consumer)
		}
		if r.ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != failed {
			text := err.Error() // which stays as it is for who reads it
			r.problem.Store(&text)
			failed = text
			r.t.log.Error("an event trigger does not work: "+failed, "function", r.function, "subject", r.name())
			r.t.report(r.function, r.name(), err)
		}
		r.pauseSetup(err)
	}
}

// setUp makes the stream and the consumer if need be.
func (r *reader) setUp() (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(r.ctx, setupTimeout)
	defer cancel()
	if err := r.t.ensureDead(ctx); err != nil {
		return nil, err
	}
	if r.spec.Dedupe > 0 || r.id != "" {
		if err := r.t.ensureSeen(ctx); err != nil {
			return nil, err
		}
	}
	if r.id != "" {
		if err := r.setSchedule(ctx); err != nil {
			return nil, err
		}
		if err := r.makeUp(ctx); err != nil {
			return nil, err
		}
	}
	stream, from, err := r.t.streamFor(ctx, &r.spec)
	if err != nil {
		r.anew = r.anew || errors.As(err, new(noStream))
		return nil, err
	}
	r.meet(stream)
	if from > 0 {
		r.from = from
	}
	cfg := jetstream.ConsumerConfig{
		Durable: r.key, FilterSubject: r.spec.Subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: r.t.ackWait,
		MaxDeliver: -1, MaxAckPending: r.maxPending(stream.CachedInfo().Config.ConsumerLimits), InactiveThreshold: keepConsumer,
		Metadata: map[string]string{"function": r.function, "endpoint": r.spec.Endpoint}, HeadersOnly: r.source.HeadersOnly,
	}
	if isPinned(&r.spec) {
		cfg.AckWait = r.t.ackWait / 2 // an order has to wait for those that the server misses
		pinned(&cfg, r.t.ackWait)
	}
	if err := start(&cfg, r.spec.Start); err != nil {
		return nil, err
	}
	if cfg.DeliverPolicy == jetstream.DeliverNewPolicy && r.from > 0 { // an event may have come by now
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.from
	}
	if cfg.DeliverPolicy == jetstream.DeliverNewPolicy && r.anew {
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	if old, err := stream.Consumer(ctx, r.key); err == nil { // where it begins cannot be changed any more, and a pause goes on
		was := old.CachedInfo().Config
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime, cfg.PauseUntil = was.DeliverPolicy, was.OptStartSeq, was.OptStartTime, was.PauseUntil
		r.tellGap(ctx, stream, old.CachedInfo())
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer of stream %s: %w", stream.CachedInfo().Config.Name, err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("consumer of stream %s: %w", stream.CachedInfo().Config.Name, err)
	}
	r.begun, r.anew = stream.CachedInfo().Created, false
	if consumer.CachedInfo().Config.PriorityPolicy != cfg.PriorityPolicy {
		return nil, errors.New("order: key, debounce and throttle need NATS 2.11 or later")
	}
	return consumer, nil
}

// maxPending is how many events may be in flight or wait for a retry. Those that
// wait leave room for others, but where events are handled one by one: there
// the next comes when this one has ended, in one way or the other. Where those of a
// key are in order, all that were sent must have a place in hand.
func (r *reader) maxPending(limits jetstream.StreamConsumerLimits) int {
	n := places(&r.spec)
	if r.spec.InFlight > 1 && !isOrdered(&r.spec) {
		n += maxWaiting
	}
	if limits.MaxAckPending > 0 {
		n = min(n, limits.MaxAckPending)
	}
	return n
}

// start says where a new consumer begins.
func start(cfg *jetstream.ConsumerConfig, from string) error {
	switch from {
	case "new", "":
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
		return nil
	case "all":
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
		return nil
	}
	if n, err := strconv.ParseUint(from, 10, 64); err == nil {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, n
		return nil
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		return fmt.Errorf("start %q: %w", from, err)
	}
	cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	return nil
}
