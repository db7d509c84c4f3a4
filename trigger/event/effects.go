package event

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// Effects are messages that are published all or none, and once for an event. They
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
// it any more. headerEvent is that of one for an event.
const (
	headerApplied = "Fn-Applied"
	headerEvent   = "Fn-Event"
)

// Commit names what effects are of: the event of a stream, or else an invocation.
type Commit struct {
	Function   string
	Endpoint   string
	Stream     string // of the event, "" for none
	Sequence   uint64
	Invocation string
	Number     int64 // from 1, where one of those has several
}

// event is what the commits for one event have in common.
func (c Commit) event() string {
	if c.Stream == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s %s:%d", c.Function, c.Endpoint, c.Stream, c.Sequence)
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
}

// effects is what is known of the records for events in progress, all of which are
// applied. It is forgotten when the event ends; what is not here is in the stream.
type effects struct {
	mu    sync.Mutex
	known map[string][]record // by event
	ended []endedRecord       // that are to be removed, the oldest first
	again chan struct{}       // has one when a record could not be applied
}

// endedRecord is a record whose event was acknowledged then.
type endedRecord struct {
	record
	at time.Time
}

// keepEnded is for how long a record stays after the server has confirmed that its
// event is done: it writes that down a tenth of a second later, and a server that is
// killed before has the event come again.
const keepEnded = 5 * time.Second

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
		if known == r {
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

// Commit publishes messages, all or none, and for an event once: without an error
// they are published, now or when that was asked before. An error that wraps
// [ErrNotYet] tells that they will be.
func (t *Trigger) Commit(ctx context.Context, c Commit, messages []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout) // what has begun is ended
	defer cancel()
	subject, name := c.subject(), rand.Text() // which nobody else can take before
	m := nats.NewMsg(subject)
	for i, one := range messages {
		if _, err := checkHeaders(one.Header); err != nil {
			return err
		}
		if one.Header.Get(headerExpect) != "" {
			return wire.Errorf(wire.BadRequest, "a message that is published atomically with others cannot expect a last sequence")
		}
		if one.Header.Get(jetstream.MsgIDHeader) == "" {
			one.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s.%d", name, i))
		}
		h := headerOf(one)
		if len(h) > wire.MaxHeader-2<<10 { // a function could not get it, and a stream might not take it, ever
			return wire.Errorf(wire.HeaderLarge, "the headers of a message are %d bytes, over the limit of %d", len(h), wire.MaxHeader-2<<10)
		}
		m.Data = wire.AppendMessage(m.Data, h, one.Data)
	}
	if c.event() != "" {
		m.Header.Set(headerEvent, c.event())
	}
	if limit := t.MaxPayload(); int64(m.Size()) > limit {
		return wire.Errorf(wire.TooLarge, "messages of %d bytes together are over the limit of %d", m.Size(), limit)
	}
	ack, err := t.storeRecord(ctx, m)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		_, err = t.Committed(ctx, c)
		return err
	}
	if err != nil {
		return fmt.Errorf("effects: %w", err)
	}
	r := record{subject, ack.Sequence}
	if err := t.apply(ctx, messages, time.Time{}); err != nil {
		return t.notYet(err)
	}
	if c.event() == "" {
		return t.deleteRecord(ctx, r)
	}
	t.effects.add(c.event(), r)
	return nil
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
	r := record{m.Subject, m.Sequence}
	if !t.effects.has(c.event(), r) {
		if err := t.applyRecord(ctx, m); err != nil {
			return false, t.notYet(err)
		}
		t.effects.add(c.event(), r)
	}
	return true, nil
}

// applyRecord publishes what a record holds and the streams do not.
func (t *Trigger) applyRecord(ctx context.Context, m *jetstream.RawStreamMsg) error {
	if m.Header.Get(headerApplied) != "" {
		return nil
	}
	list, err := wire.Messages(m.Data)
	if err != nil {
		return fmt.Errorf("record %d: %w", m.Sequence, err)
	}
	messages := make([]*nats.Msg, len(list))
	for i, one := range list {
		messages[i] = messageOf(one)
	}
	return t.apply(ctx, messages, m.Time)
}

// apply publishes messages; if some of them may have been already, since a time,
// those that were not.
func (t *Trigger) apply(ctx context.Context, messages []*nats.Msg, since time.Time) error {
	for _, m := range messages {
		if !since.IsZero() {
			if stored, err := t.wasStored(ctx, m, since); stored || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if _, err := t.Publish(ctx, m); err != nil {
			return fmt.Errorf("publish on %s: %w", m.Subject, err)
		}
	}
	return nil
}

// wasStored reports whether the stream of a message has taken it since a time. The
// stream itself would know for as long as its window for duplicates is.
func (t *Trigger) wasStored(ctx context.Context, m *nats.Msg, since time.Time) (bool, error) {
	name, err := t.taker(ctx, m.Subject)
	if name == "" || err != nil {
		return false, err
	}
	c, err := t.js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		FilterSubject: m.Subject, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", name, err)
	}
	defer t.js.DeleteConsumer(ctx, name, c.CachedInfo().Name)
	for left := int(c.CachedInfo().NumPending); left > 0; {
		batch, err := c.Fetch(min(left, 500), jetstream.FetchContext(ctx))
		if err != nil {
			return false, fmt.Errorf("stream %s: %w", name, err)
		}
		n, found := 0, false
		for got := range batch.Messages() {
			n++
			found = found || got.Headers().Get(jetstream.MsgIDHeader) == m.Header.Get(jetstream.MsgIDHeader)
		}
		if err := batch.Error(); found || err != nil {
			return found, err
		}
		left -= max(n, 1)
	}
	return false, nil
}

// settle has the records for an event go that has ended well, or notes that they
// were applied for one that comes again.
func (t *Trigger) settle(list []record, gone bool) {
	if gone {
		t.effects.mu.Lock()
		defer t.effects.mu.Unlock()
		for _, r := range list {
			t.effects.ended = append(t.effects.ended, endedRecord{r, time.Now()})
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	for _, r := range list {
		t.stays(t.markApplied(ctx, r))
	}
}

func (t *Trigger) stays(err error) {
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		t.log.Warn("a record of effects stays for a while: " + err.Error())
	}
}

// clearEffects removes the records of events that are done, until the trigger is
// closed. What is left then stays until it is too old.
func (t *Trigger) clearEffects() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		t.effects.mu.Lock()
		n := 0
		for n < len(t.effects.ended) && time.Since(t.effects.ended[n].at) > keepEnded {
			n++
		}
		list := t.effects.ended[:n]
		if t.effects.ended = t.effects.ended[n:]; len(t.effects.ended) == 0 {
			t.effects.ended = nil
		}
		t.effects.mu.Unlock()
		for _, r := range list {
			ctx, cancel := context.WithTimeout(t.work, setupTimeout)
			err := t.deleteRecord(ctx, r.record)
			cancel()
			if t.ctx.Err() != nil {
				return
			}
			t.stays(err)
		}
	}
}

func (t *Trigger) deleteRecord(ctx context.Context, r record) error {
	stream, err := t.js.Stream(ctx, EffectStream)
	if err == nil {
		err = stream.DeleteMsg(ctx, r.sequence)
	}
	if err != nil {
		return fmt.Errorf("record %d: %w", r.sequence, err)
	}
	return nil
}

// markApplied puts a small record in the place of one, for later attempts and starts.
func (t *Trigger) markApplied(ctx context.Context, r record) error {
	m := nats.NewMsg(r.subject)
	m.Header.Set(headerApplied, "yes")
	_, err := t.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(r.sequence))
	return err
}

// recoverEffects publishes what a host that was killed had still to publish, and
// what could not be when it was due, until the trigger is closed.
func (t *Trigger) recoverEffects() {
	for t.ctx.Err() == nil {
		err := t.recoverRecords()
		wait := t.effects.again
		if err != nil && t.ctx.Err() == nil {
			t.log.Warn("effects wait: " + err.Error())
			wait = nil
		}
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(t.retrySetup)
		}
		select {
		case <-t.ctx.Done():
		case <-wait:
			select { // what could not be a moment ago
			case <-t.ctx.Done():
			case <-time.After(t.retrySetup):
			}
		case <-retry:
		}
	}
}

// recoverRecords returns the first error. A record that cannot be applied, since its
// stream refuses it for now or for ever, does not hold up others.
func (t *Trigger) recoverRecords() error {
	stream, err := t.js.Stream(t.ctx, EffectStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", EffectStream, err)
	}
	var first error
	for next := uint64(1); t.ctx.Err() == nil; {
		m, err := stream.GetMsg(t.ctx, next, jetstream.WithGetMsgSubject(effectPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return first
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", EffectStream, err)
		}
		if m.Header.Get(headerApplied) == "" {
			if err := t.recoverRecord(m); err != nil && first == nil {
				first = fmt.Errorf("stream %s: record %d: %w", EffectStream, m.Sequence, err)
			}
		}
		next = m.Sequence + 1
	}
	return first
}

func (t *Trigger) recoverRecord(m *jetstream.RawStreamMsg) error {
	ctx, cancel := context.WithTimeout(t.ctx, setupTimeout)
	defer cancel()
	r := record{m.Subject, m.Sequence}
	event := m.Header.Get(headerEvent)
	if t.effects.has(event, r) {
		return nil
	}
	if err := t.applyRecord(ctx, m); err != nil {
		return err
	}
	if event == "" {
		return t.deleteRecord(ctx, r)
	}
	err := t.markApplied(ctx, r)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return nil // its event has ended meanwhile
	}
	return err
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
		return Commit{Function: r.function, Endpoint: endpoint, Stream: meta.Stream, Sequence: meta.Sequence.Stream}.event()
	}
}

// CommitOf returns what a call to commit, or the question whether that was done,
// is about.
func CommitOf(function string, h wire.Header) Commit {
	c := Commit{Function: function, Endpoint: h.Get(wire.KeyEndpoint), Stream: h.Get(wire.KeyStream), Invocation: h.Get(wire.KeyInvocation)}
	c.Sequence, _ = strconv.ParseUint(h.Get(wire.KeySequence), 10, 64)
	c.Number, _ = h.Int(wire.KeyNumber)
	return c
}
