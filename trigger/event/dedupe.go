package event

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The IDs of events that a trigger has begun to handle are kept in a stream, each
// with the sequence of its event, so that another event of the same ID is known from
// the same event that comes again.
const (
	SeenStream = "seen"
	seenPrefix = "$FN.seen."
)

// eventID returns what its sender calls an event, "" for nothing: the ID of NATS, or
// that of a CloudEvent, which names one together with its source.
func eventID(m *nats.Msg) string {
	first := func(name string) string {
		if values := header(m, name); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	if id := first(jetstream.MsgIDHeader); id != "" {
		return id
	}
	if id := first("ce-id"); id != "" {
		return first("ce-source") + " " + id
	}
	return ""
}

// isSeen reports whether an event of the same ID was begun with before this one. It
// notes the ID of one that was not.
func (r *reader) isSeen(m *message, meta *jetstream.MsgMetadata) (bool, error) {
	id := eventID(m.msg)
	if id == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(r.t.work, setupTimeout)
	defer cancel()
	sum := sha256.Sum256([]byte(id))
	note := nats.NewMsg(fmt.Sprintf("%s%s.%x", seenPrefix, r.key, sum[:16]))
	mine := meta.Stream + " " + strconv.FormatUint(meta.Sequence.Stream, 10)
	note.Data = []byte(mine)
	note.Header.Set(jetstream.MsgTTLHeader, r.spec.Dedupe.String())
	_, refused := r.t.js.PublishMsg(ctx, note, jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithExpectStream(SeenStream))
	if !isWrongLast(refused) {
		return false, refused
	}
	stream, err := r.t.js.Stream(ctx, SeenStream)
	if err != nil {
		return false, err
	}
	first, err := stream.GetLastMsgForSubject(ctx, note.Subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		if isComing(refused) {
			return false, refused // whose it is, the next attempt can tell
		}
		return false, nil // its time has just ended
	}
	if err != nil {
		return false, err
	}
	return string(first.Data) != mine, nil
}

// ensureSeen makes the stream of IDs.
func (t *Trigger) ensureSeen(ctx context.Context) error {
	t.streams.Lock()
	defer t.streams.Unlock()
	_, err := t.ownStream(ctx, jetstream.StreamConfig{
		Name: SeenStream, Description: "IDs of events that were handled", Subjects: []string{seenPrefix + ">"}, MaxMsgsPerSubject: 1,
		AllowMsgTTL: true, AllowDirect: true,
	})
	return err
}

// once returns start, but for events whose ID has been seen.
func (r *reader) once(p *puller, start func(*message)) func(*message) {
	if r.spec.Dedupe == 0 {
		return start
	}
	return func(m *message) {
		meta, err := m.Metadata()
		if err != nil {
			start(m) // which says so
			return
		}
		seen, err := r.isSeen(m, meta)
		switch {
		case err != nil:
			r.t.log.Warn("an event waits: its ID cannot be kept: "+strings.TrimSpace(err.Error()), "function", r.function, "sequence", meta.Sequence.Stream)
			m.NakWithDelay(r.t.retrySetup)
		case seen:
			r.skip(m, "one of its ID was handled before")
			m.Ack()
			p.rate.giveBack(1)
		default:
			start(m)
		}
	}
}
