package jetkv

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

const (
	batchID     = "Nats-Batch-Id"
	batchSeq    = "Nats-Batch-Sequence"
	batchCommit = "Nats-Batch-Commit"

	// The server says the same of a batch that it had no place for and of one that
	// it cannot store at all.
	maxBatchTries = 20
)

// Commit makes all changes or none.
func (b *Bucket) Commit(ctx context.Context, changes ...kv.Change) ([]uint64, error) {
	return b.commit(ctx, changes, nil)
}

// commit makes changes, unless once, a message beside them, is there already.
func (b *Bucket) commit(ctx context.Context, changes []kv.Change, once *nats.Msg) ([]uint64, error) {
	if err := kv.ValidateChanges(changes); err != nil {
		return nil, err
	}
	for i := range changes {
		if err := b.validate(&changes[i]); err != nil {
			return nil, err
		}
	}
	if len(changes) == 0 {
		return nil, nil
	}
	defer b.adding(changes)()
	expected := make([]uint64, len(changes))
	for i, c := range changes {
		expected[i] = c.Revision
	}
	for try := 1; ; try++ {
		writes, err := b.sums(ctx, changes, expected)
		if err != nil && once != nil {
			if done, err := b.happened(ctx, once); done || err != nil {
				return nil, err
			}
		}
		if err != nil {
			return nil, err
		}
		msgs, index := b.messages(writes, expected)
		for _, m := range msgs {
			mark(ctx, m)
		}
		if once != nil {
			msgs, index = append(msgs, once), append(index, -1)
		}
		last, err := b.publishAll(ctx, msgs)
		switch {
		case err == nil:
			revisions := make([]uint64, len(changes))
			for at, i := range index {
				if i >= 0 {
					revisions[i] = last - uint64(len(msgs)-1-at)
				}
			}
			return revisions, nil
		case isWrongLast(err):
			conflict := b.resolveAll(ctx, changes, expected)
			if once != nil { // asked after the keys: what is in their way may be what somebody else did under the name
				if done, err := b.happened(ctx, once); done || err != nil {
					return nil, err
				}
			}
			if conflict != nil {
				return nil, conflict
			}
		case code(err) == codeBatchIncomplete || code(err) == codeBatchTooMany:
			if try == maxBatchTries {
				return nil, b.fail(ctx, "", err)
			}
		default:
			return nil, b.fail(ctx, "", err)
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// adding waits until nobody else in this process adds to the numbers that changes add to,
// and returns what lets others do so: it is those of other processes that try again.
func (b *Bucket) adding(changes []kv.Change) (done func()) {
	var adders []int
	for i := range changes {
		if changes[i].Action == kv.ActAdd {
			adders = append(adders, b.adder(changes[i].Key))
		}
	}
	slices.Sort(adders) // in one order, so that nobody waits for who waits for them
	adders = slices.Compact(adders)
	for _, i := range adders {
		b.adders[i].Lock()
	}
	return func() {
		for _, i := range adders {
			b.adders[i].Unlock()
		}
	}
}

// adder returns which of the adders is that of a key.
func (b *Bucket) adder(key string) int {
	return int(maphash.String(b.seed, key) % uint64(len(b.adders)))
}

// sums returns changes with the sums that those which add come to, and notes in expected what these
// are sums of.
func (b *Bucket) sums(ctx context.Context, changes []kv.Change, expected []uint64) ([]kv.Change, error) {
	writes := changes
	for i, c := range changes {
		if c.Action != kv.ActAdd {
			continue
		}
		e, err := b.last(ctx, c.Key)
		if err != nil {
			return nil, err
		}
		if e.Op != kv.OpPut {
			e.Value = []byte("0")
		}
		sum, err := plus(e.Value, c.Delta)
		if err != nil {
			return nil, fmt.Errorf("bucket %q, key %q: %w", b.name, c.Key, err)
		}
		if &writes[0] == &changes[0] {
			writes = slices.Clone(changes)
		}
		writes[i] = kv.Put(c.Key, strconv.AppendInt(nil, sum, 10), kv.TTL(c.TTL), kv.IfRevision(e.Revision))
		expected[i] = e.Revision
	}
	return writes, nil
}

// pause waits before the next try: at first not at all.
func pause(ctx context.Context, try int) error {
	if try == 1 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(min(try, 20)) * 2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// messages returns the messages of changes, and of each message the change that it
// makes, -1 for none. A message can hold one condition, of its own subject or of
// another: those of checks go with writes that have none, and the rest with messages of their own.
func (b *Bucket) messages(changes []kv.Change, expected []uint64) (msgs []*nats.Msg, index []int) {
	var checks []int
	for i := range changes {
		if changes[i].Action == kv.ActCheck {
			checks = append(checks, i)
			continue
		}
		m := b.message(&changes[i])
		if changes[i].If {
			expect(m, "", expected[i])
		}
		msgs, index = append(msgs, m), append(index, i)
	}
	for at, m := range msgs {
		if len(checks) > 0 && !changes[index[at]].If {
			expect(m, b.prefix+changes[checks[0]].Key, expected[checks[0]])
			checks = checks[1:]
		}
	}
	for _, i := range checks {
		// A purge marker with a TTL, so that nothing stays of it.
		m := &nats.Msg{Subject: checkSubject(b.name)}
		set(m, opHeader, opPurge)
		set(m, jetstream.MsgTTLHeader, time.Second.String())
		expect(m, b.prefix+changes[i].Key, expected[i])
		msgs, index = append(msgs, m), append(index, -1)
	}
	return msgs, index
}

// publishAll stores messages, all or none, and returns the sequence of the last. They
// stand one behind the other in the stream.
func (b *Bucket) publishAll(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	if len(msgs) == 1 {
		ack, err := b.js.PublishMsg(ctx, msgs[0])
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	if !b.cfg.AllowAtomicPublish {
		return 0, fmt.Errorf("it was made without commits of several keys: %w", errors.ErrUnsupported)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case b.batches <- struct{}{}:
		defer func() { <-b.batches }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	id := rand.Text()
	for i, m := range msgs {
		set(m, batchID, id)
		set(m, batchSeq, strconv.Itoa(i+1))
		if i < len(msgs)-1 {
			if err := b.conn.PublishMsg(m); err != nil {
				return 0, err
			}
		}
	}
	set(msgs[len(msgs)-1], batchCommit, "1")
	answer, err := b.conn.RequestMsgWithContext(ctx, msgs[len(msgs)-1])
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("the server's answer: %w", err)
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	return ack.Sequence, nil
}

// resolveAll looks where the keys of a commit stand, notes in expected what stands for what is
// wanted, and returns the first conflict.
func (b *Bucket) resolveAll(ctx context.Context, changes []kv.Change, expected []uint64) error {
	for i, c := range changes {
		if !c.If {
			continue
		}
		var err error
		if expected[i], err = b.resolve(ctx, c.Key, c.Revision); err != nil {
			return err
		}
	}
	return nil
}
