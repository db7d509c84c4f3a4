// Package trigger is the contract between what starts functions and what runs
// them. A trigger (an HTTP gateway, NATS requests, …) turns something that
// happens into an [Invocation] and hands it to an [Invoker], the host, which
// decides on version and worker. It learns of the functions that there are by a
// [Table], anew each time something changes. There is no other way to run a
// function.
package trigger

import (
	"context"
	"fmt"
	"io"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

// Names of triggers, as they stand in an invocation.
const (
	HTTP  = "http"  // the gateway
	RPC   = "rpc"   // a NATS request
	Event = "event" // a message of a stream
	// Schedule is a time that has come, Subscribe a message that is stored nowhere.
	Schedule  = "schedule"
	Subscribe = "subscribe"
	KV        = "kv"     // a change of a bucket's key
	Async     = "async"  // a call that was stored, and is answered later
	Call      = "call"   // another function
	Direct    = "invoke" // the embedding program, or an operator
)

// HeaderVersion is the HTTP header by which a request asks for a version, "v3",
// and by which its response tells which one has answered.
const HeaderVersion = "X-Fn-Version"

// Trigger is one way to start functions. How it is stopped is its own: a gateway
// ends with its server, others with their Close.
type Trigger interface {
	// Update tells it of the functions that there are now, each time that changes,
	// never concurrently.
	Update(t *Table)
}

// Invoker runs functions.
type Invoker interface {
	// Invoke runs one invocation and returns the head of its result; the rest,
	// if any, is read from the result's Body. The context, or the function's
	// timeout if that is sooner, bounds all of it, the body included. The error
	// is, or wraps, an *[wire.Error], or is that of ctx.
	Invoke(ctx context.Context, inv *Invocation) (*Result, error)
	// Await returns what there is to know of a function that is not in the table,
	// or of a version of a function, if version is not "". It waits for one that is
	// being built for the first time. It returns an *[wire.Error] of code
	// NoFunction if there is none, and one that is also a *[NotReady] if it could
	// not be built.
	Await(ctx context.Context, function, version string) (*Function, error)
}

// NotReady is the error of a function of which no version was ever ready.
type NotReady struct {
	Function string
	Problem  string  // "does not build", "does not start"; "" is "is not ready"
	Title    string  // what is wrong, in a line
	Detail   string  // all there is to show: compile errors with their source
	Faults   []Fault // the same in parts, if it is about the source
}

// Fault is one thing that is wrong with the source of a function.
type Fault struct {
	Message string // with its place; may have further lines
	Excerpt string // of the source; may be empty
}

func (e *NotReady) Error() string {
	return fmt.Sprintf("function %q is not ready: %s", e.Function, e.Title)
}

// Unwrap makes it an error of code Unavailable.
func (e *NotReady) Unwrap() error { return &wire.Error{Code: wire.Unavailable} }

// Invocation is one run of a function that is wanted.
type Invocation struct {
	ID       string // "" lets the invoker choose one, and set it
	Function string
	Endpoint string // "" for the root
	Version  string // that is asked for, "v3"; "" leaves it to the release
	Ran      string // the invoker sets the version that it has chosen, also for one that fails
	Trigger  string
	Caller   string // the calling function, for the trigger Call
	Depth    int    // calls above this one
	// Header is the request's: the protocol's keys for an HTTP request (see
	// package wire) and the headers themselves. The invoker copies it.
	Header  wire.Header
	Payload []byte    // the first part of the body, or all of it
	Body    io.Reader // what follows, nil for nothing
}

// Result is the answer of a function.
type Result struct {
	Version string // that has answered
	Header  wire.Header
	Payload []byte
	Body    io.ReadCloser // what follows, nil for nothing; to be read to its end or closed
}

// Status returns the HTTP status of the result.
func (r *Result) Status() int { return wire.StatusOf(r.Header, 200) }

// ReadAll returns the whole body, and closes it. It returns an *[wire.Error] of
// code TooLarge, without reading on, for one of more than limit bytes.
func (r *Result) ReadAll(limit int64) ([]byte, error) {
	body := r.Payload
	if r.Body != nil {
		defer r.Body.Close()
		rest, err := io.ReadAll(io.LimitReader(r.Body, max(limit+1-int64(len(body)), 0)))
		if err != nil {
			return nil, err
		}
		body = append(body[:len(body):len(body)], rest...)
	}
	if int64(len(body)) > limit {
		return nil, wire.Errorf(wire.TooLarge, "the result is larger than %d bytes: ask for it over HTTP, where it streams", limit)
	}
	return body, nil
}

// Table is the functions that there are at one time. It is not changed once made.
type Table struct {
	Functions map[string]*Function
	// Pending are the functions that are not in Functions yet, since their first
	// version is being built, with their routes, if they have any.
	Pending map[string][]manifest.Route
}

// Function is what triggers need to know of one.
type Function struct {
	Name      string
	Doc       string
	Version   string
	Endpoints []Endpoint // sorted by name
	Manifest  *manifest.Manifest
}

// Endpoint returns the endpoint name, nil if there is none.
func (f *Function) Endpoint(name string) *Endpoint {
	for i := range f.Endpoints {
		if f.Endpoints[i].Name == name {
			return &f.Endpoints[i]
		}
	}
	return nil
}

// Endpoint is one handler of a function.
type Endpoint struct {
	Name     string // "" for the root
	Kind     string // wire.EndpointJSON, EndpointRaw, EndpointHTTP, EndpointEvent or EndpointBatch
	Doc      string
	Request  []byte // JSON schema, nil while unknown or where there is none
	Response []byte
}
