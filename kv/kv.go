package kv

import (
	"context"
	"time"
)

// Limits of the contract. A bucket may have narrower ones, see [Stats].
const (
	MaxKey     = 255   // bytes of a key
	MaxName    = 64    // bytes of a bucket's name
	MaxChanges = 400   // of a Commit
	MaxPage    = 10000 // entries that List returns at once
	MaxHistory = 64    // values that a bucket keeps of a key
)

// Bucket holds keys and their values. All methods are safe for concurrent use. Each
// may return, beside what it says, the error of its context and those of the
// connection to whatever keeps the bucket; those of a key that is none, of an option
// that is none, and of a bucket that is no longer there ([ErrNoBucket]).
type Bucket interface {
	// Name returns the bucket's name.
	Name() string

	// Get returns the key's entry. It returns ErrNotFound if there is none. The value
	// belongs to the caller.
	Get(ctx context.Context, key string) (Entry, error)

	// Put writes a value and returns its revision. It returns ErrExists or
	// ErrConflict, both as a *ConflictError, if a condition does not hold, ErrTooLarge
	// for a value above the bucket's limit, ErrFull if the bucket has no place for it,
	// and ErrTTL. Options: TTL, IfAbsent, IfRevision.
	Put(ctx context.Context, key string, value []byte, options ...Option) (uint64, error)

	// Delete removes a key; history keeps what it was, unless the option Purge is
	// given. To delete what is not there is no error. It returns ErrConflict, as a
	// *ConflictError, if a condition does not hold. Options: IfRevision, Purge.
	Delete(ctx context.Context, key string, options ...Option) error

	// Touch gives a key a new time to live, from now on, and so a new revision; 0
	// makes it stay. It returns ErrNotFound if there is no such key, and ErrTTL.
	Touch(ctx context.Context, key string, ttl time.Duration) (uint64, error)

	// Add adds to the number that a key holds and returns the sum, as one step whoever
	// else adds at the time. What is not there counts as 0. The value is the
	// number in decimal digits. It returns ErrNotNumber if the value is something else
	// or the sum is outside of int64, ErrFull and ErrTTL. Option: TTL.
	Add(ctx context.Context, key string, delta int64, options ...Option) (int64, error)

	// Commit makes all changes or none, as one step: nobody sees some of them. It
	// returns the revision of each, 0 for a check. If a condition does not hold, the
	// error is a *ConflictError of one key that is in its way; it returns ErrTooLarge
	// for more than MaxChanges or a value above the limit, ErrInvalidKey for a key that
	// comes twice, ErrFull, ErrTTL, and errors.ErrUnsupported if the bucket was not
	// made for it.
	Commit(ctx context.Context, changes ...Change) ([]uint64, error)

	// History returns what the bucket has kept of a key, the oldest first, with
	// deletes and expiry. It returns ErrNotFound if that is nothing.
	History(ctx context.Context, key string) ([]Entry, error)

	// List returns a page of keys in the order of their bytes. Page.Next leads to the
	// next one; All goes through all of them. A page is not of one moment: keys that
	// come and go meanwhile may be in it or not; all others are in it once. It
	// returns ErrInvalidQuery.
	List(ctx context.Context, query Query) (Page, error)

	// Count returns how many keys there are. It returns ErrInvalidQuery.
	Count(ctx context.Context, filter Filter) (int, error)

	// Watch follows keys. The watcher must be closed; the end of ctx closes it too. It
	// returns ErrInvalidQuery.
	Watch(ctx context.Context, options WatchOptions) (Watcher, error)

	// Stats returns what the bucket holds and may hold.
	Stats(ctx context.Context) (Stats, error)
}

// Op is what happened to a key.
type Op uint8

const (
	OpPut    Op = iota // a value was written
	OpDelete           // it was deleted or purged
	OpExpire           // its time to live has passed
	OpReady            // no change: a watcher has returned what was there before
)

// String returns "put", "delete", "expire" or "ready".
func (o Op) String() string {
	if int(o) < len(ops) {
		return ops[o]
	}
	return "unknown"
}

var ops = [...]string{OpPut: "put", OpDelete: "delete", OpExpire: "expire", OpReady: "ready"}

// Entry is a key at a revision.
type Entry struct {
	Key      string
	Value    []byte    // none of a delete, of expiry, and in lists of keys only
	Revision uint64    // of the bucket, see the package's text
	Created  time.Time // when this revision was written
	Expires  time.Time // when its time to live ends, zero: never
	Op       Op
}

// Query says what List returns. The zero value asks for the first keys of all.
type Query struct {
	Filter
	After      string // only keys behind this one, in the order asked for: Page.Next of the page before
	Limit      int    // entries, 1000 if 0, at most MaxPage
	Descending bool   // the last key first
	Values     bool   // whole entries; otherwise they have a key and nothing else
}

// Page is a part of a list.
type Page struct {
	Entries []Entry // as many as asked for; fewer, even none, where values are large or keys have gone
	Next    string  // After of the next page, empty if this was the last
}

// WatchOptions say what a watcher returns. The zero value asks for all changes from
// now on.
type WatchOptions struct {
	Filter

	// Initial has the watcher begin with the entries that are there, by their
	// revision, and one of OpReady, whose key is empty, when those are through.
	Initial bool

	// From has it begin with changes at this revision and later ones, as far as
	// the bucket has kept them: it keeps the latest values of a key, as many as its
	// History, and deletes and expiry for Stats.Markers. Initial and From exclude
	// each other: ErrInvalidQuery.
	From uint64

	// KeysOnly leaves values out.
	KeysOnly bool
}

// Watcher returns changes in the order of their revisions. Changes that were made
// before it was made, or before its beginning, are not among them. Of a key that changes more often than it
// is read, those that the bucket no longer keeps may be left out; the latest never is.
type Watcher interface {
	// Next waits for the next change. It returns the error of ctx, after which it may
	// be called again, and ErrClosed when the watcher was closed.
	Next(ctx context.Context) (Entry, error)

	// Close ends the watcher and whoever waits in Next. It may be called more than
	// once.
	Close() error
}

// Stats tell what a bucket holds and may hold.
type Stats struct {
	Keys     int64         // keys, with those of which only a delete or an expiry is kept
	Bytes    int64         // of storage
	MaxBytes int64         // of storage, 0: no limit
	MaxKeys  int64         // counted as Keys are, 0: no limit
	MaxValue int64         // bytes of a value
	History  int           // values kept of a key, 1 to 64
	TTL      time.Duration // of every write, 0: none
	Markers  time.Duration // how long a delete or an expiry is kept for watchers, 0: without end
}
