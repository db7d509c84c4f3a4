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
	// ($…), nor of the host's (fn.…, dead.…, schedule.…, tick.…, later.…, _INBOX.…).
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
	// Key says what an event's key is, for Order, PerKey, Debounce and Throttle:
	// "subject"; "subject.N", the N-th part of it, from 1; "header.NAME", in any
	// case; or "data.a.b", a field of the data, which is JSON. An event without has
	// the key "". Default "subject".
	Key string `json:"key"`
	// Order is OrderKey for events of one key to be handled one at a time on all
	// nodes together, in the order of the stream, retries included, while others go
	// on. Default OrderNone.
	Order string `json:"order"`
	// PerKey is how many events of one key a node handles at once, from 0 to
	// MaxInFlight. Default 0: as many as InFlight says.
	PerKey int `json:"perKey,omitzero"`
	// Rate is how many events a node begins in a time, such as "100/s", "100/m" or
	// "100/h", from 1 to MaxRate; the others wait in the stream. What a second allows
	// may come at once. Default empty: no limit.
	Rate string `json:"rate,omitzero"`
	// Debounce is how long a key must be quiet before its latest event is handled;
	// those before it are skipped. From MinQuiet to MaxQuiet. Default 0: not at all.
	Debounce time.Duration `json:"debounce,omitzero"`
	// Throttle is the least time between two events of one key that are handled: the
	// first at once, and then the latest of those that came meanwhile; the others are
	// skipped. From MinQuiet to MaxQuiet. Default 0: not at all.
	Throttle time.Duration `json:"throttle,omitzero"`
	// Dedupe is for how long an event of an ID that was begun with before is skipped,
	// whichever stream it is in: the ID of NATS (Nats-Msg-Id) or that of a CloudEvent,
	// together with its source. Whole seconds, from 1s to MaxDedupe. Default 0: only the
	// stream's own window counts.
	Dedupe time.Duration `json:"dedupe,omitzero"`
	// Batch has a handler that takes a slice get several events at once, as long as
	// they are at their first attempt. InFlight counts batches then. Default nil: one
	// by one.
	Batch *Batch `json:"batch,omitzero"`
	// Filter says which events are handled at all. Default nil: all.
	Filter *Filter `json:"filter,omitzero"`
}

func defaultEvent() Event {
	return Event{Start: "new", Retries: 5, Backoff: time.Second, BackoffMax: 5 * time.Minute, InFlight: 32, Key: "subject", Order: OrderNone}
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
		key("key", text(schema{"pattern": keyPattern.String()}, checkKey), func(e *Event) *string { return &e.Key },
			"Key of an event: subject, subject.N (its N-th part), header.NAME, or data.a.b (a field of JSON)."),
		key("order", oneOf(OrderNone, OrderKey), func(e *Event) *string { return &e.Order },
			"key: events of one key are handled one at a time, in the order of the stream."),
		key("perKey", integer(0, MaxInFlight), func(e *Event) *int { return &e.PerKey },
			"Events of one key that a node handles at once. 0: no limit."),
		key("rate", text(schema{"pattern": ratePattern.String()}, checkRate), func(e *Event) *string { return &e.Rate },
			"Events that a node begins in a time, such as 100/s, 100/m or 100/h. Default: no limit."),
		key("debounce", duration(MinQuiet, MaxQuiet), func(e *Event) *time.Duration { return &e.Debounce },
			"How long a key must be quiet before its latest event is handled: 10ms to 1h. Default: not at all."),
		key("throttle", duration(MinQuiet, MaxQuiet), func(e *Event) *time.Duration { return &e.Throttle },
			"The least time between two events of one key that are handled, the first at once: 10ms to 1h. Default: none."),
		key("dedupe", duration(time.Second, MaxDedupe), func(e *Event) *time.Duration { return &e.Dedupe },
			"How long another event of the same ID is skipped: 1s to 720h. Default: as long as the stream itself does."),
		key("batch", optional(mapping(batchKeys)), func(e *Event) **Batch { return &e.Batch },
			"Several events at once, for a handler that takes a slice. Default: one by one."),
		key("filter", optional(mapping(filterKeys)), func(e *Event) **Filter { return &e.Filter },
			"Events that are handled at all. Default: all."),
	},
	init: func(e *Event) { *e = defaultEvent() },
	check: func(r *reader, n node, e *Event) {
		checkBackoff(r, n, e.Backoff, e.BackoffMax)
		checkFlow(r, n, e)
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
	case "fn", "dead", "schedule", "tick", "later", "_INBOX":
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
