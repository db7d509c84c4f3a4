// Package clock tells the time, again and again, until the caller goes away:
//
//	curl -N localhost:8080/clock?every=500ms
//	nats request fn.clock '{"count":3}'
//
// For a caller that accepts text/event-stream, as a browser's EventSource does,
// each value is a server-sent event; for others, a line of JSON. Over NATS the
// lines are collected into one reply, so that a request without a count gets none
// before its time is up.
package clock

import (
	"context"
	"iter"
	"time"

	"github.com/fnhost/fnhost/functions"
)

// Request says how often.
type Request struct {
	Every string `json:"every"` // such as "500ms"; default 1s
	Count int    `json:"count"` // how many times; default without end
}

// Tick is one moment.
type Tick struct {
	N    int       `json:"n"`
	Time time.Time `json:"time"`
}

// Handle returns a sequence, each value of which goes out as it is yielded.
func Handle(ctx context.Context, in Request) (iter.Seq[Tick], error) {
	every := time.Second
	if in.Every != "" {
		var err error
		if every, err = time.ParseDuration(in.Every); err != nil || every < time.Millisecond {
			return nil, functions.Errorf(functions.BadRequest, "every %q: want a duration such as 500ms", in.Every)
		}
	}
	return func(yield func(Tick) bool) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 1; yield(Tick{N: n, Time: time.Now()}) && n != in.Count; n++ {
			select {
			case <-ticker.C:
			case <-ctx.Done(): // the caller has gone away
				return
			}
		}
	}, nil
}
