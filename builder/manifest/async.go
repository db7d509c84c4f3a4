package manifest

import "time"

// Limits of how long results of asynchronous calls are kept. Streams forget by the
// second, and records of runs after a week.
const (
	MinKeep = time.Second
	MaxKeep = 7 * 24 * time.Hour
)

// Async says how asynchronous calls of the function are handled: those that are
// stored first, and answered later.
type Async struct {
	// Retries is how often a call that failed is tried again, from 0 to MaxRetries.
	// One that the function has answered, with a status below 500, has not failed.
	// Default 3.
	Retries int `json:"retries"`
	// Backoff is the time before the first retry; it doubles from one to the next,
	// with a jitter of a fifth, up to BackoffMax. From MinBackoff to MaxBackoff.
	// Default 1s and 5m.
	Backoff    time.Duration `json:"backoff"`
	BackoffMax time.Duration `json:"backoffMax"`
	// InFlight is how many calls a node handles at once, from 1 to MaxInFlight; the
	// others wait in the stream. Default 32.
	InFlight int `json:"inFlight"`
	// Keep is how long the result is kept after the end, from MinKeep to MaxKeep; parts
	// of a second do not count. Default 24h.
	Keep time.Duration `json:"keep"`
}

// DefaultAsync returns what holds where a manifest says nothing.
func DefaultAsync() Async {
	return Async{Retries: 3, Backoff: time.Second, BackoffMax: 5 * time.Minute, InFlight: 32, Keep: 24 * time.Hour}
}

var asyncKeys = keys[Async]{
	fields: []field[Async]{
		key("retries", integer(0, MaxRetries), func(a *Async) *int { return &a.Retries },
			"Retries of a call that failed."),
		key("backoff", duration(MinBackoff, MaxBackoff), func(a *Async) *time.Duration { return &a.Backoff },
			"Time before the first retry; it doubles from one to the next."),
		key("backoffMax", duration(MinBackoff, MaxBackoff), func(a *Async) *time.Duration { return &a.BackoffMax },
			"The longest time before a retry."),
		key("inFlight", integer(1, MaxInFlight), func(a *Async) *int { return &a.InFlight },
			"Calls that a node handles at once."),
		key("keep", duration(MinKeep, MaxKeep), func(a *Async) *time.Duration { return &a.Keep },
			"How long the result is kept after the end: 1s to 168h."),
	},
	check: func(r *reader, n node, a *Async) { checkBackoff(r, n, a.Backoff, a.BackoffMax) },
}
