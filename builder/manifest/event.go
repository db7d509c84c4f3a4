package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of event triggers.
const (
	MaxEvents   = 64   // event triggers of one function
	MaxRetries  = 1000 // of one event
	MinBackoff  = time.Millisecond
	MaxBackoff  = 24 * time.Hour // before a retry
	MaxInFlight = 10_000         // events of one trigger that are handled at once
)

// Event starts the function for each message that a stream takes on a subject. An
// event is handled at least once: it is tried again until the function returns
// without an error, and is kept as a dead letter when it has failed too often.
type Event struct {
	// Subject is that of the events, wildcards allowed. It is none of the server's
	// ($…), nor of the host's (fn.…, dead.…, schedule.…, tick.…, _INBOX.…).
	Subject string `json:"subject"`
	// Endpoint is the endpoint that handles them. Default empty: the root.
	Endpoint string `json:"endpoint,omitzero"`
	// Stream is the stream that holds them. Default empty: the one that takes the
	// subject, or else the host's own, which then takes it.
	Stream string `json:"stream,omitzero"`
	// Start says which events there are to handle when the trigger is new: "new",
	// those after it; "all" that the stream holds; a sequence number; or a time
	// (RFC 3339). A trigger that was there before goes on where it was. Default "new".
	Start string `json:"start"`
	// Retries is how often an event that failed is tried again, from 0 to
	// MaxRetries, before it becomes a dead letter. Default 5.
	Retries int `json:"retries"`
	// Backoff is the time before the first retry; it doubles from one to the next,
	// with a jitter of a fifth, up to BackoffMax. From MinBackoff to MaxBackoff.
	// Default 1s and 5m.
	Backoff    time.Duration `json:"backoff"`
	BackoffMax time.Duration `json:"backoffMax"`
	// InFlight is how many events a node handles at once, from 1 to MaxInFlight; the
	// others wait in the stream, and one that waits for a retry takes no place. With 1
	// they are handled one by one on all nodes together, in the order of the stream: a
	// retry holds up those behind it. Default 32.
	InFlight int `json:"inFlight"`
}

func defaultEvent() Event {
	return Event{Start: "new", Retries: 5, Backoff: time.Second, BackoffMax: 5 * time.Minute, InFlight: 32}
}

var eventKeys = keys[Event]{
	fields: []field[Event]{
		required(key("subject", text(schema{"pattern": `^[^$\s][^\s]*$`, "maxLength": maxSubject}, checkEventSubject),
			func(e *Event) *string { return &e.Subject }, "Subject of the events, with the wildcards * and >.")),
		key("endpoint", text(schema{"pattern": namePattern.String(), "maxLength": MaxNameLength}, checkLabel),
			func(e *Event) *string { return &e.Endpoint }, "Endpoint that handles them. Default: the root."),
		key("stream", pattern(streamPattern.String(), "must be a stream's name: letters, digits, _ and -"),
			func(e *Event) *string { return &e.Stream }, "Stream that holds them. Default: the one that takes the subject, or the host's own."),
		key("start", startPoint(), func(e *Event) *string { return &e.Start },
			`Events that a new trigger begins with: "new", "all", a sequence number or a time such as 2026-01-02T15:04:05Z.`),
		key("retries", integer(0, MaxRetries), func(e *Event) *int { return &e.Retries },
			"Retries of an event that failed, before it becomes a dead letter."),
		key("backoff", duration(MinBackoff, MaxBackoff), func(e *Event) *time.Duration { return &e.Backoff },
			"Time before the first retry; it doubles from one to the next."),
		key("backoffMax", duration(MinBackoff, MaxBackoff), func(e *Event) *time.Duration { return &e.BackoffMax },
			"The longest time before a retry."),
		key("inFlight", integer(1, MaxInFlight), func(e *Event) *int { return &e.InFlight },
			"Events that a node handles at once. 1: one by one, in the order of the stream."),
	},
	init: func(e *Event) { *e = defaultEvent() },
	check: func(r *reader, n node, e *Event) {
		checkBackoff(r, n, e.Backoff, e.BackoffMax)
	},
}

// checkBackoff reports a backoff beyond its end.
func checkBackoff(r *reader, n node, backoff, end time.Duration) {
	switch {
	case end >= backoff:
	case n.child("backoffMax").Node == n.Node: // it has its default
		r.bad(n.child("backoff"), "", "must be at most backoffMax, which is %s, not %s", formatDuration(end), formatDuration(backoff))
	default:
		r.bad(n.child("backoffMax"), "", "must be at least backoff, which is %s, not %s", formatDuration(backoff), formatDuration(end))
	}
}

var streamPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// checkEventSubject refuses, beside what is no subject, those that are not events.
func checkEventSubject(s string) *problem {
	if p := checkSubject(s); p != nil {
		return p
	}
	first, _, _ := strings.Cut(s, ".")
	switch first {
	case "fn", "dead", "schedule", "tick", "_INBOX":
		return &problem{fmt.Sprintf("must not begin with %s., which the host uses itself", first), ""}
	case "*", ">":
		return &problem{"must not begin with a wildcard, which would match subjects of the host", "write a first part, such as events.>"}
	}
	return nil
}

// startPoint is where a trigger begins. A sequence number needs no quotes.
func startPoint() value[string] {
	start := text(schema{}, checkStart)
	return value[string]{
		read: func(r *reader, n node, into *string) {
			written, ok := n.scalar()
			if !ok {
				start.read(r, n, into)
				return
			}
			if p := checkStart(written); p != nil {
				r.bad(n, p.hint, "%s", p.message)
				return
			}
			*into = written
		},
		schema: func(def string) schema {
			return start.schema(def).with("type", []string{"string", "integer"}).with("minimum", 1)
		},
	}
}

// checkStart checks where a trigger begins.
func checkStart(s string) *problem {
	if s == "new" || s == "all" {
		return nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return nil
	}
	return &problem{fmt.Sprintf("must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not %.80q", s), ""}
}

// checkEvents reports triggers that would handle the same events twice.
func checkEvents(r *reader, items []item[Event]) {
	seen := make(map[string]item[Event])
	for _, it := range items {
		id := it.value.Stream + " " + it.value.Subject + " " + it.value.Endpoint
		if other, ok := seen[id]; ok {
			r.bad(it.node.child("subject"), "", "repeats the trigger on %s", other.node.position())
			continue
		}
		seen[id] = it
	}
}
