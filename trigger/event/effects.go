package event

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// Effects are messages that are published, and changes of a bucket, all or none, and once for an event. They
// are written as one record first, on a subject that is made of the event and that
// takes one record only, and then published, with ids that the record gives them. The
// record is removed a while after the server has confirmed that the event is done. Where it is
// found, since something ended in the middle, what the streams do not hold yet is
// published, and no second record can be written.
const (
	EffectStream = "effects"
	effectPrefix = "$FN.effect."
	keepEffects  = keepDead // as long as an event can be sent again
)

// headerApplied is that of a record whose messages are published: they are not in
// it any more; headerBucket names the bucket that it has changed, and whose name for it is
// still to be forgotten. headerEvent is that of one for an event.
const (
	headerApplied = "Fn-Applied"
	headerBucket  = "Fn-Bucket"
	headerEvent   = "Fn-Event"
)

// Effects are what takes effect at once: the changes of a bucket first, which may be
// refused, and then the messages.
type Effects struct {
	Messages []*nats.Msg
	Bucket   string // "" for none
	Changes  []byte // of the bucket, in whatever form its State takes them
	Depth    int64  // of the events that they make
}

// State is where effects change buckets.
type State interface {
	// CommitOnce makes the changes of the bucket of e, once under a name. refused tells of an
	// error that they were not made, and never will be, as where a condition does not hold.
	CommitOnce(ctx context.Context, name string, e *Effects) (refused bool, err error)
	// ForgetOnce has the bucket forget the name.
	ForgetOnce(ctx context.Context, bucket, name string) error
}

// Commit names what effects are of: the event of a stream, or else an invocation.
type Commit struct {
	Function   string
	Endpoint   string
	Stream     string // of the event, "" for none
	Sequence   uint64
	Time       int64 // when the stream took it, in nanoseconds: one that is made anew counts from 1 again
	Invocation string
	Number     int64 // from 1, where one of those has several
}

// event is what the commits for one event have in common.
func (c Commit) event() string {
	if c.Stream == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s %s:%d:%d", c.Function, c.Endpoint, c.Stream, c.Sequence, c.Time)
}

func (c Commit) subject() string {
	of := c.event()
	if of == "" {
		of = c.Function + " " + c.Invocation
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", of, c.Number))
	return fmt.Sprintf("%s%s.%x", effectPrefix, c.Function, sum[:12])
}

// record is one that is in the stream.
type record struct {
	subject  string
	sequence uint64
	bucket   string // that it changes, "" for none
}

// once is the name under which the changes of a bucket are made.
func once(subject string) string { return subject[len(effectPrefix):] }

// effects is what is known of the records for events in progress, all of which are
// applied. It is forgotten when the event ends; what is not here is in the stream.
type effects struct {
	mu       sync.Mutex
	known    map[string][]record // by event
	ended    []endedRecord       // that are to be removed, the oldest first
	clearing bool                // a goroutine does that
	again    chan struct{}       // has one when a record could not be applied
	passes   atomic.Int64        // how often all records were looked at
	holding  sync.RWMutex        // held for writing while records stay as they are

	applying map[string]chan struct{} // by subject: who is at a record closes it
}

// alone waits until nobody applies the record on a subject, and returns what lets others do so:
// who looks for what was published must not miss what another one is about to publish.
func (e *effects) alone(subject string) (done func()) {
	mine := make(chan struct{})
	for {
		e.mu.Lock()
		other := e.applying[subject]
		if other == nil {
			break
		}
		e.mu.Unlock()
		<-other
	}
	defer e.mu.Unlock()
	if e.applying == nil {
		e.applying = make(map[string]chan struct{})
	}
	e.applying[subject] = mine
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.applying, subject)
		close(mine)
	}
}

// maxKnown bounds the events of which records are known. Beyond it they are
// forgotten: records stay in the stream then until they are too old.
const maxKnown = 100_000

func (e *effects) add(event string, r record) {
	if event == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil || len(e.known) >= maxKnown {
		e.known = make(map[string][]record)
	}
	e.known[event] = append(e.known[event], r)
}

func (e *effects) has(event string, r record) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, known := range e.known[event] {
		if known.subject == r.subject && known.sequence == r.sequence {
			return true
		}
	}
	return false
}

// take returns the records for an event, and forgets them.
func (e *effects) take(event func() string) []record {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) == 0 {
		return nil
	}
	key := event()
	list := e.known[key]
	delete(e.known, key)
	return list
}

// Commit has effects take place, all or none, and for an event once: without an error
// they have, now or when that was asked before. An error that wraps
// [ErrNotYet] tells that they will. If the bucket refuses its changes, the error is
// its own, and nothing has happened.
func (t *Trigger) Commit(ctx context.Context, c Commit, e Effects) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout) // what has begun is ended
	defer cancel()
	m, err := t.newRecord(c, e)
	if err != nil {
		return err
	}
	defer t.effects.alone(m.Subject)()
	ack, err := t.storeRecord(ctx, m)
	if isWrongLast(err) {
		done, e := t.committed(ctx, c)
		if done || e != nil || !isComing(err) {
			return e
		}
	}
	if err != nil {
		return fmt.Errorf("effects: %w", err)
	}
	r := record{m.Subject, ack.Sequence, e.Bucket}
	if refused, err := t.apply(ctx, m.Subject, e, time.Time{}); err != nil {
		if refused {
			return errors.Join(err, t.deleteRecord(ctx, r))
		}
		return t.notYet(err)
	}
	if c.event() == "" {
		return t.removeRecord(ctx, r)
	}
	t.effects.add(c.event(), r)
	return nil
}

// newRecord returns the message that holds effects.
func (t *Trigger) newRecord(c Commit, e Effects) (*nats.Msg, error) {
	name := rand.Text() // which nobody else can take before
	m := nats.NewMsg(c.subject())
	if e.Bucket != "" {
		m.Data = wire.AppendMessage(m.Data, wire.Header(nil).Add(wire.KeyOp, opState).Add(wire.KeyTarget, e.Bucket).AddInt(wire.KeyDepth, e.Depth), e.Changes)
	}
	for i, one := range e.Messages {
		if _, err := checkHeaders(one.Header); err != nil {
			return nil, err
		}
		if one.Header.Get(headerExpect) != "" {
			return nil, wire.Errorf(wire.BadRequest, "a message that is published atomically with others cannot expect a last sequence")
		}
		if one.Header.Get(jetstream.MsgIDHeader) == "" {
			one.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s.%d", name, i))
		}
		h := headerOf(one)
		if len(h) > wire.MaxHeader-2<<10 { // a function could not get it, and a stream might not take it, ever
			return nil, wire.Errorf(wire.HeaderLarge, "the headers of a message are %d bytes, over the limit of %d", len(h), wire.MaxHeader-2<<10)
		}
		m.Data = wire.AppendMessage(m.Data, h, one.Data)
	}
	if c.event() != "" {
		m.Header.Set(headerEvent, c.event())
	}
	if limit := t.MaxPayload(); int64(m.Size()) > limit {
		return nil, wire.Errorf(wire.TooLarge, "effects of %d bytes together are over the limit of %d", m.Size(), limit)
	}
	return m, nil
}

// opState is that of the part of a record that changes a bucket.
const opState = "kv.commit"

// effectsOf returns what a record holds.
func effectsOf(m *jetstream.RawStreamMsg) (e Effects, err error) {
	list, err := wire.Messages(m.Data)
	if err != nil {
		return e, fmt.Errorf("record %d: %w", m.Sequence, err)
	}
	for _, one := range list {
		if one.Header.Get(wire.KeyOp) == opState {
			e.Bucket, e.Changes = one.Header.Get(wire.KeyTarget), one.Payload
			e.Depth, _ = one.Header.Int(wire.KeyDepth)
			continue
		}
		e.Messages = append(e.Messages, messageOf(one))
	}
	return e, nil
}

// ErrNotYet is wrapped by the errors for effects that are certain, but could not be
// published yet.
var ErrNotYet = errors.New("they are stored, and take effect when that is possible")

func (t *Trigger) notYet(err error) error {
	select {
	case t.effects.again <- struct{}{}:
	default:
	}
	return fmt.Errorf("effects: %w: %w", ErrNotYet, err)
}

// storeRecord writes a record, if there is none on its subject.
func (t *Trigger) storeRecord(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	for again := false; ; again = true {
		ack, err := t.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithExpectStream(EffectStream),
			jetstream.WithRetryAttempts(0)) // where no stream answers there is none yet
		if again || !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
			return ack, err
		}
		if err := t.ensureEffects(ctx); err != nil {
			return nil, err
		}
	}
}

func (t *Trigger) ensureEffects(ctx context.Context) error {
	t.streams.Lock()
	defer t.streams.Unlock()
	_, err := t.ownStream(ctx, jetstream.StreamConfig{
		Name: EffectStream, Description: "what functions publish atomically", Subjects: []string{effectPrefix + ">"}, MaxAge: keepEffects,
		AllowDirect: true, MaxMsgsPerSubject: 1,
	})
	return err
}

// Committed reports whether there were effects already, and sees to it that they are
// published.
func (t *Trigger) Committed(ctx context.Context, c Commit) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	defer t.effects.alone(c.subject())()
	return t.committed(ctx, c)
}

func (t *Trigger) committed(ctx context.Context, c Commit) (bool, error) {
	stream, err := t.js.Stream(ctx, EffectStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	var m *jetstream.RawStreamMsg
	if err == nil {
		m, err = stream.GetLastMsgForSubject(ctx, c.subject())
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("effects: %w", err)
	}
	r := record{subject: m.Subject, sequence: m.Sequence}
	if !t.effects.has(c.event(), r) {
		refused, err := t.applyRecord(ctx, m, &r)
		if refused {
			return false, t.deleteRecord(ctx, r)
		}
		if err != nil {
			return false, t.notYet(err)
		}
		t.effects.add(c.event(), r)
	}
	return true, nil
}

// apply has the effects of the record on a subject take place; if that may have begun
// before, since a time, those that have not. refused is that of State.
func (t *Trigger) apply(ctx context.Context, subject string, e Effects, since time.Time) (refused bool, err error) {
	if e.Bucket != "" {
		if t.state == nil {
			return true, wire.Errorf(wire.Unavailable, "there are no buckets here")
		}
		if refused, err := t.state.CommitOnce(ctx, once(subject), &e); err != nil {
			return refused, err
		}
	}
	for _, m := range e.Messages {
		if !since.IsZero() {
			stored, err := t.wasStored(ctx, m, since)
			if err != nil {
				return false, err
			}
			if stored {
				continue
			}
		}
		if _, err := t.Publish(ctx, m); err != nil {
			return false, fmt.Errorf("publish on %s: %w", m.Subject, err)
		}
	}
	return false, nil
}

// headerOf and messageOf are a message as a record holds it, and back.
func headerOf(m *nats.Msg) wire.Header {
	h := wire.Header(nil).Add(wire.KeyTarget, m.Subject)
	for key, values := range m.Header {
		for _, value := range values {
			h = h.Add(key, value)
		}
	}
	return h
}

func messageOf(one wire.Message) *nats.Msg {
	m := nats.NewMsg(one.Header.Get(wire.KeyTarget))
	for key, value := range one.Header.All() {
		if key[0] != ':' {
			m.Header.Add(key, value)
		}
	}
	m.Data = one.Payload
	return m
}

// eventOf names the event of a message, as a Commit of its function does.
func (r *reader) eventOf(meta *jetstream.MsgMetadata, endpoint string) func() string {
	return func() string {
		return Commit{Function: r.function, Endpoint: endpoint, Stream: meta.Stream, Sequence: meta.Sequence.Stream, Time: meta.Timestamp.UnixNano()}.event()
	}
}

// CommitOf returns what a call to commit, or the question whether that was done,
// is about.
func CommitOf(function string, h wire.Header) Commit {
	c := Commit{Function: function, Endpoint: h.Get(wire.KeyEndpoint), Stream: h.Get(wire.KeyStream), Invocation: h.Get(wire.KeyInvocation)}
	c.Sequence, _ = strconv.ParseUint(h.Get(wire.KeySequence), 10, 64)
	c.Time, _ = h.Int(wire.KeyTime)
	c.Number, _ = h.Int(wire.KeyNumber)
	return c
}
