package trigger

import (
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

// RunState is how far a [Run] has come.
type RunState string

// States of a run.
const (
	RunQueued   RunState = "queued"   // it is stored, and waits for a place
	RunRunning  RunState = "running"  // its function works on it
	RunRetrying RunState = "retrying" // a call, of which an attempt has failed, and another one follows
	RunDone     RunState = "done"     // the function has answered, with whatever status
	RunFailed   RunState = "failed"   // a call for good, or this attempt at an event
	RunCanceled RunState = "canceled" // by who knows its ID
)

// Ended reports whether nothing follows.
func (s RunState) Ended() bool { return s == RunDone || s == RunFailed || s == RunCanceled }

// Run is what is known of one run of a function: of an asynchronous call, or of an
// attempt at an event. The JSON form is for storing it; the duration is nanoseconds
// there.
type Run struct {
	ID       string   `json:"id"`
	Function string   `json:"function"`
	Endpoint string   `json:"endpoint,omitempty"`
	Version  string   `json:"version,omitempty"` // that has answered, or failed
	Trigger  string   `json:"trigger"`
	Account  string   `json:"account,omitempty"` // that has proved to have made the call
	State    RunState `json:"state"`
	Attempts int      `json:"attempts,omitempty"`
	// Invocation is that of the latest attempt, as the logs have it.
	Invocation string        `json:"invocation,omitempty"`
	Queued     time.Time     `json:"queued,omitzero"`  // when it was stored
	Started    time.Time     `json:"started,omitzero"` // the latest attempt
	Ended      time.Time     `json:"ended,omitzero"`   // the run
	Duration   time.Duration `json:"duration,omitempty"`
	// Next is when a call that is retrying is tried again, or was to be an event of
	// which this attempt failed. The next attempt at an event is a run of its own.
	Next       time.Time `json:"next,omitzero"`
	Input      RunInput  `json:"input,omitzero"`
	Status     int       `json:"status,omitempty"`     // that its answer has over HTTP
	OutputSize int64     `json:"outputSize,omitempty"` // in bytes, whether they are kept or not
	Dropped    bool      `json:"dropped,omitempty"`    // the output was too large to be kept
	Error      string    `json:"error,omitempty"`
	Code       wire.Code `json:"code,omitempty"`
	Callback   string    `json:"callback,omitempty"` // URL that is told of the end

	// Header and Output are the answer, where it is kept. The Output of a call that
	// failed is empty, and Data what it was called with.
	Header   wire.Header `json:"-"`
	Output   []byte      `json:"-"`
	Data     []byte      `json:"-"`
	Revision uint64      `json:"-"` // of what is stored, 0 for nothing
}

// RunInput says where the input of a run is, or was.
type RunInput struct {
	Stream   string `json:"stream,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Size     int64  `json:"size,omitempty"` // of the body of an asynchronous call
	Hash     string `json:"hash,omitempty"` // of that body, if the client has chosen the ID
}

// Err returns the error of a run that failed or was canceled, nil for others.
func (r *Run) Err() error {
	switch {
	case r.State == RunCanceled:
		return wire.Errorf(wire.Canceled, "the run %s was canceled", r.ID)
	case r.State == RunFailed:
		return &wire.Error{Code: r.Code, Message: r.Error, Remote: true}
	}
	return nil
}

// AsyncOptions say how an asynchronous call is stored.
type AsyncOptions struct {
	// ID is that of the run: 1 to 64 letters, digits, _ and -. A call of an ID that is
	// known is not stored again, and refused if its body is another one. Default: one that cannot be guessed.
	ID string
	// Callback is a URL, http or https, that the result is sent to. Default: none.
	Callback string
}
