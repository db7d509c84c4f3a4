// Package httpfn makes endpoints of handlers in the style of net/http. It stands
// apart from functions so that only functions that use net/http link it.
//
// The request that a handler sees has a path relative to its function ("/" for
// the function itself); the part before is in the header X-Forwarded-Prefix. A
// request that came by a route of the manifest has its path unchanged, and
// r.PathValue for the route's wildcards. A request that did not come over HTTP
// is a POST of "/".
//
// A response is held until the handler returns or flushes, so that a small one
// travels as one frame; from the first flush, or from 32 KiB on, it streams.
// [http.Flusher] and [http.ResponseController.Flush] work; hijacking does not.
package httpfn

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
)

// Handle returns the endpoint name ("" for the root) that h serves. A handler
// that panics with [http.ErrAbortHandler] breaks the response off.
func Handle(name string, h http.Handler) functions.Endpoint {
	return functions.NewEndpoint(name, wire.EndpointHTTP, func(ctx context.Context, r *functions.Request, w functions.Responder) error {
		req, err := request(ctx, r)
		if err != nil {
			return err
		}
		rw := &responseWriter{w: w, header: make(http.Header)}
		h.ServeHTTP(rw, req)
		return rw.finish()
	})
}

// HandleFunc is [Handle] for a function.
func HandleFunc(name string, h func(http.ResponseWriter, *http.Request)) functions.Endpoint {
	return Handle(name, http.HandlerFunc(h))
}

// request builds the HTTP request that the headers of an invocation describe.
func request(ctx context.Context, r *functions.Request) (*http.Request, error) {
	req := (&http.Request{
		Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), RequestURI: "/", ContentLength: -1,
	}).WithContext(ctx)
	query := ""
	for key, value := range r.Header.All() {
		switch key {
		case wire.KeyMethod:
			req.Method = value
		case wire.KeyURI:
			req.RequestURI = value
		case wire.KeyHost:
			req.Host = value
		case wire.KeyRemote:
			req.RemoteAddr = value
		case wire.KeyQuery:
			query = value
		case wire.KeyValue:
			name, value, _ := strings.Cut(value, "=")
			req.SetPathValue(name, value)
		default:
			if key[0] != ':' {
				req.Header.Add(key, value)
			}
		}
	}
	u, err := url.ParseRequestURI(req.RequestURI)
	if err != nil {
		return nil, functions.Errorf(functions.BadRequest, "request URI %q: %v", req.RequestURI, err)
	}
	if u.RawQuery == "" && query != "" {
		u.RawQuery = query
		req.RequestURI += "?" + query
	}
	req.URL = u
	setBody(req, r)
	return req, nil
}

func setBody(req *http.Request, r *functions.Request) {
	switch {
	case r.Body != nil:
		if n, err := strconv.ParseInt(req.Header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
			req.ContentLength = n
		}
		req.Body = io.NopCloser(r.Reader())
	case len(r.Payload) == 0:
		req.ContentLength = 0
		req.Body = http.NoBody
	default:
		req.ContentLength = int64(len(r.Payload))
		req.Body = io.NopCloser(r.Reader())
	}
}

// holdBack is how much of a response is held before it streams, in bytes.
const holdBack = 32 << 10

// responseWriter turns what a handler writes into a response over the wire.
type responseWriter struct {
	w       functions.Responder
	header  http.Header
	status  int
	held    []byte
	started bool // the head is out
}

func (rw *responseWriter) Header() http.Header { return rw.header }

func (rw *responseWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does
	}
	if rw.status == 0 && status >= 200 { // informational ones are not passed on
		rw.status = status
	}
}

func (rw *responseWriter) Write(p []byte) (int, error) {
	rw.WriteHeader(http.StatusOK)
	if rw.status == http.StatusNoContent || rw.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	if !rw.started && len(rw.held)+len(p) <= holdBack {
		rw.held = append(rw.held, p...)
		return len(p), nil
	}
	if err := rw.start(); err != nil {
		return 0, err
	}
	if len(rw.held)+len(p) <= holdBack {
		rw.held = append(rw.held, p...)
		return len(p), nil
	}
	if err := rw.send(); err != nil {
		return 0, err
	}
	return rw.w.Write(p)
}

// start sends the head with what is held.
func (rw *responseWriter) start() error {
	if rw.started {
		return nil
	}
	rw.started = true
	rw.WriteHeader(http.StatusOK)
	held := rw.held
	rw.held = nil
	return rw.respond(held, true)
}

// send sends what is held, after the head.
func (rw *responseWriter) send() error {
	if len(rw.held) == 0 {
		return nil
	}
	_, err := rw.w.Write(rw.held)
	rw.held = rw.held[:0]
	return err
}

func (rw *responseWriter) respond(body []byte, more bool) error {
	var h wire.Header
	if rw.status != http.StatusOK {
		h = h.AddInt(wire.KeyStatus, int64(rw.status))
	}
	for key, values := range rw.header {
		if key == "" || key[0] == ':' {
			continue // no name of a header; net/http leaves it out, too
		}
		for _, value := range values {
			if !h.Fits(key, value) {
				return functions.Errorf(functions.Internal, "response headers over %d bytes", wire.MaxHeader)
			}
			h = h.Add(key, value)
		}
	}
	return rw.w.Respond(h, body, more)
}

// Flush sends what was written so far.
func (rw *responseWriter) Flush() { rw.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (rw *responseWriter) FlushError() error {
	if !rw.started {
		return rw.start()
	}
	return rw.send()
}

func (rw *responseWriter) finish() error {
	if rw.started {
		return rw.send()
	}
	rw.WriteHeader(http.StatusOK)
	return rw.respond(rw.held, false)
}
