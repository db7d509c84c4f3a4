package wire

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Code classes an error so that it keeps its meaning across processes and
// protocols. A code that a receiver does not know counts as [Internal].
type Code string

// Codes, with the HTTP status that each one becomes at the gateway.
const (
	BadRequest   Code = "bad_request"       // 400: the input is not what the function takes
	Unauthorized Code = "unauthorized"      // 401: who asks is not known
	Forbidden    Code = "forbidden"         // 403: who asks may not
	NotFound     Code = "not_found"         // 404: what a function was asked for is not there
	NoFunction   Code = "no_function"       // 404: no such function, endpoint or version
	NoMethod     Code = "no_method"         // 405: not with this HTTP method
	Conflict     Code = "conflict"          // 409: the state does not allow it
	TooLarge     Code = "too_large"         // 413: a body over the limit
	HeaderLarge  Code = "header_too_large"  // 431: headers over the limit
	Unprocessed  Code = "unprocessable"     // 422: well-formed, and still wrong
	TooMany      Code = "too_many_requests" // 429: over a rate limit
	Internal     Code = "internal"          // 500: the function returned an error
	Panicked     Code = "panic"             // 500: the function panicked
	Crashed      Code = "crashed"           // 502: the worker ended in the middle
	Unavailable  Code = "unavailable"       // 503: no worker to be had, or none allowed
	Overloaded   Code = "overloaded"        // 503: the queue of the function is full
	Timeout      Code = "timeout"           // 504: the deadline passed
	Canceled     Code = "canceled"          // 499: the caller went away
	Loop         Code = "loop"              // 508: functions call each other without end
)

// Error is an error that crosses the wire. Functions return one to choose the
// code; any other error becomes one of code [Internal].
type Error struct {
	Code    Code
	Message string
	// Stack is where a panic happened, empty otherwise. It is for the log and
	// never shown to the caller of a function.
	Stack string
	// Retry says when an event that failed so is to be tried again: after that
	// time, never if it is negative, and if it is 0 as its trigger says.
	Retry time.Duration
	// Remote reports that the other side has sent the error, and not this one made
	// it: for a host, that it is the function's own.
	Remote bool
}

// Errorf returns an Error of code whose message is formatted as by [fmt.Sprintf].
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message, or the code if there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// Is reports whether target is an *Error of the same code and either no message
// or the same, so that errors.Is(err, &Error{Code: NotFound}) asks for the code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Coded returns err, which [AsError] takes for one of code, whatever else it wraps:
// errors.Is and errors.As find that as before. It returns nil for nil.
func Coded(err error, code Code) error {
	if err == nil {
		return nil
	}
	return &codedError{err, code}
}

// OfHost returns err, of something that a function has asked its host for. It stays what it
// is for the function; but if the function returns it, it is [Internal], or [Unavailable]
// if the host was: a secret that is not there is not what the function was asked for. The errors of a context,
// [Timeout] and [Canceled] stay. It returns nil for nil.
func OfHost(err error) error {
	e := AsError(err)
	if e == nil {
		return nil
	}
	switch e.Code {
	case Timeout, Canceled:
		return err
	case Unavailable, Overloaded:
		return Coded(err, Unavailable)
	}
	return Coded(err, Internal)
}

// codedError is an error with a code, which still is what it was.
type codedError struct {
	err  error
	code Code
}

func (e *codedError) Error() string { return e.err.Error() }

func (e *codedError) Unwrap() error { return e.err }

func (e *codedError) coded() *Error {
	coded := Error{Code: e.code}
	var below *Error
	if errors.As(e.err, &below) {
		coded.Retry, coded.Remote = below.Retry, below.Remote
	}
	return &coded
}

func (e *Error) coded() *Error { return e }

// AsError returns err as an *Error: itself if it is or wraps one or what [Coded] has made (of several that
// are joined one that says when to try again, or else the first), code
// [Timeout] or [Canceled] for the errors of a context, otherwise code
// [Internal]. It returns nil for nil.
func AsError(err error) *Error {
	var e *Error
	var marked interface{ Marked() *Error }
	var c interface{ coded() *Error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &marked):
		e = marked.Marked()
		return &Error{Code: e.Code, Message: err.Error(), Stack: e.Stack, Retry: e.Retry, Remote: e.Remote}
	case errors.As(err, &c), errors.As(err, &e):
		if c != nil {
			e = c.coded()
		}
		if e.Message == err.Error() {
			return e
		}
		return &Error{Code: e.Code, Message: err.Error(), Stack: e.Stack, Retry: e.Retry, Remote: e.Remote}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Timeout, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Message: err.Error()}
	}
	return &Error{Code: Internal, Message: err.Error()}
}

// maxRetry bounds Error.Retry as it is received.
const maxRetry = 30 * 24 * time.Hour

// maxErrorText bounds what an error frame carries, so that it always fits.
const maxErrorText = 16 << 10

func (e *Error) header(h Header) Header {
	h = h.Add(KeyCode, string(e.Code)).Add(KeyMessage, cut(e.Message))
	if e.Stack != "" {
		h = h.Add(KeyStack, cut(e.Stack))
	}
	switch {
	case e.Retry < 0:
		h = h.AddInt(KeyRetry, -1)
	case e.Retry > 0:
		h = h.AddInt(KeyRetry, max(e.Retry.Microseconds(), 1))
	}
	return h
}

func cut(s string) string {
	if len(s) > maxErrorText {
		return s[:maxErrorText] + "…"
	}
	return s
}

func errorOf(h Header) *Error {
	e := &Error{Code: Code(h.Get(KeyCode)), Message: h.Get(KeyMessage), Stack: h.Get(KeyStack), Remote: true}
	if e.Code == "" {
		e.Code = Internal
	}
	if us, ok := h.Int(KeyRetry); ok {
		e.Retry = time.Duration(max(min(us, int64(maxRetry/time.Microsecond)), -1)) * time.Microsecond
	}
	return e
}
