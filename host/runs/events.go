package runs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/trigger"
)

// bucket bounds how many successes of a function are recorded.
type bucket struct {
	mu   sync.Mutex
	left float64
	at   time.Time
}

// Wants reports whether an attempt that went well is to be recorded: of those of a
// function so many in a second, so that events are not slower for it.
func (s *Store) Wants(function string) bool {
	v, ok := s.buckets.Load(function)
	if !ok {
		v, _ = s.buckets.LoadOrStore(function, &bucket{left: Successes, at: time.Now()})
	}
	b := v.(*bucket)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left, b.at = min(b.left+now.Sub(b.at).Seconds()*Successes, Successes), now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// Record stores an attempt at an event, in the background. Events do not wait for
// that: where storing does not keep up, attempts are left out.
func (s *Store) Record(run *trigger.Run) {
	s.start.Do(func() { s.tasks.Go(s.keepRecords) })
	select {
	case s.records <- run:
	default:
		if s.left.Add(1) == 1 {
			s.log.Warn("attempts at events are not all recorded: there are more than can be stored")
		}
	}
}

// keepRecords publishes records, and does not wait for the server's answers.
func (s *Store) keepRecords() {
	failed := false
	for {
		var run *trigger.Run
		select {
		case run = <-s.records:
		case <-s.ctx.Done():
			if len(s.records) == 0 {
				return
			}
			continue
		}
		err := s.publishRecord(run)
		if err != nil && !failed {
			s.log.Warn("attempts at events are not recorded: " + err.Error())
		}
		failed = err != nil
	}
}

func (s *Store) publishRecord(run *trigger.Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if err := s.ensure(ctx, ranStream()); err != nil {
		return err
	}
	m, err := message(ranPrefix+run.Function, run)
	if err != nil {
		return err
	}
	return s.cfg.Conn.PublishMsg(m)
}

// Query chooses runs.
type Query struct {
	Function string           // "" for all
	State    trigger.RunState // "" for all
	Limit    int              // at most so many, the newest
}

// List returns runs, the newest first, without input and output. Calls that wait
// for their first attempt are not among them.
func (s *Store) List(ctx context.Context, q Query) ([]*trigger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*opTimeout)
	defer cancel()
	function := q.Function
	if function == "" {
		function = "*"
	}
	var list []*trigger.Run
	for _, from := range []struct{ stream, subject string }{{Stream, runPrefix + function + ".*"}, {EventStream, ranPrefix + function}} {
		stream, err := s.stream(ctx, from.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil {
			err = headersOf(ctx, stream, from.subject, func(m jetstream.Msg, seq uint64) error {
				read := parse
				if from.stream == EventStream {
					read = parseEvent
				}
				run, err := read(m.Headers(), nil, seq)
				if err != nil || q.State != "" && q.State != run.State {
					return nil // what is damaged is nobody's
				}
				if list = append(list, run); len(list) > 2*q.Limit+1000 {
					list = Newest(list, q.Limit)
				}
				return nil
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return Newest(list, q.Limit), nil
}

// Newest sorts runs, the newest first, and returns at most limit of them.
func Newest(list []*trigger.Run, limit int) []*trigger.Run {
	slices.SortStableFunc(list, func(a, b *trigger.Run) int { return When(b).Compare(When(a)) })
	return list[:min(limit, len(list))]
}

// When returns the time by which runs are sorted: the latest attempt, or else
// that of storing the call.
func When(r *trigger.Run) time.Time {
	if r.Started.IsZero() {
		return r.Queued
	}
	return r.Started
}

// headersOf calls yield with the messages of a subject, without their data.
func headersOf(ctx context.Context, stream jetstream.Stream, subject string, yield func(m jetstream.Msg, seq uint64) error) error {
	c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, HeadersOnly: true})
	if err != nil {
		return err
	}
	defer stream.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name)
	left := c.CachedInfo().NumPending
	for left > 0 && ctx.Err() == nil {
		batch, err := c.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if err := yield(m, meta.Sequence.Stream); err != nil {
				return err
			}
			got++
			left = meta.NumPending
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if got == 0 {
			return nil // they have been forgotten meanwhile
		}
	}
	return ctx.Err()
}
