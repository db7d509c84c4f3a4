package event

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
)

// reader takes the events of one trigger.
type reader struct {
	t        *Trigger
	key      string
	function string
	source   Source
	spec     manifest.Event    // of source
	schedule manifest.Schedule // of a schedule,
	id       string            // which has one; "" otherwise
	from     uint64            // where to begin if its stream has taken the subject for it; 0 otherwise
	created  time.Time         // when the function began to serve with it
	begun    time.Time         // when the stream was made that it reads, zero for none yet
	anew     bool              // all that the stream has is new, since there was none before
	maxAge   atomic.Int64      // of the stream
	latest   atomic.Pointer[lastFailure]
	problem  atomic.Pointer[string] // why it does not work
	skipped  atomic.Uint64          // events that were taken off without being handled
	calls    *calls                 // for a reader of asynchronous calls; nil otherwise
	ctx      context.Context
	cancel   context.CancelFunc
	ended    recent // where their order matters
}

func newReader(t *Trigger, function string, spec *manifest.Event) *reader {
	return sourceReader(t, function, eventSource(spec))
}

func sourceReader(t *Trigger, function string, s Source) *reader {
	sum := sha256.Sum256([]byte(s.ID))
	return &reader{t: t, key: fmt.Sprintf("fn_%s_%x", function, sum[:4]), function: function, source: s, spec: s.Spec, created: time.Now()}
}

// run sets the consumer up, and takes its events until the reader is canceled.
// What goes wrong is tried again.
func (r *reader) run() {
	failed := ""
	for r.ctx.Err() == nil {
		consumer, err := r.setUp()
		if err == nil {
			r.problem.Store(nil)
			if failed != "" {
				failed = ""
				r.t.report(r.function, r.name(), nil)
			}
			err = r.read(consumer)
		}
		if r.ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != failed {
			text := err.Error() // which stays as it is for who reads it
			r.problem.Store(&text)
			failed = text
			level := slog.LevelError
			switch {
			case errors.Is(err, ErrNoBucket):
				level = slog.LevelDebug // its first use makes it; who wants to know is told by report
			case errors.Is(err, ErrNoStream):
				level = slog.LevelWarn // it may yet be made
			}
			r.t.log.Log(r.ctx, level, "an event trigger does not work: "+failed, "function", r.function, "subject", r.name())
			r.t.report(r.function, r.name(), err)
		}
		r.pauseSetup(err)
	}
}
