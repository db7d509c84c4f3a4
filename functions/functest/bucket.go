package functest

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/memkv"
)

// Bucket returns the bucket that functions.KV reaches by this name, to fill it before and
// to look into it after. It is in memory, has a history of 1, and is made when it is first asked for. It panics
// for what is not a name of a bucket.
func (h *Host) Bucket(name string) kv.Bucket {
	b, err := h.bucket(name)
	if err != nil {
		panic(err)
	}
	return b
}

func (h *Host) bucket(name string) (*memkv.Bucket, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.buckets[name]; b != nil {
		return b, nil
	}
	b, err := memkv.New(memkv.Config{Bucket: name})
	if err != nil {
		return nil, err
	}
	if h.buckets == nil {
		h.buckets = make(map[string]*memkv.Bucket)
	}
	h.buckets[name] = b
	return b, nil
}

// Blobs is [Host.Bucket] for the stores of functions.Blobs.
func (h *Host) Blobs(name string) kv.Blobs {
	s, err := h.store(name)
	if err != nil {
		panic(err)
	}
	return s
}

func (h *Host) store(name string) (*memkv.Blobs, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.blobs[name]; s != nil {
		return s, nil
	}
	s, err := memkv.NewBlobs(name)
	if err != nil {
		return nil, err
	}
	if h.blobs == nil {
		h.blobs = make(map[string]*memkv.Blobs)
	}
	h.blobs[name] = s
	return s, nil
}

// blob answers an operation on a store of blobs.
func (r runtime) blob(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	s, err := r.h.store(req.Header.Get(wire.KeyTarget))
	if err != nil {
		return kvwire.Fault(err)
	}
	var body io.Reader = bytes.NewReader(req.Payload)
	if req.Body != nil {
		body = io.MultiReader(body, req.Body)
	}
	return kvwire.ServeBlobs(ctx, s, req.Header, body)
}

// kv answers an operation on a bucket.
func (r runtime) kv(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	b, err := r.h.bucket(req.Header.Get(wire.KeyTarget))
	if err != nil {
		return kvwire.Fault(err)
	}
	return kvwire.Serve(ctx, b, req.Header, req.Payload)
}

// commitKey names a use of functions.Atomically as the host does: "" where it is another
// one each time.
func (r runtime) commitKey(h wire.Header) string {
	stream, sequence := h.Get(wire.KeyStream), h.Get(wire.KeySequence)
	if stream == "" || sequence == "" {
		return ""
	}
	return strings.Join([]string{r.name, h.Get(wire.KeyEndpoint), stream, sequence, h.Get(wire.KeyNumber)}, " ")
}

// isCommitted answers whether that has had its effect.
func (r runtime) isCommitted(h wire.Header) *wire.Response {
	r.h.committing.Lock()
	defer r.h.committing.Unlock()
	if r.h.committed[r.commitKey(h)] {
		return &wire.Response{Payload: []byte("yes")}
	}
	return &wire.Response{Payload: []byte("no")}
}

// commitOnce does what was done atomically, unless that was done before.
func (r runtime) commitOnce(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	r.h.committing.Lock()
	defer r.h.committing.Unlock()
	key := r.commitKey(req.Header)
	if r.h.committed[key] {
		return &wire.Response{}, nil
	}
	answer, err := r.commit(ctx, req.Payload)
	if err != nil || kvwire.FaultOf(answer) != nil || key == "" {
		return answer, err
	}
	if r.h.committed == nil {
		r.h.committed = make(map[string]bool)
	}
	r.h.committed[key] = true
	return answer, nil
}

// commit does what was done atomically: first what may be refused.
func (r runtime) commit(ctx context.Context, payload []byte) (*wire.Response, error) {
	effects, err := wire.Messages(payload)
	if err != nil {
		return nil, err
	}
	for _, m := range effects {
		if m.Header.Get(wire.KeyOp) != "kv.commit" {
			continue
		}
		answer, err := r.kv(ctx, &wire.Request{Header: m.Header, Payload: m.Payload})
		if err != nil || kvwire.FaultOf(answer) != nil {
			return answer, err
		}
	}
	for _, m := range effects {
		if m.Header.Get(wire.KeyOp) == "publish" {
			r.publish(m.Header, m.Payload)
		}
	}
	return &wire.Response{}, nil
}
