package kvwire

import (
	"errors"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

const (
	keyFault  = ":fault"
	keyWanted = ":wanted"
)

// faults are the errors of package kv, and their names.
var faults = []struct {
	name string
	err  error
	code wire.Code // of a function that returns it, "" for one of its own mistakes
}{
	{"not_found", kv.ErrNotFound, wire.NotFound},
	{"invalid_key", kv.ErrInvalidKey, wire.BadRequest},
	{"invalid_bucket", kv.ErrInvalidBucket, ""},
	{"invalid_query", kv.ErrInvalidQuery, ""},
	{"no_bucket", kv.ErrNoBucket, ""},
	{"too_large", kv.ErrTooLarge, wire.TooLarge},
	{"full", kv.ErrFull, wire.Unavailable},
	{"ttl", kv.ErrTTL, ""},
	{"not_number", kv.ErrNotNumber, ""},
	{"closed", kv.ErrClosed, ""},
	{"damaged", kv.ErrDamaged, ""},
	{"replaced", kv.ErrReplaced, ""},
	{"unsupported", errors.ErrUnsupported, ""},
}

// fault is an error of package kv, with the text that the host has given it.
type fault struct {
	err  error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// appendFault returns what tells an error of package kv, and nothing for any other.
func appendFault(h wire.Header, err error) (wire.Header, []byte, bool) {
	var c *kv.ConflictError
	if errors.As(err, &c) {
		name := "conflict"
		if c.Wanted == 0 {
			name = "exists"
		}
		h = addUint(h.Add(keyFault, name).Add(wire.KeyKey, c.Key), keyWanted, c.Wanted)
		return addUint(h, wire.KeyRevision, c.Current), []byte(err.Error()), true
	}
	if name := faultName(err); name != "" {
		return h.Add(keyFault, name), []byte(err.Error()), true
	}
	return h, nil, false
}

// faultName returns the name of an error of package kv, "" for others.
func faultName(err error) string {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f.name
		}
	}
	return ""
}

// codePrefix is that of the code of an error which ends a blob, before the fault's name.
const codePrefix = "kv."

// FaultOf returns the error of package kv that an answer tells, nil for none.
func FaultOf(r *wire.Response) error { return faultOf(r.Header, r.Payload) }

// faultOf returns the error that an answer tells, nil for none.
func faultOf(h wire.Header, text []byte) error {
	name := h.Get(keyFault)
	switch name {
	case "":
		return nil
	case "conflict", "exists":
		c := &kv.ConflictError{Key: h.Get(wire.KeyKey), Wanted: uintOf(h, keyWanted), Current: uintOf(h, wire.KeyRevision)}
		return wire.Coded(c, wire.Conflict)
	}
	return faultNamed(name, string(text))
}

func faultNamed(name, text string) error {
	for _, f := range faults {
		if f.name == name {
			return coded(&fault{f.err, text})
		}
	}
	return errors.New(text)
}

// coded gives an error of package kv the code that it has if a function returns it.
func coded(err error) error {
	for _, f := range faults {
		if f.code != "" && errors.Is(err, f.err) {
			return wire.Coded(err, f.code)
		}
	}
	return err
}
