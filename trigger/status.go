package trigger

import (
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
)

// statuses is the one table from error to HTTP status; all ways in share it.
var statuses = map[wire.Code]int{
	wire.BadRequest:   400,
	wire.Unauthorized: 401,
	wire.Forbidden:    403,
	wire.NotFound:     404,
	wire.NoFunction:   404,
	wire.NoMethod:     405,
	wire.Conflict:     409,
	wire.TooLarge:     413,
	wire.Unprocessed:  422,
	wire.TooMany:      429,
	wire.HeaderLarge:  431,
	wire.Canceled:     499,
	wire.Internal:     500,
	wire.Panicked:     500,
	wire.Crashed:      502,
	wire.Unavailable:  503,
	wire.Overloaded:   503,
	wire.Timeout:      504,
	wire.Loop:         508,
}

// StatusOf returns the HTTP status of an error: that of its code, 500 for a code
// that is not known.
func StatusOf(err error) int {
	if e := wire.AsError(err); e != nil {
		if status, ok := statuses[e.Code]; ok {
			return status
		}
		return 500
	}
	return 200
}

// BodyTooLarge returns the error of code TooLarge for a body over the limit of a
// function, in bytes.
func BodyTooLarge(limit int64) error {
	hint := ""
	if limit < manifest.MaxBody {
		hint = ": raise `body:` in its " + manifest.FileName
	}
	return wire.Errorf(wire.TooLarge, "the body is larger than the function's limit of %s%s", manifest.FormatSize(limit), hint)
}
