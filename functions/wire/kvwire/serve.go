package kvwire

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

// Serve answers a call of a worker from a bucket. ctx is that of the call; the body of the
// answer to a watch is read under it. The errors that it returns are those that are not of package kv, which
// an answer tells: an *[wire.Error] of code BadRequest for a call that is none, and the bucket's others.
func Serve(ctx context.Context, b kv.Bucket, h wire.Header, payload []byte) (*wire.Response, error) {
	r, err := serve(ctx, b, h, payload)
	if err == nil {
		return r, nil
	}
	return Fault(err)
}

// Fault returns the answer that tells an error of package kv, and any other error as it is.
func Fault(err error) (*wire.Response, error) {
	fault, text, ok := appendFault(nil, err)
	if !ok {
		return nil, err
	}
	return &wire.Response{Header: fault, Payload: text}, nil
}

// Gone reports whether an answer is that there is no such bucket.
func Gone(r *wire.Response) bool { return r.Header.Get(keyFault) == "no_bucket" }

func serve(ctx context.Context, b kv.Bucket, h wire.Header, payload []byte) (*wire.Response, error) {
	op := h.Get(wire.KeyOp)
	switch op {
	case "kv.get":
		return get(ctx, b, h)
	case "kv.put", "kv.delete", "kv.touch", "kv.add":
		return write(ctx, b, op, h, payload)
	case "kv.commit":
		return commit(ctx, b, payload)
	case "kv.history":
		list, err := b.History(ctx, h.Get(wire.KeyKey))
		return entries(list), err
	case "kv.list":
		return list(ctx, b, h)
	case "kv.count":
		n, err := b.Count(ctx, filterOf(h))
		return &wire.Response{Header: wire.Header(nil).AddInt(wire.KeyNumber, int64(n))}, err
	case "kv.watch":
		return watch(ctx, b, h)
	case "kv.stats":
		s, err := b.Stats(ctx)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(s)
		return &wire.Response{Payload: text}, err
	}
	return nil, wire.Errorf(wire.BadRequest, "this host does not know the operation %q: it may be older than the function's library", op)
}

func get(ctx context.Context, b kv.Bucket, h wire.Header) (*wire.Response, error) {
	e, err := b.Get(ctx, h.Get(wire.KeyKey))
	if err != nil {
		return nil, err
	}
	return &wire.Response{Header: addEntry(make(wire.Header, 0, 96), &e), Payload: e.Value}, nil
}

func write(ctx context.Context, b kv.Bucket, op string, h wire.Header, payload []byte) (*wire.Response, error) {
	c, err := change(kv.ActPut, h, payload)
	if err != nil {
		return nil, err
	}
	var revision uint64
	switch op {
	case "kv.put":
		revision, err = b.Put(ctx, c.Key, c.Value, options(&c)...)
	case "kv.delete":
		if flag(h, keyPurge) {
			c.Action = kv.ActPurge
		}
		err = b.Delete(ctx, c.Key, options(&c)...)
	case "kv.touch":
		revision, err = b.Touch(ctx, c.Key, c.TTL)
	case "kv.add":
		delta, ok := h.Int(wire.KeyNumber)
		if !ok {
			return nil, wire.Errorf(wire.BadRequest, "kv.add without a number")
		}
		sum, err := b.Add(ctx, c.Key, delta, options(&c)...)
		return &wire.Response{Header: wire.Header(nil).AddInt(wire.KeyNumber, sum)}, err
	}
	return &wire.Response{Header: addUint(nil, wire.KeyRevision, revision)}, err
}

func commit(ctx context.Context, b kv.Bucket, payload []byte) (*wire.Response, error) {
	changes, err := Changes(payload)
	if err != nil {
		return nil, err
	}
	revisions, err := b.Commit(ctx, changes...)
	if err != nil {
		return nil, err
	}
	var text []byte
	for i, revision := range revisions {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendUint(text, revision, 10)
	}
	return &wire.Response{Payload: text}, nil
}

func entries(list []kv.Entry) *wire.Response {
	var b []byte
	for i := range list {
		b = appendEntry(b, &list[i])
	}
	return &wire.Response{Payload: b}
}

func list(ctx context.Context, b kv.Bucket, h wire.Header) (*wire.Response, error) {
	limit, _ := h.Int(keyLimit)
	page, err := b.List(ctx, kv.Query{
		Filter: filterOf(h), After: h.Get(keyAfter), Limit: int(limit), Descending: flag(h, keyDescending), Values: flag(h, keyValues),
	})
	if err != nil {
		return nil, err
	}
	r := entries(page.Entries)
	r.Header = addText(r.Header, keyAfter, page.Next)
	return r, nil
}

func watch(ctx context.Context, b kv.Bucket, h wire.Header) (*wire.Response, error) {
	w, err := b.Watch(ctx, kv.WatchOptions{Filter: filterOf(h), Initial: flag(h, keyInitial), From: uintOf(h, keyFrom), KeysOnly: flag(h, keyKeys)})
	if err != nil {
		return nil, err
	}
	return &wire.Response{Body: &changes{ctx: ctx, w: w}}, nil
}

// changes is what a watcher returns, as the body of an answer.
type changes struct {
	ctx  context.Context
	w    kv.Watcher
	left []byte
	err  error
}

// Read implements io.Reader.
func (c *changes) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.next()
		if len(c.left) == 0 {
			return 0, c.err
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// next waits for the next change, and puts the end into words if that is one of
// package kv.
func (c *changes) next() {
	e, err := c.w.Next(c.ctx)
	if err == nil {
		c.left = appendEntry(c.left[:0], &e)
		return
	}
	c.err = err
	if fault, text, ok := appendFault(nil, err); ok {
		c.left = wire.AppendMessage(c.left[:0], fault, text)
	}
}

// Close implements io.Closer.
func (c *changes) Close() error { return c.w.Close() }
