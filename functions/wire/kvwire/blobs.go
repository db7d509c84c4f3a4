package kvwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
)

const (
	keySize   = ":size"
	keyDigest = ":digest"
)

// Blobs is a [kv.Blobs] at the other side of a session. Make one with [NewBlobs]. It is
// safe for concurrent use.
type Blobs struct{ b *Bucket }

var _ kv.Blobs = Blobs{}

// NewBlobs returns the store of a name. base are headers of each of its calls.
func NewBlobs(name string, do Do, base wire.Header) Blobs { return Blobs{New(name, do, base)} }

// Name returns the store's name.
func (s Blobs) Name() string { return s.b.name }

// Put stores what it reads. If it fails, r may still be read once after it has returned.
func (s Blobs) Put(ctx context.Context, name string, r io.Reader) (kv.Blob, error) {
	if err := kv.ValidateBlob(name); err != nil {
		return kv.Blob{}, coded(err)
	}
	if err := ctx.Err(); err != nil {
		return kv.Blob{}, err
	}
	source := &source{ctx: ctx, r: r}
	defer source.close()
	answer, err := s.b.do(ctx, &wire.Request{Kind: wire.Call, Header: s.b.head("blob.put").Add(wire.KeyKey, name), Body: source})
	if err == nil {
		err = FaultOf(answer)
	} else if ctx.Err() == nil {
		err = wire.OfHost(fmt.Errorf("blobs %q: %w", s.b.name, err))
	}
	if own := source.failure(); own != nil {
		return kv.Blob{}, own
	}
	if err != nil {
		return kv.Blob{}, err
	}
	return blobOf(answer.Header), nil
}

// source is a reader that remembers its error, and ends when who reads from it should.
type source struct {
	ctx context.Context
	r   io.Reader

	mu     sync.Mutex
	err    error
	closed bool
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	n, err := s.r.Read(p)
	if err == io.EOF && s.ctx.Err() != nil { // the end would store it
		err = s.ctx.Err()
	}
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Get returns a blob and what reads it.
func (s Blobs) Get(ctx context.Context, name string) (kv.Blob, io.ReadCloser, error) {
	r, err := s.b.send(ctx, s.b.head("blob.get").Add(wire.KeyKey, name), nil)
	if err == nil {
		err = FaultOf(r)
	}
	if err != nil {
		return kv.Blob{}, nil, err
	}
	body := r.Body
	if body == nil {
		body = io.NopCloser(strings.NewReader(""))
	}
	return blobOf(r.Header), &content{Reader: io.MultiReader(bytes.NewReader(r.Payload), body), Closer: body}, nil
}

// content is that of a blob, with the errors of package kv.
type content struct {
	io.Reader
	io.Closer
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	var e *wire.Error
	if errors.As(err, &e) {
		if name, ok := strings.CutPrefix(string(e.Code), codePrefix); ok {
			err = faultNamed(name, e.Message)
		} else {
			err = wire.OfHost(err)
		}
	}
	return n, err
}

// Stat returns a blob without its content.
func (s Blobs) Stat(ctx context.Context, name string) (kv.Blob, error) {
	r, err := s.b.call(ctx, s.b.head("blob.stat").Add(wire.KeyKey, name), nil)
	if err != nil {
		return kv.Blob{}, err
	}
	return blobOf(r.Header), nil
}

// Delete removes a blob.
func (s Blobs) Delete(ctx context.Context, name string) error {
	_, err := s.b.call(ctx, s.b.head("blob.delete").Add(wire.KeyKey, name), nil)
	return err
}

// List returns a page of blobs.
func (s Blobs) List(ctx context.Context, query kv.BlobQuery) (kv.BlobPage, error) {
	if err := query.Validate(); err != nil {
		return kv.BlobPage{}, err
	}
	h := addText(addText(s.b.head("blob.list"), keyPrefix, query.Prefix), keyAfter, query.After)
	r, err := s.b.call(ctx, addUint(h, keyLimit, uint64(query.Limit)), nil)
	if err != nil {
		return kv.BlobPage{}, err
	}
	messages, err := wire.Messages(r.Payload)
	page := kv.BlobPage{Next: r.Header.Get(keyAfter)}
	for _, m := range messages {
		page.Blobs = append(page.Blobs, blobOf(m.Header))
	}
	return page, err
}
