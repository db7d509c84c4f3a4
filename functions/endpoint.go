package functions

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"

	"github.com/fnhost/fnhost/functions/wire"
)

// Request is what an invocation brings to an endpoint.
type Request struct {
	Header  wire.Header
	Payload []byte    // the first part of the body, or all of it
	Body    io.Reader // what follows, nil for nothing
}

// ReadAll returns the whole body. It fails if the caller goes away in the middle.
func (r *Request) ReadAll() ([]byte, error) {
	if r.Body == nil {
		return r.Payload, nil
	}
	rest, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return append(r.Payload[:len(r.Payload):len(r.Payload)], rest...), nil
}

// Reader returns a reader of the whole body.
func (r *Request) Reader() io.Reader {
	first := &sliceReader{r.Payload}
	if r.Body == nil {
		return first
	}
	return io.MultiReader(first, r.Body)
}

type sliceReader struct{ rest []byte }

func (s *sliceReader) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Responder takes the answer of an endpoint: one Respond, and then Writes if it
// said that there is more. *[wire.Exchange] is one.
type Responder interface {
	Respond(h wire.Header, payload []byte, more bool) error
	Write(p []byte) (int, error)
}

// Endpoint is one handler under a name. Make one with [Handle], or with
// NewEndpoint for a protocol of its own.
type Endpoint struct {
	Name string // "" for the root
	Kind string // wire.EndpointJSON, EndpointRaw, EndpointHTTP, EndpointEvent or EndpointBatch
	// In and Out describe the request and the response; nil where there is none
	// or it is not JSON.
	In, Out reflect.Type

	serve func(context.Context, *Request, Responder) error
	err   error // why it is none
}

// NewEndpoint returns an endpoint of a kind that serve runs.
func NewEndpoint(name, kind string, serve func(context.Context, *Request, Responder) error) Endpoint {
	return Endpoint{Name: name, Kind: kind, serve: serve}
}

// Err returns why the endpoint cannot be served: a handler that is of no
// accepted shape, or has an input or a result that JSON can never become or be
// made of. It is nil for a good one.
func (e *Endpoint) Err() error {
	if e.err == nil && e.serve == nil {
		return fmt.Errorf("functions: endpoint %q has no handler", e.Name)
	}
	return e.err
}

// Serve runs the endpoint for one invocation. A panic of the handler comes back
// as an *[Error] with its stack.
func (e *Endpoint) Serve(ctx context.Context, r *Request, w Responder) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Error{Code: wire.Panicked, Message: fmt.Sprint(v), Stack: string(debug.Stack())}
		}
	}()
	return e.serve(ctx, r, w)
}
