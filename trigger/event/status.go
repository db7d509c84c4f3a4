package event

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/trigger"
)

// Status is how a trigger is.
type Status struct {
	Kind        string     `json:"kind"` // "event", "schedule", "subscribe" or "kv"
	Function    string     `json:"function"`
	Endpoint    string     `json:"endpoint,omitempty"`
	Subject     string     `json:"subject,omitempty"`  // "" for a schedule, and for changes of keys
	Bucket      string     `json:"bucket,omitempty"`   // of these
	Keys        string     `json:"keys,omitempty"`     // as the manifest has it: "user.**"
	Schedule    string     `json:"schedule,omitempty"` // as the manifest has it: "0 3 * * * Europe/Berlin", "every 1h"
	Next        *time.Time `json:"next,omitempty"`     // run of a schedule
	Stream      string     `json:"stream,omitempty"`
	Consumer    string     `json:"consumer,omitempty"`
	Pending     uint64     `json:"pending"`               // events that wait
	InFlight    int        `json:"inFlight"`              // events that are being handled, wait for a retry, or are held for their key
	Retried     int        `json:"retried"`               // of these, those that are not at their first attempt
	Oldest      *time.Time `json:"oldest,omitempty"`      // when the oldest event was stored that has not ended
	Paused      bool       `json:"paused,omitempty"`      // events wait, and none begins
	PausedUntil *time.Time `json:"pausedUntil,omitempty"` // nil if it is until somebody resumes
	Skipped     uint64     `json:"skipped,omitempty"`     // events that this node has taken off without handling them, since it began to read
	LastError   string     `json:"lastError,omitempty"`   // of the latest attempt on this node that failed
	LastFailed  *time.Time `json:"lastFailed,omitempty"`  // when that was
	Recovered   bool       `json:"recovered,omitempty"`   // an event was handled since
	Error       string     `json:"error,omitempty"`       // why the trigger does not work
}

// lastFailure is an attempt that failed.
type lastFailure struct {
	text string
	at   time.Time
	over atomic.Bool // one has succeeded since
}

func (s *Status) setFailure(f *lastFailure) {
	if f != nil {
		s.LastError, s.LastFailed, s.Recovered = f.text, &f.at, f.over.Load()
	}
}

// Status returns how all triggers are, sorted by function and what starts it. It
// changes nothing: a trigger whose stream or consumer is not there yet has an Error.
func (t *Trigger) Status(ctx context.Context) []Status {
	t.mu.Lock()
	readers, listeners := maps.Clone(t.readers), maps.Clone(t.listeners)
	t.mu.Unlock()
	var list []Status
	for _, r := range readers {
		list = append(list, r.status(ctx))
	}
	for _, l := range listeners {
		s := Status{Kind: trigger.Subscribe, Function: l.function, Endpoint: l.spec.Endpoint, Subject: l.spec.Subject}
		s.setFailure(l.latest.Load())
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject),
			cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Keys, b.Keys), cmp.Compare(a.Schedule, b.Schedule), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return list
}

// name is what starts the function, for people.
func (r *reader) name() string { return r.source.Name }

func (r *reader) status(ctx context.Context) Status {
	s := Status{Kind: r.source.Kind, Function: r.function, Endpoint: r.spec.Endpoint, Bucket: r.source.Bucket, Keys: r.source.Keys, Consumer: r.key, Skipped: r.skipped.Load()}
	switch r.source.Kind {
	case trigger.Event:
		s.Subject = r.spec.Subject
	case trigger.Schedule:
		s.Schedule = r.source.Name
	}
	s.setFailure(r.latest.Load())
	if err := r.ask(ctx, &s); err != nil {
		s.Error = err.Error()
	}
	if p := r.problem.Load(); p != nil {
		s.Error = *p
	}
	return s
}

// ask fills in what the server knows.
func (r *reader) ask(ctx context.Context, s *Status) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	stream, err := r.t.findStream(ctx, r.spec.Stream, r.spec.Subject)
	if err != nil {
		return err
	}
	s.Stream = stream.CachedInfo().Config.Name
	c, err := stream.Consumer(ctx, r.key)
	if err != nil {
		return fmt.Errorf("consumer of stream %s: %w", s.Stream, err)
	}
	info := c.CachedInfo()
	s.Pending, s.InFlight, s.Retried = info.NumPending, info.NumAckPending, info.NumRedelivered
	if s.Paused = info.Paused; s.Paused && info.PauseRemaining < farAway/2 {
		s.PausedUntil = info.Config.PauseUntil
	}
	if s.Pending > 0 || s.InFlight > 0 {
		m, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(r.spec.Subject))
		if err == nil {
			s.Oldest = &m.Time
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) { // it has just ended
			return fmt.Errorf("stream %s: %w", s.Stream, err)
		}
	}
	if r.id != "" {
		s.Next = r.next(ctx, stream)
	}
	return nil
}
