package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored says where a message was stored.
type Stored struct {
	Stream    string `json:"stream,omitempty"` // "" if no stream takes the subject: it went to who listened
	Sequence  uint64 `json:"sequence,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // one of its id was stored before
}

// Publish sends a message: to the stream that takes its subject, which has stored
// it when Publish returns, or else to who listens. A stream that somebody else has
// just made is known of after a second.
func (t *Trigger) Publish(ctx context.Context, m *nats.Msg) (Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	for range 2 {
		stream, err := t.taker(ctx, m.Subject)
		if err != nil {
			return Stored{}, err
		}
		if stream == "" {
			return Stored{}, t.conn.PublishMsg(m)
		}
		ack, err := t.js.PublishMsg(ctx, m)
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			t.takers.Clear() // it is gone
			continue
		}
		if err != nil {
			return Stored{}, err
		}
		return Stored{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
	}
	return Stored{}, t.conn.PublishMsg(m)
}

// noTaker is how long it is believed that no stream takes a subject.
const noTaker = time.Second

// taker is the stream that takes a subject, as it was found.
type taker struct {
	stream string
	until  time.Time // for none
}

// taker returns the stream that takes a subject, "" for none.
func (t *Trigger) taker(ctx context.Context, subject string) (string, error) {
	if v, ok := t.takers.Load(subject); ok {
		if known := v.(taker); known.stream != "" || time.Now().Before(known.until) {
			return known.stream, nil
		}
	}
	stream, err := t.js.StreamNameBySubject(ctx, subject)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", err
	}
	if t.takersSize.Add(1) > 10_000 { // subjects with something unique in them
		t.takers.Clear()
		t.takersSize.Store(0)
	}
	t.takers.Store(subject, taker{stream, time.Now().Add(noTaker)})
	return stream, nil
}

// letterRoom is what a dead letter may be larger than its event.
const letterRoom = maxError + 4<<10

// MaxPayload returns the size of the largest event in bytes, with its headers: that
// of the server's largest message, but for what a dead letter adds.
func (t *Trigger) MaxPayload() int64 { return max(t.conn.MaxPayload()-letterRoom, 0) }

// CheckSubject returns what is wrong with a subject to publish on, nil for nothing.
func CheckSubject(subject string) error {
	switch {
	case subject == "" || len(subject) > 255 || strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, ".."):
		return fmt.Errorf("subject %.80q: want parts with dots between, such as orders.created", subject)
	case strings.ContainsAny(subject, " \t\r\n\x00*>"):
		return fmt.Errorf("subject %.80q has a space or a wildcard", subject)
	}
	for _, own := range []string{"$", "_INBOX.", "fn.", DeadPrefix, effectPrefix, seenPrefix, schedulePrefix, tickPrefix} {
		if strings.HasPrefix(subject, own) {
			return fmt.Errorf("subject %.80q is one of the host's own", subject)
		}
	}
	return nil
}
