package kv

import (
	"errors"
	"fmt"
)

// Errors for errors.Is.
var (
	ErrNotFound      = errors.New("kv: key not found")
	ErrExists        = errors.New("kv: key exists")              // always a *ConflictError
	ErrConflict      = errors.New("kv: key has changed")         // always a *ConflictError
	ErrInvalidKey    = errors.New("kv: not a key")               // see ValidateKey
	ErrInvalidBucket = errors.New("kv: not a name for a bucket") // see ValidateBucket
	ErrInvalidQuery  = errors.New("kv: not a query")             // see Query, Filter, WatchOptions
	ErrNoBucket      = errors.New("kv: no such bucket")
	ErrTooLarge      = errors.New("kv: too large")
	ErrFull          = errors.New("kv: bucket is full") // it can be read, and keys can be deleted or given smaller values
	ErrTTL           = errors.New("kv: a time to live is of whole seconds, from 1 s on")
	ErrNotNumber     = errors.New("kv: not a whole number of 64 bits")
	ErrLost          = errors.New("kv: lease is lost") // see Lease
	ErrClosed        = errors.New("kv: watcher is closed")
	ErrDamaged       = errors.New("kv: blob is damaged: it is not what was stored")
	ErrReplaced      = errors.New("kv: blob was replaced or deleted while it was read") // read it again
)

// ConflictError says that a key does not stand where a write wanted it: nothing was
// written. It is ErrConflict, and ErrExists too if the key should not be there. Read
// the key again, and decide anew.
type ConflictError struct {
	Key     string
	Wanted  uint64 // revision, 0: none
	Current uint64 // revision, 0: none
}

func (e *ConflictError) Error() string {
	switch {
	case e.Wanted == 0:
		return fmt.Sprintf("kv: key %q exists, at revision %d", e.Key, e.Current)
	case e.Current == 0:
		return fmt.Sprintf("kv: key %q has changed: it is not there, revision %d was wanted", e.Key, e.Wanted)
	}
	return fmt.Sprintf("kv: key %q has changed: it is at revision %d, %d was wanted", e.Key, e.Current, e.Wanted)
}

// Is tells errors.Is which sentinels this is.
func (e *ConflictError) Is(target error) bool {
	return target == ErrConflict || target == ErrExists && e.Wanted == 0
}
