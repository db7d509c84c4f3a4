package event

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/functions/wire"
)

// A message that is to be published later waits in a stream of its own, as a
// schedule that the server runs once, or if it is due within a second, which is
// less than the server's schedules are made for, as one that is handed back until
// then. What is due is forwarded by one consumer for all functions, and leaves the
// stream when its subject's stream has it.
const (
	LaterStream = "later"
	laterPrefix = "later."
	laterAt     = "later.at." // and a name: those that wait
	laterDue    = "later.due"
	// letters of what could not be forwarded: no function has that name.
	laterLetters = DeadPrefix + "_later"
)

// MaxLater is how far ahead a message may be published.
const MaxLater = 30 * 24 * time.Hour

const (
	laterPlaces   = 16              // messages that are forwarded at once
	laterAttempts = 20              // of forwarding one, in about an hour
	laterDelay    = 5 * time.Minute // the longest between them
	lookLater     = time.Minute     // how often is looked for what another node has delayed
	minSchedule   = time.Second     // what is due earlier is no schedule
)

// Headers of NATS that say how a message is to be published.
const (
	headerSchedule       = jetstream.ScheduleHeader
	headerScheduleTarget = jetstream.ScheduleTargetHeader
	headerTTL            = jetstream.MsgTTLHeader
	headerExpect         = jetstream.ExpectedLastSubjSeqHeader
)

// Headers of a message that waits, in place of those of NATS, which would be for
// the stream that it waits in.
const (
	headerLaterSubject = "Fn-Later-Subject"
	headerLaterTime    = "Fn-Later-Time"
	headerLaterID      = "Fn-Later-Id"
	headerLaterTTL     = "Fn-Later-Ttl"
)

// checkHeaders returns when a message is to be published, zero for now.
func checkHeaders(h nats.Header) (at time.Time, err error) {
	if len(h) == 0 {
		return at, nil
	}
	for key := range what {
		if len(h[key]) > 1 {
			return at, wire.Errorf(wire.BadRequest, "%s of a message is said %d times, and can be once: of a delay and a time, choose one", what[key], len(h[key]))
		}
	}
	if ttl := h.Get(headerTTL); ttl != "" {
		if err := checkTTL(ttl); err != nil {
			return at, err
		}
	}
	expect := h.Get(headerExpect)
	if _, err := strconv.ParseUint(expect, 10, 64); err != nil && expect != "" {
		return at, wire.Errorf(wire.BadRequest, "expected last sequence %.40q: want a number", expect)
	}
	pattern := h.Get(headerSchedule)
	if pattern == "" || h.Get(headerScheduleTarget) != "" {
		return at, nil
	}
	text, ok := strings.CutPrefix(pattern, "@at ")
	if at, err = time.Parse(time.RFC3339, text); !ok || err != nil || at.Year() < 1970 {
		return at, wire.Errorf(wire.BadRequest, "time of publishing %.60q: want @at and a time such as 2026-01-02T15:04:05Z", pattern)
	}
	if time.Until(at) > MaxLater {
		return at, wire.Errorf(wire.BadRequest, "a message can be published at most %d days ahead, and this one would be on %s", MaxLater/(24*time.Hour), at.Format("2006-01-02"))
	}
	if expect != "" && time.Until(at) > 0 {
		return at, wire.Errorf(wire.BadRequest, "a message that is published later cannot expect a last sequence")
	}
	return at, nil
}

// what the headers say, for errors.
var what = map[string]string{jetstream.MsgIDHeader: "the ID", headerTTL: "the TTL", headerExpect: "the expected last sequence", headerSchedule: "the time of publishing"}

// checkTTL refuses what the server would round, to 0 at worst, which is for ever.
func checkTTL(ttl string) error {
	d, err := time.ParseDuration(ttl)
	if seconds, e := strconv.ParseInt(ttl, 10, 64); e == nil {
		d, err = time.Duration(seconds)*time.Second, nil
		if seconds > int64(1<<63-1)/int64(time.Second) {
			err = strconv.ErrRange
		}
	}
	if err != nil || d < time.Second || d%time.Second != 0 {
		return wire.Errorf(wire.BadRequest, "a TTL of %.40q: want whole seconds, at least 1s", ttl)
	}
	return nil
}

// without returns a message without a header, leaving m as it is.
func without(m *nats.Msg, key string) *nats.Msg {
	c := &nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data, Header: maps.Clone(m.Header)}
	c.Header.Del(key)
	return c
}

// publishLater stores a message that is to be published at a time to come.
func (t *Trigger) publishLater(ctx context.Context, m *nats.Msg, at time.Time) (Stored, error) {
	if err := t.ensureLater(ctx); err != nil {
		return Stored{}, err
	}
	t.wake()
	id, name := m.Header.Get(jetstream.MsgIDHeader), rand.Text()
	waiting := nats.NewMsg(laterDue)
	waiting.Data = m.Data
	for key, values := range m.Header {
		switch lower := strings.ToLower(key); {
		case strings.HasPrefix(lower, "fn-later-"), what[key] != "":
		case strings.HasPrefix(lower, "nats-"):
			return Stored{}, wire.Errorf(wire.BadRequest, "a message that is published later cannot have the header %.60s", key)
		default:
			waiting.Header[key] = values
		}
	}
	set := func(key, value string) {
		if value != "" {
			waiting.Header.Set(key, value)
		}
	}
	set(headerLaterSubject, m.Subject)
	set(headerLaterTime, at.UTC().Format(time.RFC3339Nano))
	set(headerLaterTTL, m.Header.Get(headerTTL))
	if id != "" { // one of an ID waits on a subject of its own, so that a second one is noticed
		sum := sha256.Sum256([]byte(m.Subject + " " + id))
		name = fmt.Sprintf("%x", sum[:16])
		set(headerLaterID, id)
		set(jetstream.MsgIDHeader, name)
	} else {
		set(headerLaterID, "later:"+name)
	}
	if wait := time.Until(at); wait < minSchedule && id != "" {
		if s, err := t.waits(ctx, laterAt+name); err != nil || s.Sequence > 0 {
			return s, err // one of its ID is a schedule
		}
	} else if wait >= minSchedule {
		waiting.Subject = laterAt + name
		set(headerSchedule, "@at "+at.UTC().Format(time.RFC3339Nano))
		set(headerScheduleTarget, laterDue)
		set(headerExpect, "0")
	}
	ack, err := t.js.PublishMsg(ctx, waiting, jetstream.WithExpectStream(LaterStream))
	if err == nil {
		return Stored{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
	}
	err = refusal(LaterStream, waiting, err)
	if wire.AsError(err).Code == wire.Conflict {
		return t.waits(ctx, waiting.Subject)
	}
	return Stored{}, err
}

// waits says where a message waits that was stored before.
func (t *Trigger) waits(ctx context.Context, subject string) (Stored, error) {
	s := Stored{Stream: LaterStream, Duplicate: true}
	stream, err := t.js.Stream(ctx, LaterStream)
	if err != nil {
		return s, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return s, nil // its time has just come
	}
	if err == nil {
		s.Sequence = m.Sequence
	}
	return s, err
}

func (t *Trigger) ensureLater(ctx context.Context) error {
	t.streams.Lock()
	defer t.streams.Unlock()
	_, err := t.ownStream(ctx, jetstream.StreamConfig{
		Name: LaterStream, Description: "messages that are published later", Subjects: []string{laterPrefix + ">"}, Retention: jetstream.WorkQueuePolicy,
		AllowMsgSchedules: true, AllowMsgTTL: true, AllowDirect: true, AllowRollup: true,
	})
	return err
}

// wake tells who forwards that something was delayed.
func (t *Trigger) wake() {
	t.mu.Lock()
	t.startLater()
	t.mu.Unlock()
	select {
	case t.wakeLater <- struct{}{}:
	default:
	}
}

// startLater has what is due forwarded. t.mu is held.
func (t *Trigger) startLater() {
	if t.closed || t.later {
		return
	}
	t.later = true
	t.tasks.Go(t.runLater)
}

// runLater forwards what is due. Without the stream there is nothing to do until
// somebody delays something.
func (t *Trigger) runLater() {
	failed := ""
	for t.ctx.Err() == nil {
		pause := t.retrySetup
		consumer, err := t.laterConsumer()
		if err == nil {
			failed = ""
			err = t.readLater(consumer)
		}
		switch {
		case err == nil || t.ctx.Err() != nil:
		case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			pause = lookLater
		case err.Error() != failed:
			failed = err.Error()
			t.log.Error("messages that were delayed are not published: " + failed)
		}
		select {
		case <-t.ctx.Done():
		case <-t.wakeLater:
		case <-time.After(pause):
		}
	}
}

// laterConsumer returns the consumer of what is due, if the stream is there.
func (t *Trigger) laterConsumer() (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(t.ctx, setupTimeout)
	defer cancel()
	stream, err := t.js.Stream(ctx, LaterStream)
	if err != nil {
		return nil, err
	}
	if err := t.ensureLater(ctx); err != nil { // it may be somebody else's
		return nil, err
	}
	if err := t.ensureDead(ctx); err != nil {
		return nil, err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "fn_later", FilterSubject: laterDue, AckPolicy: jetstream.AckExplicitPolicy, AckWait: t.ackWait + setupTimeout, MaxDeliver: -1, MaxAckPending: maxWaiting,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer of stream %s: %w", LaterStream, err)
	}
	return consumer, nil
}

// readLater forwards until the trigger is closed, or the consumer is gone.
func (t *Trigger) readLater(consumer jetstream.Consumer) error {
	info := consumer.CachedInfo()
	p := &puller{
		conn: t.conn, subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", info.Stream, info.Name), inbox: t.conn.NewInbox(), places: laterPlaces,
		messages: make(chan *nats.Msg, laterPlaces+64), wake: make(chan struct{}, 1),
	}
	sub, err := p.conn.ChanSubscribe(p.inbox, p.messages)
	if err != nil {
		return fmt.Errorf("consumer of stream %s: %w", LaterStream, err)
	}
	defer p.handBack(sub)
	return p.run(t.ctx, func(m *message) {
		p.busy.Add(1)
		t.tasks.Go(func() {
			t.forward(m)
			p.end()
		})
	})
}

// forward publishes a message on its subject, if it is time.
func (t *Trigger) forward(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		t.log.Error("a message without metadata is left: " + err.Error())
		return
	}
	out, at := due(m)
	if wait := time.Until(at); wait > 0 {
		m.NakWithDelay(wait)
		return
	}
	ctx, cancel := context.WithTimeout(t.work, setupTimeout)
	defer cancel()
	if err = CheckSubject(out.Subject); err != nil { // nobody but the host writes here, or should
		err = wire.Errorf(wire.BadRequest, "%v", err)
	} else {
		_, err = t.publish(ctx, out)
	}
	switch {
	case err == nil:
		if err := m.Ack(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.log.Warn("a delayed message was published and may be again: "+err.Error(), "subject", out.Subject)
		}
	case t.work.Err() != nil:
		m.Nak()
	default:
		t.notForwarded(m, meta, out, wire.AsError(err))
	}
}

// due returns what waited, as it is to be published, and when.
func due(m jetstream.Msg) (out *nats.Msg, at time.Time) {
	h := m.Headers()
	out = nats.NewMsg(h.Get(headerLaterSubject))
	out.Data = m.Data()
	for key, values := range h {
		if !strings.HasPrefix(key, "Nats-") && !strings.HasPrefix(key, "Fn-Later-") {
			out.Header[key] = values
		}
	}
	if id := h.Get(headerLaterID); id != "" {
		out.Header.Set(jetstream.MsgIDHeader, id)
	}
	if ttl := h.Get(headerLaterTTL); ttl != "" {
		out.Header.Set(headerTTL, ttl)
	}
	at, _ = time.Parse(time.RFC3339Nano, h.Get(headerLaterTime)) // or at once
	return out, at
}

// notForwarded has a message forwarded again, or makes it a dead letter: at once if
// its stream will never take it.
func (t *Trigger) notForwarded(m jetstream.Msg, meta *jetstream.MsgMetadata, out *nats.Msg, e *wire.Error) {
	attempt := int(meta.NumDelivered)
	delay := min(time.Second<<min(attempt-1, 20), laterDelay)
	if e.Code != wire.BadRequest && e.Code != wire.TooLarge && attempt < laterAttempts {
		t.log.Warn("a delayed message could not be published and is tried again: "+e.Error(), "subject", out.Subject, "attempt", attempt, "after", delay)
		m.NakWithDelay(delay)
		return
	}
	letter := nats.NewMsg(laterLetters)
	letter.Data, letter.Header = out.Data, letterHeader(out.Header)
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(e.Error())
	for key, value := range map[string]string{
		HeaderSubject: out.Subject, HeaderStream: meta.Stream, HeaderSequence: strconv.FormatUint(meta.Sequence.Stream, 10),
		HeaderTime: meta.Timestamp.UTC().Format(time.RFC3339Nano), HeaderAttempts: strconv.Itoa(attempt),
		HeaderError: text[:min(len(text), maxError)], HeaderCode: string(e.Code), jetstream.MsgIDHeader: fmt.Sprintf("%s:%d", meta.Stream, meta.Sequence.Stream),
	} {
		letter.Header.Set(key, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if _, err := t.js.PublishMsg(ctx, letter, jetstream.WithExpectStream(DeadStream)); err != nil {
		t.log.Error("a dead letter could not be stored, and the delayed message stays: "+err.Error(), "subject", out.Subject)
		m.NakWithDelay(delay)
		return
	}
	t.log.Error("a delayed message is a dead letter: "+e.Error(), "subject", out.Subject, "attempts", attempt)
	m.TermWithReason("dead letter")
}
