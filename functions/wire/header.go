package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Header is an encoded header block: a run of fields, each a key and a value.
// The zero value is an empty one. It is read in place, without being decoded,
// and written by appending.
type Header []byte

// Add returns h with a field appended. A key that is empty or over 255 bytes,
// and a value over 65,535 bytes, are cut to those sizes: a sender checks what
// comes from outside with [Fits].
func (h Header) Add(key, value string) Header {
	if len(key) == 0 {
		return h
	}
	key = key[:min(len(key), 255)]
	value = value[:min(len(value), MaxHeader)]
	h = append(h, byte(len(key)))
	h = append(h, key...)
	h = binary.BigEndian.AppendUint16(h, uint16(len(value)))
	return append(h, value...)
}

// AddInt returns h with a field appended whose value is n in decimal.
func (h Header) AddInt(key string, n int64) Header {
	var digits [20]byte
	s := strconv.AppendInt(digits[:0], n, 10)
	h = append(h, byte(len(key)))
	h = append(h, key...)
	h = binary.BigEndian.AppendUint16(h, uint16(len(s)))
	return append(h, s...)
}

// Fits reports whether a field of key and value can be added to h.
func (h Header) Fits(key, value string) bool {
	return len(key) > 0 && len(key) <= 255 && len(h)+3+len(key)+len(value) <= MaxHeader
}

// All yields the fields in order. The strings are copies.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for len(h) > 0 {
			key, value, rest, ok := h.field()
			if !ok || !yield(string(key), string(value)) {
				return
			}
			h = rest
		}
	}
}

// Fields yields the fields in order, as parts of h that must not be changed.
func (h Header) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for len(h) > 0 {
			key, value, rest, ok := h.field()
			if !ok || !yield(key, value) {
				return
			}
			h = rest
		}
	}
}

// Get returns the first value of key, or "". Keys of the protocol (":…") are
// compared as they are, others without regard to case.
func (h Header) Get(key string) string {
	v, _ := h.Lookup(key)
	return v
}

// Lookup is [Header.Get] that tells an empty value from none.
func (h Header) Lookup(key string) (string, bool) {
	for len(h) > 0 {
		k, v, rest, ok := h.field()
		if !ok {
			break
		}
		if len(k) == len(key) && (string(k) == key || key[0] != ':' && strings.EqualFold(string(k), key)) {
			return string(v), true
		}
		h = rest
	}
	return "", false
}

// Int returns the first value of key as a whole number; ok is false if there is
// none or it is not one.
func (h Header) Int(key string) (n int64, ok bool) {
	s, found := h.Lookup(key)
	if !found {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// field splits the first field off h; ok is false if h does not begin with one.
func (h Header) field() (key, value []byte, rest Header, ok bool) {
	k := int(h[0])
	if k == 0 || len(h) < 1+k+2 {
		return nil, nil, nil, false
	}
	v := int(binary.BigEndian.Uint16(h[1+k:]))
	if len(h) < 1+k+2+v {
		return nil, nil, nil, false
	}
	return h[1 : 1+k], h[3+k : 3+k+v], h[3+k+v:], true
}

// check returns an error that wraps [ErrFrame] unless h is a run of whole fields.
func (h Header) check() error {
	for len(h) > 0 {
		_, _, rest, ok := h.field()
		if !ok {
			return fmt.Errorf("%w: header field cut short", ErrFrame)
		}
		h = rest
	}
	return nil
}
