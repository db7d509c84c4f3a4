package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// endedRecord is a record whose event was acknowledged then.
type endedRecord struct {
	record
	at    time.Time
	named bool // it has been replaced, and only its name in the bucket is left
}

// keepEnded is for how long a record stays after the server has confirmed that its
// event is done: it writes that down a tenth of a second later, and a server that is
// killed before has the event come again.
const keepEnded = 5 * time.Second

// applyRecord has what a record holds take place, as far as it has not, and notes in r what
// it changes. refused is that of State.
func (t *Trigger) applyRecord(ctx context.Context, m *jetstream.RawStreamMsg, r *record) (refused bool, err error) {
	if m.Header.Get(headerApplied) != "" {
		r.bucket = m.Header.Get(headerBucket)
		return false, nil
	}
	e, err := effectsOf(m)
	if err != nil {
		return false, err
	}
	r.bucket = e.Bucket
	return t.apply(ctx, m.Subject, e, m.Time)
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
	if len(list) == 0 {
		return
	}
	if gone {
		t.clearLater(list, false)
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

// clearLater has records, or their names alone, go after a while.
func (t *Trigger) clearLater(list []record, named bool) {
	if t.effects.end(list, named) {
		t.startClearing()
	}
}

// end notes records whose event is done. It reports whether somebody must begin to
// clear them.
func (e *effects) end(list []record, named bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range list {
		e.ended = append(e.ended, endedRecord{r, time.Now(), named})
	}
	begin := !e.clearing
	e.clearing = true
	return begin
}

// due returns the records that ended so long ago, which are not kept here any more. It
// reports whether there are others; if not, nobody clears them from here on.
func (e *effects) due(ago time.Duration) (list []endedRecord, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for n < len(e.ended) && time.Since(e.ended[n].at) > ago {
		n++
	}
	list, e.ended = e.ended[:n], e.ended[n:]
	if e.clearing = len(e.ended) > 0; !e.clearing {
		e.ended = nil
	}
	return list, e.clearing
}

// startClearing is for who has ended a record while nobody cleared any.
func (t *Trigger) startClearing() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.tasks.Go(t.clearEffects)
	}
}

// clearEffects removes the records of events that are done, until there are none or
// the trigger is closed. What is left then stays until it is too old.
func (t *Trigger) clearEffects() {
	ticker := time.NewTicker(t.keepEnded / 5)
	defer ticker.Stop()
	for more := true; more; {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		var list []endedRecord
		list, more = t.effects.due(t.keepEnded)
		for _, r := range list {
			ctx, cancel := context.WithTimeout(t.work, setupTimeout)
			var err error
			if r.named {
				err = t.forgetName(ctx, r.record)
			} else {
				err = t.removeRecord(ctx, r.record)
			}
			cancel()
			if t.ctx.Err() != nil {
				return
			}
			t.stays(err)
		}
	}
}

// Hold has the records of effects stay as they are until release is called, for who reads them after
// the streams that they change: a record that has gone before would leave effects in part. It waits for what is
// being changed. Events are handled meanwhile, and records that could go are removed afterwards.
func (t *Trigger) Hold() (release func()) {
	t.effects.holding.Lock()
	return t.effects.holding.Unlock
}

// removeRecord removes a record that is applied, later if it is held.
func (t *Trigger) removeRecord(ctx context.Context, r record) error {
	if !t.effects.holding.TryRLock() {
		t.clearLater([]record{r}, false)
		return nil
	}
	defer t.effects.holding.RUnlock()
	return t.deleteRecord(ctx, r)
}

func (t *Trigger) deleteRecord(ctx context.Context, r record) error {
	stream, err := t.js.Stream(ctx, EffectStream)
	if err == nil {
		err = stream.DeleteMsg(ctx, r.sequence)
	}
	if err == nil {
		err = t.forgetOnce(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("record %d: %w", r.sequence, err)
	}
	return nil
}

// forgetOnce has the bucket of a record that is no longer there forget it.
func (t *Trigger) forgetOnce(ctx context.Context, r record) error {
	if r.bucket == "" {
		return nil
	}
	return t.state.ForgetOnce(ctx, r.bucket, once(r.subject))
}

// forgetName is forgetOnce for a record that has been replaced, later if records are held.
func (t *Trigger) forgetName(ctx context.Context, r record) error {
	if !t.effects.holding.TryRLock() {
		t.clearLater([]record{r}, true)
		return nil
	}
	defer t.effects.holding.RUnlock()
	return t.forgetOnce(ctx, r)
}

// markApplied puts a small record in the place of one, for later attempts and starts. One that is held
// stays: a later attempt finds that all of it was stored.
func (t *Trigger) markApplied(ctx context.Context, r record) error {
	if !t.effects.holding.TryRLock() {
		return nil
	}
	defer t.effects.holding.RUnlock()
	m := nats.NewMsg(r.subject)
	m.Header.Set(headerApplied, "yes")
	if r.bucket != "" {
		m.Header.Set(headerBucket, r.bucket)
	}
	_, err := t.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(r.sequence))
	if err == nil && r.bucket != "" { // another node may have read the record a moment ago
		t.clearLater([]record{r}, true)
	}
	return err
}

// recoverEffects publishes what a host that was killed had still to publish, and
// what could not be when it was due, until the trigger is closed.
func (t *Trigger) recoverEffects() {
	for t.ctx.Err() == nil {
		err := t.recoverRecords()
		t.effects.passes.Add(1)
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
		if bucket := m.Header.Get(headerBucket); bucket != "" && t.effects.passes.Load() == 0 { // whose host was killed before
			t.clearLater([]record{{m.Subject, m.Sequence, bucket}}, true)
		}
		if m.Header.Get(headerApplied) == "" {
			if err := t.recoverRecord(stream, m); err != nil && first == nil {
				first = fmt.Errorf("stream %s: record %d: %w", EffectStream, m.Sequence, err)
			}
		}
		next = m.Sequence + 1
	}
	return first
}

func (t *Trigger) recoverRecord(stream jetstream.Stream, m *jetstream.RawStreamMsg) error {
	ctx, cancel := context.WithTimeout(t.ctx, setupTimeout)
	defer cancel()
	defer t.effects.alone(m.Subject)()
	is, err := stream.GetLastMsgForSubject(ctx, m.Subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && is.Sequence != m.Sequence {
		return nil // somebody else has applied it since it was read
	}
	if err != nil {
		return err
	}
	r := record{subject: m.Subject, sequence: m.Sequence}
	event := m.Header.Get(headerEvent)
	if t.effects.has(event, r) {
		return nil
	}
	refused, err := t.applyRecord(ctx, m, &r)
	if err != nil && !refused {
		return err
	}
	if refused {
		return t.deleteRecord(ctx, r)
	}
	if event == "" {
		return t.removeRecord(ctx, r)
	}
	err = t.markApplied(ctx, r)
	if isWrongLast(err) {
		return nil // its event has ended meanwhile
	}
	return err
}
