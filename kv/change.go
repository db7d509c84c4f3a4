package kv

import (
	"fmt"
	"time"
)

// Action is what a [Change] does.
type Action uint8

const (
	ActPut Action = iota
	ActDelete
	ActPurge
	ActCheck
	ActAdd
)

// Change is one part of a [Bucket.Commit]. [Put], [Delete], [Add] and [Check] make them.
type Change struct {
	Action   Action
	Key      string
	Value    []byte        // of ActPut
	Delta    int64         // of ActAdd
	TTL      time.Duration // of ActPut and ActAdd, 0: none
	If       bool          // only if the key stands at Revision
	Revision uint64        // 0: it is not there
}

// Option is a condition or a detail of a write.
type Option func(*Change)

// Put returns the change that writes a value. Options: [TTL], [IfAbsent], [IfRevision].
func Put(key string, value []byte, options ...Option) Change {
	return with(Change{Action: ActPut, Key: key, Value: value}, options)
}

// Delete returns the change that removes a key. Options: [IfRevision], [Purge].
func Delete(key string, options ...Option) Change {
	return with(Change{Action: ActDelete, Key: key}, options)
}

// Add returns the change that adds to the number that a key holds, as [Bucket] Add does:
// whoever else adds at the time is no conflict. Option: [TTL].
func Add(key string, delta int64, options ...Option) Change {
	c := with(Change{Action: ActAdd, Key: key, Delta: delta}, options)
	c.If, c.Revision = false, 0
	return c
}

// Check returns the change that is none, but whose key must stand at the revision;
// 0 means that it must not be there.
func Check(key string, revision uint64) Change {
	return Change{Action: ActCheck, Key: key, If: true, Revision: revision}
}

func with(c Change, options []Option) Change {
	for _, o := range options {
		o(&c)
	}
	return c
}

// TTL has the key expire after d, whole seconds from 1 s on. 0 is none: the key stays for
// ever, as without the option. What is left of something, and may be 0, is looked at first.
func TTL(d time.Duration) Option {
	return func(c *Change) { c.TTL = d }
}

// IfAbsent has a write happen only if the key is not there.
func IfAbsent() Option { return IfRevision(0) }

// IfRevision has a write happen only if the key stands at the revision; 0 is IfAbsent.
func IfRevision(revision uint64) Option {
	return func(c *Change) { c.If, c.Revision = true, revision }
}

// Purge has a delete forget the key's history too.
func Purge() Option {
	return func(c *Change) {
		if c.Action == ActDelete {
			c.Action = ActPurge
		}
	}
}

// Validate returns ErrInvalidKey or ErrTTL for a change that no bucket takes.
func (c *Change) Validate() error {
	if err := ValidateKey(c.Key); err != nil {
		return err
	}
	if c.TTL != 0 && c.Action != ActPut && c.Action != ActAdd {
		return fmt.Errorf("%w: key %q: only a value has one", ErrTTL, c.Key)
	}
	return ValidateTTL(c.TTL)
}

// ValidateTTL returns ErrTTL for what is neither 0 nor whole seconds from 1 s on.
func ValidateTTL(d time.Duration) error {
	if d < 0 || d%time.Second != 0 {
		return fmt.Errorf("%w: %v is not", ErrTTL, d)
	}
	return nil
}

// ValidateChanges returns what is wrong with changes as a Commit: ErrInvalidKey (of
// one key twice, too), ErrTTL, or ErrTooLarge for too many.
func ValidateChanges(changes []Change) error {
	if len(changes) > MaxChanges {
		return fmt.Errorf("%w: %d changes in one commit, at most %d", ErrTooLarge, len(changes), MaxChanges)
	}
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		if err := c.Validate(); err != nil {
			return err
		}
		if seen[c.Key] {
			return fmt.Errorf("%w: %q comes twice in one commit", ErrInvalidKey, c.Key)
		}
		seen[c.Key] = true
	}
	return nil
}
