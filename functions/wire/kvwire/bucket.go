package kvwire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Do asks the host, as [wire.Session.Do] does.
type Do func(ctx context.Context, req *wire.Request) (*wire.Response, error)

// Bucket is a [kv.Bucket] at the other side of a session. Make one with [New]. It is
// safe for concurrent use.
type Bucket struct {
	name string
	do   Do
	base wire.Header // of each call
}

var _ kv.Bucket = (*Bucket)(nil)

// New returns the bucket of a name. base are headers of each of its calls.
func New(name string, do Do, base wire.Header) *Bucket {
	return &Bucket{name: name, do: do, base: base}
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// head returns the headers of a call.
func (b *Bucket) head(op string) wire.Header {
	h := make(wire.Header, 0, len(b.base)+len(op)+len(b.name)+96)
	return append(h.Add(wire.KeyOp, op).Add(wire.KeyTarget, b.name), b.base...)
}

// call asks the host and returns the whole of its answer.
func (b *Bucket) call(ctx context.Context, h wire.Header, payload []byte) (*wire.Response, error) {
	r, err := b.send(ctx, h, payload)
	if err == nil && r.Body != nil {
		var rest []byte
		rest, err = io.ReadAll(r.Body)
		r.Body.Close()
		err = wire.OfHost(err)
		r.Payload = append(r.Payload[:len(r.Payload):len(r.Payload)], rest...)
	}
	if err == nil {
		err = faultOf(r.Header, r.Payload)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (b *Bucket) send(ctx context.Context, h wire.Header, payload []byte) (*wire.Response, error) {
	if len(h) > wire.MaxHeader {
		return nil, coded(fmt.Errorf("%w: it has more than %d bytes", kv.ErrInvalidKey, kv.MaxKey))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := b.do(ctx, &wire.Request{Kind: wire.Call, Header: h, Payload: payload})
	if err != nil && ctx.Err() == nil {
		err = wire.OfHost(fmt.Errorf("bucket %q: %w", b.name, err))
	}
	return r, err
}

// Get returns the key's entry.
func (b *Bucket) Get(ctx context.Context, key string) (kv.Entry, error) {
	r, err := b.call(ctx, b.head("kv.get").Add(wire.KeyKey, key), nil)
	if err != nil {
		return kv.Entry{}, err
	}
	e, err := entryOf(r.Header, r.Payload, true)
	e.Key = key
	return e, err
}

// Put writes a value.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	c := kv.Put(key, value, options...)
	return b.write(ctx, "kv.put", &c)
}

// write does one change and returns the revision.
func (b *Bucket) write(ctx context.Context, op string, c *kv.Change) (uint64, error) {
	r, err := b.call(ctx, addChange(b.head(op), c), c.Value)
	if err != nil {
		return 0, err
	}
	return uintOf(r.Header, wire.KeyRevision), nil
}

// Delete removes a key.
func (b *Bucket) Delete(ctx context.Context, key string, options ...kv.Option) error {
	c := kv.Delete(key, options...)
	_, err := b.call(ctx, addFlag(addChange(b.head("kv.delete"), &c), keyPurge, c.Action == kv.ActPurge), nil)
	return err
}

// Touch gives a key a new time to live.
func (b *Bucket) Touch(ctx context.Context, key string, ttl time.Duration) (uint64, error) {
	return b.write(ctx, "kv.touch", &kv.Change{Key: key, TTL: ttl})
}

// Add adds to the number that a key holds.
func (b *Bucket) Add(ctx context.Context, key string, delta int64, options ...kv.Option) (int64, error) {
	c := kv.Put(key, nil, options...)
	c.If = false
	r, err := b.call(ctx, addChange(b.head("kv.add"), &c).AddInt(wire.KeyNumber, delta), nil)
	if err != nil {
		return 0, err
	}
	sum, _ := r.Header.Int(wire.KeyNumber)
	return sum, nil
}

// Commit makes all changes or none.
func (b *Bucket) Commit(ctx context.Context, changes ...kv.Change) ([]uint64, error) {
	payload, err := appendChanges(changes)
	if err != nil {
		return nil, err
	}
	r, err := b.call(ctx, b.head("kv.commit"), payload)
	if err != nil {
		return nil, err
	}
	var revisions []uint64
	for text := range strings.FieldsSeq(string(r.Payload)) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("kv: the host's answer: %w", err)
		}
		revisions = append(revisions, n)
	}
	return revisions, nil
}

// History returns what the bucket has kept of a key.
func (b *Bucket) History(ctx context.Context, key string) ([]kv.Entry, error) {
	r, err := b.call(ctx, b.head("kv.history").Add(wire.KeyKey, key), nil)
	if err != nil {
		return nil, err
	}
	return entriesOf(r.Payload, true)
}

// List returns a page of keys.
func (b *Bucket) List(ctx context.Context, query kv.Query) (kv.Page, error) {
	if err := query.Validate(); err != nil {
		return kv.Page{}, err
	}
	h := addText(addFilter(b.head("kv.list"), query.Filter), keyAfter, query.After)
	h = addUint(h, keyLimit, uint64(query.Limit))
	r, err := b.call(ctx, addFlag(addFlag(h, keyDescending, query.Descending), keyValues, query.Values), nil)
	if err != nil {
		return kv.Page{}, err
	}
	list, err := entriesOf(r.Payload, query.Values)
	return kv.Page{Entries: list, Next: r.Header.Get(keyAfter)}, err
}

// Count returns how many keys there are.
func (b *Bucket) Count(ctx context.Context, filter kv.Filter) (int, error) {
	if err := filter.Validate(); err != nil {
		return 0, err
	}
	r, err := b.call(ctx, addFilter(b.head("kv.count"), filter), nil)
	if err != nil {
		return 0, err
	}
	n, _ := r.Header.Int(wire.KeyNumber)
	return int(n), nil
}

// Stats returns what the bucket holds and may hold.
func (b *Bucket) Stats(ctx context.Context) (kv.Stats, error) {
	var s kv.Stats
	r, err := b.call(ctx, b.head("kv.stats"), nil)
	if err == nil {
		err = json.Unmarshal(r.Payload, &s)
	}
	return s, err
}
