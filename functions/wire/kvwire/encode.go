package kvwire

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

const (
	keyTTL        = ":ttl"
	keyPurge      = ":purge"
	keyKind       = ":kind"
	keyPrefix     = ":prefix"
	keySuffix     = ":suffix"
	keyGlob       = ":glob"
	keyAfter      = ":after"
	keyLimit      = ":limit"
	keyDescending = ":descending"
	keyValues     = ":values"
	keyInitial    = ":initial"
	keyFrom       = ":from"
	keyKeys       = ":keys"
)

func addUint(h wire.Header, key string, n uint64) wire.Header {
	if n == 0 {
		return h
	}
	return h.Add(key, strconv.FormatUint(n, 10))
}

func uintOf(h wire.Header, key string) uint64 {
	n, _ := strconv.ParseUint(h.Get(key), 10, 64)
	return n
}

func addText(h wire.Header, key, text string) wire.Header {
	if text == "" {
		return h
	}
	return h.Add(key, text)
}

func addFlag(h wire.Header, key string, on bool) wire.Header {
	if on {
		return h.Add(key, "1")
	}
	return h
}

func flag(h wire.Header, key string) bool { return h.Get(key) == "1" }

// addChange adds what a change says, but for its action and its value.
func addChange(h wire.Header, c *kv.Change) wire.Header {
	h = h.Add(wire.KeyKey, c.Key)
	if c.TTL != 0 {
		h = h.AddInt(keyTTL, int64(c.TTL))
	}
	if c.Action == kv.ActAdd {
		h = h.AddInt(wire.KeyNumber, c.Delta)
	}
	if c.If {
		h = h.Add(wire.KeyRevision, strconv.FormatUint(c.Revision, 10))
	}
	return h
}

// change returns the change that headers describe.
func change(action kv.Action, h wire.Header, value []byte) (kv.Change, error) {
	c := kv.Change{Action: action, Value: value}
	for key, v := range h.Fields() {
		var err error
		switch string(key) {
		case wire.KeyKey:
			c.Key = string(v)
		case keyTTL:
			var ns int64
			ns, err = strconv.ParseInt(string(v), 10, 64)
			c.TTL = time.Duration(ns)
		case wire.KeyNumber:
			c.Delta, err = strconv.ParseInt(string(v), 10, 64)
		case wire.KeyRevision:
			c.If = true
			c.Revision, err = strconv.ParseUint(string(v), 10, 64)
		}
		if err != nil {
			return c, wire.Errorf(wire.BadRequest, "%s %q is not a number", key, v)
		}
	}
	return c, nil
}

// options returns what a change says beside key and value.
func options(c *kv.Change) []kv.Option {
	if c.TTL == 0 && !c.If && c.Action != kv.ActPurge {
		return nil
	}
	return []kv.Option{func(o *kv.Change) {
		o.TTL, o.If, o.Revision = c.TTL, c.If, c.Revision
		if c.Action == kv.ActPurge {
			kv.Purge()(o)
		}
	}}
}

// actions are the changes of a commit, by their kv.Action.
var actions = [...]string{kv.ActPut: "put", kv.ActDelete: "delete", kv.ActPurge: "purge", kv.ActCheck: "check", kv.ActAdd: "add"}

func appendChanges(changes []kv.Change) ([]byte, error) {
	var b []byte
	for i := range changes {
		c := &changes[i]
		if int(c.Action) >= len(actions) || len(c.Key) > kv.MaxKey {
			return nil, coded(c.Validate())
		}
		b = wire.AppendMessage(b, addChange(wire.Header(nil).Add(wire.KeyOp, actions[c.Action]), c), c.Value)
	}
	return b, nil
}

// Changes returns the changes of a commit, from its payload. It returns an *[wire.Error] of code
// BadRequest for what is none.
func Changes(b []byte) ([]kv.Change, error) {
	messages, err := wire.Messages(b)
	if err != nil {
		return nil, wire.Errorf(wire.BadRequest, "%v", err)
	}
	changes := make([]kv.Change, len(messages))
	for i, m := range messages {
		action := kv.Action(len(actions))
		for a, name := range actions {
			if name == m.Header.Get(wire.KeyOp) {
				action = kv.Action(a)
			}
		}
		if int(action) == len(actions) {
			return nil, wire.Errorf(wire.BadRequest, "a commit has no change %q", m.Header.Get(wire.KeyOp))
		}
		if changes[i], err = change(action, m.Header, m.Payload); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// addEntry adds what is known of an entry, but for its key and value.
func addEntry(h wire.Header, e *kv.Entry) wire.Header {
	h = addUint(h, wire.KeyRevision, e.Revision)
	if !e.Created.IsZero() {
		h = h.AddInt(wire.KeyTime, e.Created.UnixNano())
	}
	if !e.Expires.IsZero() {
		h = h.AddInt(wire.KeyExpires, e.Expires.UnixNano())
	}
	if e.Op != kv.OpPut {
		h = h.Add(keyKind, e.Op.String())
	}
	return h
}

func appendEntry(b []byte, e *kv.Entry) []byte {
	return wire.AppendMessage(b, addEntry(addText(nil, wire.KeyKey, e.Key), e), e.Value)
}

// entryOf returns the entry that headers describe. The payload becomes its value, if
// values were asked for.
func entryOf(h wire.Header, payload []byte, values bool) (e kv.Entry, err error) {
	for key, v := range h.Fields() {
		var ns int64
		switch string(key) {
		case wire.KeyKey:
			e.Key = string(v)
		case wire.KeyRevision:
			e.Revision, err = strconv.ParseUint(string(v), 10, 64)
		case wire.KeyTime:
			ns, err = strconv.ParseInt(string(v), 10, 64)
			e.Created = time.Unix(0, ns)
		case wire.KeyExpires:
			ns, err = strconv.ParseInt(string(v), 10, 64)
			e.Expires = time.Unix(0, ns)
		case keyKind:
			e.Op = opOf(string(v))
		}
		if err != nil {
			return e, fmt.Errorf("kv: the host's answer: %w", err)
		}
	}
	if values && e.Op == kv.OpPut {
		e.Value = payload
		if payload == nil {
			e.Value = []byte{}
		}
	}
	return e, nil
}

func opOf(name string) kv.Op {
	for o := kv.OpPut; o <= kv.OpReady; o++ {
		if o.String() == name {
			return o
		}
	}
	return kv.OpPut
}

func entriesOf(b []byte, values bool) ([]kv.Entry, error) {
	messages, err := wire.Messages(b)
	if err != nil {
		return nil, err
	}
	list := make([]kv.Entry, len(messages))
	for i, m := range messages {
		if list[i], err = entryOf(m.Header, m.Payload, values); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func addFilter(h wire.Header, f kv.Filter) wire.Header {
	return addText(addText(addText(h, keyPrefix, f.Prefix), keySuffix, f.Suffix), keyGlob, f.Glob)
}

func filterOf(h wire.Header) kv.Filter {
	return kv.Filter{Prefix: h.Get(keyPrefix), Suffix: h.Get(keySuffix), Glob: h.Get(keyGlob)}
}
