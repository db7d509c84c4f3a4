package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Query chooses records.
type Query struct {
	Since   time.Time // stored then, or later; zero for all
	Account string    // "" for all
	Action  string    // "functions" is also that of "functions.release"; "" for all
	Limit   int       // only the latest ones; 0 for all
	Follow  bool      // go on with what comes, until ctx ends
}

func (q *Query) takes(e *Entry) bool {
	return (q.Account == "" || e.Account == q.Account) &&
		(q.Action == "" || e.Action == q.Action || strings.HasPrefix(e.Action, q.Action+"."))
}

// Read yields the records that q chooses, the oldest first, until there are no more,
// yield returns an error, or, when following, ctx ends. Those that [Log.Record] was
// given a moment ago may not be stored yet. The error is that of yield, of ctx, or of
// the stream.
func (l *Log) Read(ctx context.Context, q Query, yield func(Record) error) error {
	var latest []Record // while the end is not reached
	behind := false
	caughtUp := func() error {
		behind = true
		for _, r := range latest {
			if err := yield(r); err != nil {
				return err
			}
		}
		latest = nil
		return nil
	}
	return l.each(ctx, q.Since, q.Follow, caughtUp, func(r Record, _ []byte) error {
		if !r.Damaged && !q.takes(&r.Entry) {
			return nil
		}
		if behind || q.Limit == 0 {
			return yield(r)
		}
		if latest = append(latest, r); len(latest) > q.Limit {
			latest = latest[1:]
		}
		return nil
	})
}

// Verified is what [Log.Verify] has found.
type Verified struct {
	Records int64      `json:"records"`         // that were compared
	First   uint64     `json:"first,omitempty"` // the sequence of the oldest one that is kept
	Since   *time.Time `json:"since,omitempty"` // its time
	Last    uint64     `json:"last,omitempty"`  // the sequence of the newest one
	Hash    string     `json:"hash,omitempty"`  // SHA-256 of that, in hex
	Missing int64      `json:"missing,omitempty"`
	// Broken is the sequence of the first record that does not follow from the one
	// before; 0 if all do.
	Broken uint64 `json:"broken,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Verify compares each record that is kept with what the next one says of it. An error
// means that it could not be found out; what is wrong with the chain is in the result.
func (l *Log) Verify(ctx context.Context) (Verified, error) {
	var v Verified
	errBroken := errors.New("broken")
	fault := func(seq uint64, format string, args ...any) error {
		v.Broken, v.Reason = seq, fmt.Sprintf(format, args...)
		return errBroken
	}
	err := l.each(ctx, time.Time{}, false, func() error { return nil }, func(r Record, data []byte) error {
		switch {
		case r.Damaged:
			return fault(r.Sequence, "it cannot be read")
		case v.First == 0 && r.Sequence == 1 && r.Prev != "":
			return fault(r.Sequence, "it is the first one, and names one before")
		case v.First != 0 && r.Sequence != v.Last+1:
			return fault(r.Sequence, "%d before it are gone", r.Sequence-v.Last-1)
		case v.First != 0 && r.Prev != v.Hash:
			return fault(r.Sequence, "the one before it, or what it says of that, was changed: its SHA-256 is %s, not %s", v.Hash, r.Prev)
		}
		if v.First == 0 {
			v.First, v.Since = r.Sequence, &r.Time
		}
		v.Records++
		v.Missing += r.Missing
		v.Last, v.Hash = r.Sequence, hashOf(data)
		return nil
	})
	if errors.Is(err, errBroken) {
		err = nil
	}
	return v, err
}

// each calls do with each record, and caughtUp once when all were read that were there
// at the begin.
func (l *Log) each(ctx context.Context, since time.Time, follow bool, caughtUp func() error, do func(Record, []byte) error) error {
	s, err := l.await(ctx, follow)
	if err != nil || s == nil {
		return err
	}
	cfg := jetstream.OrderedConsumerConfig{InactiveThreshold: time.Minute}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		s.DeleteConsumer(ctx, c.CachedInfo().Name) // it goes by itself otherwise, a while later
	}()
	if c.CachedInfo().NumPending == 0 {
		if err := caughtUp(); err != nil || !follow {
			return err
		}
		caughtUp = func() error { return nil }
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer it.Stop()
	for behind := false; ; {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := do(parse(meta.Sequence.Stream, m.Data()), m.Data()); err != nil {
			return err
		}
		if meta.NumPending > 0 || behind {
			continue
		}
		behind = true
		if err := caughtUp(); err != nil || !follow {
			return err
		}
	}
}

// await returns the stream; nil if there are no records. Who follows waits for the
// first one.
func (l *Log) await(ctx context.Context, follow bool) (jetstream.Stream, error) {
	for {
		s, err := l.js.Stream(ctx, Stream)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("audit: %w", err)
		}
		if !follow {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// parse reads a record. One that is damaged is told of, and nothing of it.
func parse(seq uint64, data []byte) Record {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return Record{Sequence: seq, Damaged: true}
	}
	return Record{Sequence: seq, Entry: s.Entry, Missing: s.Missing, Prev: s.Prev}
}
