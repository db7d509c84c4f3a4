package event

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
	asked := time.Now()
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
	fresh := cfg.DeliverPolicy == jetstream.DeliverNewPolicy
	if fresh && r.from > 0 { // an event may have come by now
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.from
	}
	if fresh && r.from == 0 { // what has come since the function serves is new
		at := r.created.Add(skew(stream.CachedInfo().TimeStamp, asked, time.Now()))
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	}
	if r.anew && (fresh || !r.begun.IsZero()) { // sequences are others, too
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverAllPolicy, 0, nil
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

// skew is how much a server's clock is ahead, at least: it said what time it is between
// asked and answered.
func skew(server, asked, answered time.Time) time.Duration {
	switch {
	case server.Before(asked):
		return server.Sub(asked)
	case server.After(answered):
		return server.Sub(answered)
	}
	return 0
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

// noStream is the error for a stream that is named and is not there.
type noStream struct{ name string }

func (e noStream) Error() string {
	if bucket, ok := strings.CutPrefix(e.name, "KV_"); ok {
		return fmt.Sprintf("there is no bucket %s yet: the trigger begins when it is made", bucket)
	}
	return fmt.Sprintf("there is no stream %s: make it (`nats stream add`), or leave the key out for the host's own", e.name)
}

// Is makes it ErrNoStream, and ErrNoBucket where that is what is missing.
func (e noStream) Is(target error) bool {
	return target == ErrNoStream || target == ErrNoBucket && strings.HasPrefix(e.name, "KV_")
}

// createdAdvisory begins the subjects on which the server tells of streams that are made.
const createdAdvisory = "$JS.EVENT.ADVISORY.STREAM.CREATED."

// pauseSetup waits before the next try to set up: for a stream that is not there, until
// the server tells that it is, or for longer, since not each server does.
func (r *reader) pauseSetup(err error) {
	wait, made := r.t.retrySetup, make(chan *nats.Msg, 1)
	var missing noStream
	if errors.As(err, &missing) {
		if sub, err := r.t.conn.ChanSubscribe(createdAdvisory+missing.name, made); err == nil {
			defer sub.Unsubscribe()
			wait = r.t.retryStream
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
	case <-made:
	case <-timer.C:
	}
}

// meet learns of the stream. All that one holds is new which was made after another of
// the same name was read.
func (r *reader) meet(stream jetstream.Stream) {
	info := stream.CachedInfo()
	r.maxAge.Store(int64(info.Config.MaxAge))
	if !r.begun.IsZero() && !r.begun.Equal(info.Created) {
		r.anew = true
	}
}

// tellGap warns of changes that a bucket has forgotten before the trigger came to read
// them. Of values that is as it should be, since later ones have taken their place; but a delete or
// an expiry that nobody saw in time is gone, too, and the server does not tell which it was.
func (r *reader) tellGap(ctx context.Context, stream jetstream.Stream, is *jetstream.ConsumerInfo) {
	keeps := stream.CachedInfo().Config.SubjectDeleteMarkerTTL
	if r.source.Messages == nil || keeps == 0 || !r.begun.IsZero() || !strings.HasSuffix(r.spec.Subject, ".>") || strings.Count(r.spec.Subject, ".") > 2 {
		return // of other triggers, or once it has begun; and where it reads a part, what is missing may be of other keys
	}
	state := stream.CachedInfo().State
	next, at := state.LastSeq+1, state.LastTime
	m, err := nextMessage(ctx, stream, "", is.Delivered.Stream+1)
	if err == nil {
		next, at = m.Sequence, m.Time
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return
	}
	if gone := int64(next) - int64(is.Delivered.Stream) - 1; gone > 0 && time.Since(at) > keeps {
		r.t.log.Warn(fmt.Sprintf("%d changes were made while nobody read them, and are no longer kept: values that were replaced, and maybe deletes and expiries, which a bucket keeps for %v", gone, keeps),
			"function", r.function, "bucket", r.source.Bucket, "from", is.Delivered.Stream+1)
	}
}
