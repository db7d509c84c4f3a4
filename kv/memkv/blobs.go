package memkv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

// Blobs is a [kv.Blobs] in memory. It is safe for concurrent use. Who reads a blob has it whole,
// whatever happens to it meanwhile.
type Blobs struct {
	name string
	mu   sync.Mutex
	all  map[string]blob
}

type blob struct {
	kv.Blob
	content []byte // never changed
}

var _ kv.Blobs = (*Blobs)(nil)

// NewBlobs makes an empty store. It returns kv.ErrInvalidBucket.
func NewBlobs(name string) (*Blobs, error) {
	if err := kv.ValidateBucket(name); err != nil {
		return nil, err
	}
	return &Blobs{name: name, all: make(map[string]blob)}, nil
}

// Name returns the store's name.
func (s *Blobs) Name() string { return s.name }

// Put stores a blob.
func (s *Blobs) Put(ctx context.Context, name string, r io.Reader) (kv.Blob, error) {
	if err := kv.ValidateBlob(name); err != nil {
		return kv.Blob{}, err
	}
	var content bytes.Buffer
	if _, err := content.ReadFrom(r); err != nil {
		return kv.Blob{}, fmt.Errorf("blob %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return kv.Blob{}, err
	}
	sum := sha256.Sum256(content.Bytes())
	b := blob{kv.Blob{Name: name, Size: int64(content.Len()), Digest: hex.EncodeToString(sum[:]), Created: time.Now()}, content.Bytes()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = b
	return b.Blob, nil
}

func (s *Blobs) get(ctx context.Context, name string) (blob, error) {
	if err := kv.ValidateBlob(name); err != nil {
		return blob{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.all[name]
	if !ok {
		return blob{}, fmt.Errorf("%w: blob %q in store %q", kv.ErrNotFound, name, s.name)
	}
	return b, nil
}

// Get returns a blob and what reads it.
func (s *Blobs) Get(ctx context.Context, name string) (kv.Blob, io.ReadCloser, error) {
	b, err := s.get(ctx, name)
	if err != nil {
		return kv.Blob{}, nil, err
	}
	return b.Blob, io.NopCloser(bytes.NewReader(b.content)), nil
}

// Stat returns a blob without its content.
func (s *Blobs) Stat(ctx context.Context, name string) (kv.Blob, error) {
	b, err := s.get(ctx, name)
	return b.Blob, err
}

// Delete removes a blob.
func (s *Blobs) Delete(ctx context.Context, name string) error {
	if err := kv.ValidateBlob(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
	return nil
}

// List returns a page of blobs.
func (s *Blobs) List(ctx context.Context, query kv.BlobQuery) (kv.BlobPage, error) {
	if err := query.Validate(); err != nil {
		return kv.BlobPage{}, err
	}
	if err := ctx.Err(); err != nil {
		return kv.BlobPage{}, err
	}
	limit := query.Limit
	if limit == 0 {
		limit = 1000
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var page kv.BlobPage
	for name, b := range s.all {
		if strings.HasPrefix(name, query.Prefix) && name > query.After {
			page.Blobs = append(page.Blobs, b.Blob)
		}
	}
	slices.SortFunc(page.Blobs, func(a, b kv.Blob) int { return strings.Compare(a.Name, b.Name) })
	if len(page.Blobs) > limit {
		page.Blobs = page.Blobs[:limit]
		page.Next = page.Blobs[limit-1].Name
	}
	return page, nil
}
