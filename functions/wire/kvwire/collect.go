package kvwire

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Changing reports whether a call, by its operation, changes a bucket.
func Changing(op string) bool {
	return slices.Contains([]string{"kv.put", "kv.delete", "kv.touch", "kv.add", "kv.commit"}, op)
}

// Collect returns the changes that a call would make, as a part of the payload of
// a commit to come, and the answer to who calls now: revisions, which nobody knows yet, are 0.
// What a call needs to know of the key it asks by do; a kv.touch then has the condition that this has not
// become wrong, and the sum that a kv.add returns is what it would be now.
func Collect(ctx context.Context, do Do, req *wire.Request) (changes []byte, r *wire.Response, err error) {
	h := req.Header
	r = &wire.Response{}
	switch op := h.Get(wire.KeyOp); op {
	case "kv.commit":
		list, err := Changes(req.Payload)
		for range list {
			r.Payload = append(r.Payload, "0 "...)
		}
		return req.Payload, r, err
	case "kv.put", "kv.delete":
		c, err := change(kv.ActPut, h, req.Payload)
		if op == "kv.delete" {
			c.Action = kv.ActDelete
			if flag(h, keyPurge) {
				c.Action = kv.ActPurge
			}
		}
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			return faulty(err)
		}
		changes, err = appendChanges([]kv.Change{c})
		return changes, r, err
	}
	c, answer, err := modified(ctx, New(h.Get(wire.KeyTarget), do, nil), h)
	if err != nil {
		return faulty(err)
	}
	changes, err = appendChanges([]kv.Change{c})
	return changes, answer, err
}

func faulty(err error) ([]byte, *wire.Response, error) {
	r, err := Fault(err)
	return nil, r, err
}

// modified returns the change of a call that depends on what its key holds.
func modified(ctx context.Context, b *Bucket, h wire.Header) (kv.Change, *wire.Response, error) {
	c, err := change(kv.ActPut, h, nil)
	if err != nil {
		return c, nil, err
	}
	e, err := b.Get(ctx, c.Key)
	delta, adds := h.Int(wire.KeyNumber)
	if errors.Is(err, kv.ErrNotFound) && adds {
		e, err = kv.Entry{Value: []byte("0")}, nil
	}
	if err != nil {
		return c, nil, err
	}
	r := &wire.Response{}
	if !adds {
		c.If, c.Revision, c.Value = true, e.Revision, e.Value
	} else {
		n, err := strconv.ParseInt(string(e.Value), 10, 64)
		if err != nil || delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
			return c, nil, kv.ErrNotNumber
		}
		c = kv.Add(c.Key, delta, kv.TTL(c.TTL))
		r.Header = r.Header.AddInt(wire.KeyNumber, n+delta)
	}
	return c, r, c.Validate()
}
