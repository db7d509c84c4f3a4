package functions

import "github.com/fnhost/fnhost/functions/wire"

// Error is an error with a [Code], which decides the HTTP status and which
// crosses processes. Any other error counts as one of code [Internal].
type Error = wire.Error

// Code classes an error.
type Code = wire.Code

// Codes for a function to return, with the HTTP status that each becomes; the package
// text says when each is meant.
const (
	BadRequest   = wire.BadRequest   // 400
	Unauthorized = wire.Unauthorized // 401
	Forbidden    = wire.Forbidden    // 403
	NotFound     = wire.NotFound     // 404
	NoMethod     = wire.NoMethod     // 405
	Conflict     = wire.Conflict     // 409
	TooLarge     = wire.TooLarge     // 413
	Unprocessed  = wire.Unprocessed  // 422
	TooMany      = wire.TooMany      // 429
	Internal     = wire.Internal     // 500
	Unavailable  = wire.Unavailable  // 503
)

// Errors that a host returns from [Call], and from what else a function asks it for, for
// errors.Is. Functions return the same codes through [Errorf].
var (
	ErrBadRequest  = &Error{Code: wire.BadRequest}
	ErrForbidden   = &Error{Code: wire.Forbidden}
	ErrNotFound    = &Error{Code: wire.NotFound}   // the function says so, or there is no such secret
	ErrNoFunction  = &Error{Code: wire.NoFunction} // the host has no such function, endpoint or version
	ErrConflict    = &Error{Code: wire.Conflict}
	ErrPanicked    = &Error{Code: wire.Panicked}
	ErrCrashed     = &Error{Code: wire.Crashed}
	ErrUnavailable = &Error{Code: wire.Unavailable}
	ErrOverloaded  = &Error{Code: wire.Overloaded}
	ErrTimeout     = &Error{Code: wire.Timeout}
	ErrLoop        = &Error{Code: wire.Loop}
)

// Errorf returns an error of code whose message is formatted as by [fmt.Sprintf].
func Errorf(code Code, format string, args ...any) *Error {
	return wire.Errorf(code, format, args...)
}
