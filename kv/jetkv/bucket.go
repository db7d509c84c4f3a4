package jetkv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// A key that expires in a full bucket can do so only if the marker fits into its
// place, so a value that is smaller than one comes with room for it.
const (
	roomHeader = "Fnhost-Room"
	markerSize = 80
)

// Get returns the key's entry.
func (b *Bucket) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := kv.ValidateKey(key); err != nil {
		return kv.Entry{}, err
	}
	e, err := b.last(ctx, key)
	if err == nil && e.Op != kv.OpPut {
		err = fmt.Errorf("%w: %q in bucket %q", kv.ErrNotFound, key, b.name)
	}
	if err != nil {
		return kv.Entry{}, err
	}
	return e, nil
}

// Put writes a value.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	c := kv.Put(key, value, options...)
	if err := b.validate(&c); err != nil {
		return 0, err
	}
	return b.write(ctx, &c)
}

// Delete removes a key.
func (b *Bucket) Delete(ctx context.Context, key string, options ...kv.Option) error {
	c := kv.Delete(key, options...)
	if err := b.validate(&c); err != nil {
		return err
	}
	_, err := b.write(ctx, &c)
	if errors.Is(err, kv.ErrFull) {
		return b.makeRoom(ctx, &c)
	}
	return err
}

func (b *Bucket) validate(c *kv.Change) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if most := b.maxValue(); int64(len(c.Value)) > most {
		return fmt.Errorf("%w: key %q has %d bytes, a value of bucket %q at most %d", kv.ErrTooLarge, c.Key, len(c.Value), b.name, most)
	}
	if c.TTL > 0 && !b.cfg.AllowMsgTTL {
		return fmt.Errorf("%w: bucket %q was made without", kv.ErrTTL, b.name)
	}
	return nil
}

// write does one change. It begins with what the caller expects, and looks at the key
// only if that is wrong: what is not there may be a delete of some revision.
func (b *Bucket) write(ctx context.Context, c *kv.Change) (uint64, error) {
	expected := c.Revision
	for {
		m := b.message(c)
		mark(ctx, m)
		if c.If {
			expect(m, "", expected)
		}
		ack, err := b.js.PublishMsg(ctx, m)
		if err == nil {
			return ack.Sequence, nil
		}
		if !isWrongLast(err) {
			return 0, b.fail(ctx, c.Key, err)
		}
		if expected, err = b.resolve(ctx, c.Key, c.Revision); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
}

// resolve returns the sequence that stands for a wanted revision of a key, or the
// conflict if it does not stand there.
func (b *Bucket) resolve(ctx context.Context, key string, wanted uint64) (uint64, error) {
	e, err := b.last(ctx, key)
	if err != nil {
		return 0, err
	}
	there := e.Op == kv.OpPut
	if wanted == 0 && !there || wanted == e.Revision {
		return e.Revision, nil
	}
	conflict := &kv.ConflictError{Key: key, Wanted: wanted}
	if there {
		conflict.Current = e.Revision
	}
	return 0, conflict
}

// message returns the message of a change, without its condition.
func (b *Bucket) message(c *kv.Change) *nats.Msg {
	m := &nats.Msg{Subject: b.prefix + c.Key, Data: c.Value}
	history := b.cfg.MaxMsgsPerSubject > 1
	switch {
	case c.Action == kv.ActPut:
		if c.TTL > 0 {
			set(m, jetstream.MsgTTLHeader, c.TTL.String())
			if history { // an older value would come back after it
				set(m, jetstream.MsgRollup, jetstream.MsgRollupSubject)
			}
		}
		if short := markerSize - len(c.Value); short > 0 && b.cfg.MaxBytes > 0 && (c.TTL > 0 || b.cfg.MaxAge > 0) {
			set(m, roomHeader, strings.Repeat("-", short))
		}
	case c.Action == kv.ActDelete && history:
		set(m, opHeader, opDelete)
	default:
		set(m, opHeader, opPurge)
		set(m, jetstream.MsgRollup, jetstream.MsgRollupSubject)
		if b.cfg.AllowMsgTTL {
			ttl := markerTTL
			if b.cfg.MaxMsgs > 0 {
				ttl = b.cfg.SubjectDeleteMarkerTTL
			}
			set(m, jetstream.MsgTTLHeader, max(ttl, time.Second).String())
		}
	}
	return m
}

func set(m *nats.Msg, name, value string) {
	if m.Header == nil {
		m.Header = make(nats.Header, 4)
	}
	m.Header[name] = []string{value}
}

// expect has a message stored only if a subject, its own if empty, stands at a sequence.
func expect(m *nats.Msg, subject string, seq uint64) {
	set(m, jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(seq, 10))
	if subject != "" {
		set(m, jetstream.ExpectedLastSubjSeqSubjHeader, subject)
	}
}

// makeRoom deletes a key of a bucket in which not even the marker of it has a place.
// What it removes are messages up to the one that it has seen: a later one stays.
func (b *Bucket) makeRoom(ctx context.Context, c *kv.Change) error {
	e, err := b.last(ctx, c.Key)
	if err != nil {
		return err
	}
	if c.If {
		if _, err := b.resolve(ctx, c.Key, c.Revision); err != nil {
			return err
		}
	}
	s, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return b.fail(ctx, c.Key, err)
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(b.prefix+c.Key), jetstream.WithPurgeSequence(e.Revision+1)); err != nil {
		return b.fail(ctx, c.Key, err)
	}
	// For those who watch. Somebody else may have taken the place, and then nothing is wrong.
	b.js.PublishMsg(ctx, b.message(&kv.Change{Action: kv.ActPurge, Key: c.Key}), jetstream.WithExpectLastSequencePerSubject(0))
	return nil
}

// Touch gives a key a new time to live.
func (b *Bucket) Touch(ctx context.Context, key string, ttl time.Duration) (revision uint64, err error) {
	err = kv.Retry(ctx, func() error {
		e, err := b.Get(ctx, key)
		if err != nil {
			return err
		}
		revision, err = b.Put(ctx, key, e.Value, kv.IfRevision(e.Revision), kv.TTL(ttl))
		return err
	})
	return revision, err
}

// Add adds to the number that a key holds. Adders of one process wait for each other
// and not for a conflict; it is those of several that try again.
func (b *Bucket) Add(ctx context.Context, key string, delta int64, options ...kv.Option) (sum int64, err error) {
	adder := &b.adders[b.adder(key)]
	adder.Lock()
	defer adder.Unlock()
	err = kv.Retry(ctx, func() error {
		e, err := b.Get(ctx, key)
		if errors.Is(err, kv.ErrNotFound) {
			e, err = kv.Entry{Value: []byte("0")}, nil
		}
		if err != nil {
			return err
		}
		if sum, err = plus(e.Value, delta); err != nil {
			return fmt.Errorf("bucket %q, key %q: %w", b.name, key, err)
		}
		c := kv.Put(key, strconv.AppendInt(nil, sum, 10), options...)
		c.If, c.Revision = true, e.Revision
		if err := b.validate(&c); err != nil {
			return err
		}
		_, err = b.write(ctx, &c)
		return err
	})
	return sum, err
}

// plus adds to a number in decimal digits.
func plus(digits []byte, delta int64) (int64, error) {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %.40q", kv.ErrNotNumber, digits)
	}
	sum := n + delta
	if (sum > n) != (delta > 0) && delta != 0 {
		return 0, fmt.Errorf("%w: %d and %d are more", kv.ErrNotNumber, n, delta)
	}
	return sum, nil
}
