package kvwire

import (
	"context"
	"io"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

func addBlob(h wire.Header, b *kv.Blob) wire.Header {
	h = addText(h.Add(wire.KeyKey, b.Name).AddInt(keySize, b.Size), keyDigest, b.Digest)
	if b.Created.IsZero() {
		return h
	}
	return h.AddInt(wire.KeyTime, b.Created.UnixNano())
}

func blobOf(h wire.Header) kv.Blob {
	b := kv.Blob{Name: h.Get(wire.KeyKey), Digest: h.Get(keyDigest)}
	b.Size, _ = h.Int(keySize)
	if ns, ok := h.Int(wire.KeyTime); ok {
		b.Created = time.Unix(0, ns)
	}
	return b
}

// ServeBlobs answers a call of a worker from a store of blobs, as [Serve] does from a
// bucket. body is all that the worker sends.
func ServeBlobs(ctx context.Context, s kv.Blobs, h wire.Header, body io.Reader) (*wire.Response, error) {
	r, err := serveBlobs(ctx, s, h, body)
	if err == nil {
		return r, nil
	}
	return Fault(err)
}

func serveBlobs(ctx context.Context, s kv.Blobs, h wire.Header, body io.Reader) (*wire.Response, error) {
	name := h.Get(wire.KeyKey)
	switch op := h.Get(wire.KeyOp); op {
	case "blob.put":
		b, err := s.Put(ctx, name, body)
		return &wire.Response{Header: addBlob(nil, &b)}, err
	case "blob.get":
		b, content, err := s.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		return &wire.Response{Header: addBlob(nil, &b), Body: faultyBody{content}}, nil
	case "blob.stat":
		b, err := s.Stat(ctx, name)
		return &wire.Response{Header: addBlob(nil, &b)}, err
	case "blob.delete":
		return &wire.Response{}, s.Delete(ctx, name)
	case "blob.list":
		limit, _ := h.Int(keyLimit)
		page, err := s.List(ctx, kv.BlobQuery{Prefix: h.Get(keyPrefix), After: h.Get(keyAfter), Limit: int(limit)})
		if err != nil {
			return nil, err
		}
		r := &wire.Response{Header: addText(nil, keyAfter, page.Next)}
		for i := range page.Blobs {
			r.Payload = wire.AppendMessage(r.Payload, addBlob(nil, &page.Blobs[i]), nil)
		}
		return r, nil
	default:
		return nil, wire.Errorf(wire.BadRequest, "this host does not know the operation %q: it may be older than the function's library", op)
	}
}

// faultyBody is the body of an answer, whose error is one that crosses the wire.
type faultyBody struct{ io.ReadCloser }

func (b faultyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		if name := faultName(err); name != "" {
			err = &wire.Error{Code: codePrefix + wire.Code(name), Message: err.Error()}
		}
	}
	return n, err
}
