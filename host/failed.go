package host

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
)

// maxNoted is how many failed invocations of a function are noted in a second, each by
// itself, and maxSaid how many bytes of what one said.
const (
	maxNoted = 20
	maxSaid  = 500
)

// failures counts the failed invocations of a function that were noted.
type failures struct {
	mu    sync.Mutex
	since time.Time
	noted int
	more  int         // that were not
	timer *time.Timer // which tells how many, nil if there are none
}

// failed notes that an invocation ended with an error, if it is the function's or the
// host's, and nothing else has noted it.
func (f *function) failed(v *version, inv *trigger.Invocation, err error) {
	status := trigger.StatusOf(err)
	if status < 500 || errors.Is(err, ErrClosed) {
		return
	}
	code := wire.AsError(err).Code
	if code == wire.Panicked || code == wire.Crashed { // its stack, or its output, is in the log
		return
	}
	f.noteFailure(v, inv, fmt.Sprintf("%d %s", status, code), err.Error())
}

// answered notes that an invocation was answered with a status that tells of an error.
func (f *function) answered(v *version, inv *trigger.Invocation, r *trigger.Result) {
	status := r.Status()
	if status < 500 {
		return
	}
	said := ""
	if utf8.Valid(r.Payload) && r.Header.Get("Content-Encoding") == "" {
		said = string(r.Payload[:min(len(r.Payload), 2*maxSaid)])
	}
	f.noteFailure(v, inv, fmt.Sprint(status), said)
}

// noteFailure adds a failed invocation to the log of the function. Events and
// asynchronous calls have runs that tell of them.
func (f *function) noteFailure(v *version, inv *trigger.Invocation, answer, said string) {
	switch inv.Trigger {
	case trigger.Event, trigger.Schedule, trigger.KV, trigger.Async:
		return
	}
	c := &f.failures
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.since) >= time.Second && c.timer == nil {
		c.since, c.noted = now, 0
	}
	if c.noted == maxNoted {
		if c.more++; c.timer == nil {
			c.timer = time.AfterFunc(time.Until(c.since.Add(time.Second)), f.noteMore)
		}
		return
	}
	c.noted++
	name := f.name
	if inv.Endpoint != "" {
		name += "/" + inv.Endpoint
	}
	r := logs.Record{Level: slog.LevelWarn, Function: f.name, Version: v.name, Invocation: inv.ID, Source: logs.Host, Message: name + " answered " + answer}
	if said = strings.Join(strings.Fields(said), " "); said != "" {
		r.Message += ": " + said
	}
	f.hide(&r)
	if len(r.Message) > maxSaid {
		r.Message = strings.ToValidUTF8(r.Message[:maxSaid], "") + "…"
	}
	f.h.addLog(r)
}

// noteMore adds how many were left out.
func (f *function) noteMore() {
	c := &f.failures
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return
	}
	c.timer.Stop()
	f.h.addLog(logs.Record{Level: slog.LevelWarn, Function: f.name, Source: logs.Host, Message: fmt.Sprintf("%d more invocations failed in that second", c.more)})
	c.timer, c.more, c.since = nil, 0, time.Time{}
}
