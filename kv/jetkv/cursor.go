package jetkv

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

// To go through all keys page by page must not cost all keys for each page, so the rest
// of a list is kept for a while: the keys behind a page, as of a sequence. The next page begins with
// what has been written since, and so is as new as one that was asked for by itself.

const (
	restTTL   = 10 * time.Second
	maxRests  = 4    // of a bucket; one of a million keys is some 50 MB
	maxWrites = 5000 // since then; if there are more, the keys are asked for again
)

// place is where a list goes on.
type place struct {
	filter     kv.Filter
	after      string
	descending bool
}

// rest is what is behind a place.
type rest struct {
	keys []string // in the order of the list
	seq  uint64   // of the stream, when these were all
	size int64    // mean of a message
	end  *time.Timer
}

// rests are those of a bucket.
type rests struct {
	mu   sync.Mutex
	list map[place]*rest
}

// keep keeps a rest for its time, if there is room.
func (r *rests) keep(p place, left *rest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) >= maxRests || r.list[p] != nil {
		return
	}
	if r.list == nil {
		r.list = make(map[place]*rest)
	}
	r.list[p] = left
	left.end = time.AfterFunc(restTTL, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.list[p] == left {
			delete(r.list, p)
		}
	})
}

// take takes a rest out, nil if there is none.
func (r *rests) take(p place) *rest {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.list[p]
	if left != nil {
		left.end.Stop()
		delete(r.list, p)
	}
	return left
}

// refresh adds what has been written since; it reports whether that could be done.
func (b *Bucket) refresh(ctx context.Context, q *kv.Query, left *rest) (bool, error) {
	var added []string
	complete, err := b.ask(ctx, map[string]any{"next_by_subj": b.subject(q.Filter), "seq": left.seq + 1, "batch": maxWrites, "max_bytes": pageBytes}, func(e kv.Entry) {
		left.seq = max(left.seq, e.Revision)
		if q.Match(e.Key) && behind(q, e.Key) {
			added = append(added, e.Key)
		}
	})
	if err != nil || !complete {
		return false, err
	}
	if len(added) > 0 {
		left.keys = sorted(q, append(slices.Clone(left.keys), added...))
	}
	return true, nil
}

// sorted sorts keys as a query wants them, each once.
func sorted(q *kv.Query, keys []string) []string {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if q.Descending {
		slices.Reverse(keys)
	}
	return keys
}

// info is the part of a stream's that lists are made of.
type info struct {
	Error *jetstream.APIError `json:"error"`
	Total int                 `json:"total"`
	State struct {
		Messages int64          `json:"messages"`
		Bytes    int64          `json:"bytes"`
		Last     uint64         `json:"last_seq"`
		Subjects map[string]int `json:"subjects"`
	} `json:"state"`
}
