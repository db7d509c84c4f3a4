// Package logs keeps the latest records of all functions in memory, and hands
// them to those who follow.
package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Keys of the attributes that the host's own records carry.
const (
	KeyNamespace  = "namespace" // left out for the default one
	KeyFunction   = "function"
	KeyVersion    = "version"
	KeyWorker     = "worker"
	KeyInvocation = "invocation"
	KeyTrigger    = "trigger"
)

// Record is one line of output, or one record of functions.Log, with where it
// came from.
type Record struct {
	Time       time.Time       `json:"time"`
	Level      slog.Level      `json:"level"`
	Namespace  string          `json:"namespace,omitempty"`
	Function   string          `json:"function"`
	Version    string          `json:"version,omitempty"`
	Worker     string          `json:"worker,omitempty"`
	Invocation string          `json:"invocation,omitempty"`
	Source     Source          `json:"source"`
	Message    string          `json:"message"`
	Attrs      json.RawMessage `json:"attrs,omitempty"` // a JSON object, or nothing
}

// Source says what a record is made of.
type Source string

// Sources of records.
const (
	Stdout Source = "stdout" // a line that a worker wrote to standard output
	Stderr Source = "stderr" // or to standard error
	Log    Source = "log"    // a record of functions.Log
	Host   Source = "host"   // what the host says about a function: builds, starts, crashes
)

// Hub keeps records and passes them on. Its methods are safe for concurrent use.
type Hub struct {
	mu        sync.Mutex
	size      int
	ring      []Record // grows to size
	next      int      // where the next one goes, once it has
	followers map[*follower]struct{}
}

// DefaultSize is how many records a Hub keeps unless told otherwise.
const DefaultSize = 10_000

// NewHub returns a Hub that keeps the latest size records; 0 is [DefaultSize].
func NewHub(size int) *Hub {
	if size <= 0 {
		size = DefaultSize
	}
	return &Hub{size: size, followers: make(map[*follower]struct{})}
}

// Add keeps r, and passes it to those who follow. It never blocks: who follows
// too slowly loses records, and is told how many.
func (h *Hub) Add(r Record) {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < h.size {
		h.ring = append(h.ring, r)
	} else {
		h.ring[h.next] = r
		h.next = (h.next + 1) % h.size
	}
	for f := range h.followers {
		f.offer(r)
	}
}

// Query chooses records.
type Query struct {
	Namespace  string    // "" for all
	Function   string    // "" for all
	Invocation string    // "" for all
	Since      time.Time // zero for all
	Tail       int       // the latest so many, 0 for all, negative for none
	Follow     bool      // and those to come
}

func (q *Query) matches(r *Record) bool {
	return (q.Namespace == "" || q.Namespace == r.Namespace) && (q.Function == "" || q.Function == r.Function) && (q.Invocation == "" || q.Invocation == r.Invocation) && !r.Time.Before(q.Since)
}

type follower struct {
	query Query
	ch    chan Record
	lost  atomic.Int64
}

func (f *follower) offer(r Record) {
	if !f.query.matches(&r) {
		return
	}
	select {
	case f.ch <- r:
	default:
		f.lost.Add(1)
	}
}

// Read calls yield with the records that q chooses, oldest first, until there are
// no more, yield returns an error, or, when following, ctx ends; it returns that
// error.
func (h *Hub) Read(ctx context.Context, q Query, yield func(Record) error) error {
	f := &follower{query: q, ch: make(chan Record, 1024)}
	h.mu.Lock()
	kept := h.kept(&q)
	if q.Follow {
		h.followers[f] = struct{}{}
		defer func() {
			h.mu.Lock()
			delete(h.followers, f)
			h.mu.Unlock()
		}()
	}
	h.mu.Unlock()
	for _, r := range kept {
		if err := yield(r); err != nil {
			return err
		}
	}
	for q.Follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-f.ch:
			if n := f.lost.Swap(0); n > 0 {
				lost := Record{Time: r.Time, Level: slog.LevelWarn, Namespace: q.Namespace, Function: q.Function, Source: Host,
					Message: "records left out here, since they came faster than they were read",
					Attrs:   fmt.Appendf(nil, `{"count":%d}`, n)}
				if err := yield(lost); err != nil {
					return err
				}
			}
			if err := yield(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// kept returns what the ring has for q.
func (h *Hub) kept(q *Query) []Record {
	if q.Tail < 0 {
		return nil
	}
	var list []Record
	visit := func(records []Record) {
		for i := range records {
			if q.matches(&records[i]) {
				list = append(list, records[i])
			}
		}
	}
	visit(h.ring[h.next:])
	visit(h.ring[:h.next])
	if q.Tail > 0 && len(list) > q.Tail {
		list = list[len(list)-q.Tail:]
	}
	return list
}
