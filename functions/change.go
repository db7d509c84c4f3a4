package functions

import (
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// entryOf returns the change of a key that has started the function, nil if something
// else did.
func entryOf(e *Event, h wire.Header, value []byte) *kv.Entry {
	key := h.Get(wire.KeyKey)
	if key == "" {
		return nil
	}
	entry := &kv.Entry{Key: key, Revision: e.Sequence, Created: e.Time}
	switch h.Get(wire.KeyChange) {
	case kv.OpDelete.String():
		entry.Op = kv.OpDelete
	case kv.OpExpire.String():
		entry.Op = kv.OpExpire
	default:
		entry.Value = value
	}
	if ns, ok := h.Int(wire.KeyExpires); ok {
		entry.Expires = time.Unix(0, ns)
	}
	return entry
}

// checkValue returns an error if a handler takes the value of a change that has none:
// nothing would tell it from an empty one. Trying again is of no use.
func checkValue(h wire.Header) error {
	change := h.Get(wire.KeyChange)
	if change == "" || change == kv.OpPut.String() {
		return nil
	}
	return Permanent(Errorf(BadRequest, "the %s of a key has no value, which the handler takes: let it take a functions.Event, or have the trigger be on: [put]", change))
}
