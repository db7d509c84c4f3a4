package bundle

import (
	"errors"
	"fmt"
)

// What an [Error] is about, for errors.Is.
var (
	// ErrTooLarge is for what exceeds [Limits].
	ErrTooLarge = errors.New("bundle: too large")
	// ErrUnsafe is for what a bundle must not hold: a path or a link that leaves
	// the tree, a device, two entries of one path, a name that is no good.
	ErrUnsafe = errors.New("bundle: unsafe entry")
	// ErrDamaged is for what is not a bundle, or not all of one.
	ErrDamaged = errors.New("bundle: damaged")
	// ErrChanged is for a file that was written to while it was packed. Try again.
	ErrChanged = errors.New("bundle: changed while it was packed")
)

// Error says what is wrong with a tree or a bundle.
type Error struct {
	Kind   error  // ErrTooLarge, ErrUnsafe, ErrDamaged or ErrChanged
	Path   string // in the tree, with slashes; "" if it is about no single entry
	Reason string // what is wrong, and what to do about it
}

// Error returns "bundle: "path": reason".
func (e *Error) Error() string {
	if e.Path == "" {
		return "bundle: " + e.Reason
	}
	return fmt.Sprintf("bundle: %q: %s", e.Path, e.Reason)
}

// Unwrap returns Kind.
func (e *Error) Unwrap() error { return e.Kind }

// maxShown bounds a path in an error, in bytes: those of a hostile bundle are long.
const maxShown = 256

func failure(kind error, path, format string, args ...any) *Error {
	if len(path) > maxShown {
		path = path[:maxShown] + "…"
	}
	return &Error{Kind: kind, Path: path, Reason: fmt.Sprintf(format, args...)}
}
