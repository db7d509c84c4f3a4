package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger/codec"
)

// BlobStore is what there is to tell of a store of blobs. To make one, Description, Replicas and
// MaxBytes may be said.
type BlobStore struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Replicas    int       `json:"replicas,omitempty"`
	Bytes       int64     `json:"bytes"`              // of storage
	MaxBytes    int64     `json:"maxBytes,omitempty"` // none if 0
}

// Blob is what there is to tell of a blob.
type Blob struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"`   // bytes
	Digest  string    `json:"digest"` // SHA-256, in hexadecimal
	Created time.Time `json:"created"`
}

// BlobPage is a part of a list of blobs.
type BlobPage struct {
	Blobs []Blob `json:"blobs"`
	Next  string `json:"next,omitempty"` // after of the next part
}

// BlobKeeper is what the API needs of a host for blobs; the errors are as those of [BucketKeeper].
type BlobKeeper interface {
	BlobStores(ctx context.Context) ([]BlobStore, error)
	// CreateBlobs makes a store, or brings one to other settings.
	CreateBlobs(ctx context.Context, s BlobStore) error
	OpenBlobs(ctx context.Context, name string) (kv.Blobs, error)
	// DropBlobs removes a store and all that is in it.
	DropBlobs(ctx context.Context, name string) error
}

// Headers of an answer that is a blob.
const (
	blobSizeHeader   = "X-Blob-Size"
	blobDigestHeader = "X-Blob-Digest"
)

func (s *Server) blobRoutes() []route {
	one := reflect.TypeFor[Blob]()
	return []route{
		{pattern: "GET /v1/blobs", summary: "The stores of blobs of the functions' namespace, without the host's own", out: reflect.TypeFor[[]BlobStore](),
			handler: func(w http.ResponseWriter, r *http.Request) error {
				v, err := s.backend.BlobStores(r.Context())
				return replyOr(w, v, blobError("", err))
			}},
		{pattern: "PUT /v1/blobs/{store}", summary: "Make a store of blobs, or bring one to other settings", in: reflect.TypeFor[BlobStore](), handler: s.createBlobs},
		{pattern: "DELETE /v1/blobs/{store}", summary: "Remove a store of blobs, with all that is in it",
			handler: func(w http.ResponseWriter, r *http.Request) error {
				name := r.PathValue("store")
				return noContent(w, blobError(name, s.backend.DropBlobs(r.Context(), name)))
			}},
		{pattern: "GET /v1/blobs/{store}/blobs", summary: "Blobs by their names", query: []string{"prefix", "after", "limit"}, out: reflect.TypeFor[BlobPage](), handler: s.blobs},
		{pattern: "GET /v1/blobs/{store}/blobs/{name}", summary: "A blob, with the headers X-Blob-Size and X-Blob-Digest, its SHA-256; a / in a name is %2F", handler: s.getBlob},
		{pattern: "PUT /v1/blobs/{store}/blobs/{name}", summary: "Store a blob; it is there when all of it is", body: "*/*", out: one, handler: s.putBlob},
		{pattern: "DELETE /v1/blobs/{store}/blobs/{name}", summary: "Remove a blob", handler: s.deleteBlob},
	}
}

// blobError is bucketError for blobs.
func blobError(store string, err error) error {
	switch {
	case errors.Is(err, kv.ErrNoBucket):
		return wire.Errorf(wire.NotFound, "no blobs %q: `fnhost blob ls` shows what there is, `fnhost blob put %s NAME FILE` makes them", store, store)
	case errors.Is(err, kv.ErrNotFound):
		return wire.Errorf(wire.NotFound, "%v: `fnhost blob ls %s` lists what there is", err, store)
	case errors.Is(err, kv.ErrFull):
		return wire.Errorf(wire.Unprocessed, "%v: remove blobs", err)
	}
	return bucketError(store, err)
}

func (s *Server) createBlobs(w http.ResponseWriter, r *http.Request) error {
	var v BlobStore
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &v); err != nil {
		return wire.Errorf(wire.BadRequest, "the request: %v", err)
	}
	v.Name = r.PathValue("store")
	return noContent(w, blobError(v.Name, s.backend.CreateBlobs(r.Context(), v)))
}

// openedBlobs is the store that a request names.
func (s *Server) openedBlobs(r *http.Request) (kv.Blobs, string, error) {
	name := r.PathValue("store")
	b, err := s.backend.OpenBlobs(r.Context(), name)
	return b, r.PathValue("name"), blobError(name, err)
}

func (s *Server) blobs(w http.ResponseWriter, r *http.Request) error {
	b, _, err := s.openedBlobs(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	q := kv.BlobQuery{Prefix: v.Get("prefix"), After: v.Get("after")}
	if q.Limit, err = number(v, "limit", 1000, kv.MaxPage); err != nil {
		return err
	}
	page, err := b.List(r.Context(), q)
	shown := BlobPage{Blobs: []Blob{}, Next: page.Next}
	for _, one := range page.Blobs {
		shown.Blobs = append(shown.Blobs, Blob(one))
	}
	return replyOr(w, shown, blobError(b.Name(), err))
}

func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	b, name, err := s.openedBlobs(r)
	if err != nil {
		return err
	}
	about, content, err := b.Get(r.Context(), name)
	if err != nil {
		return blobError(b.Name(), err)
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set(blobSizeHeader, strconv.FormatInt(about.Size, 10))
	h.Set(blobDigestHeader, about.Digest)
	h.Set("Last-Modified", about.Created.UTC().Format(http.TimeFormat))
	if _, err := io.Copy(w, content); err != nil {
		s.log.Warn("a blob could not be read to its end", "blobs", b.Name(), "blob", name, "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	return nil
}

func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) error {
	b, name, err := s.openedBlobs(r)
	if err != nil {
		return err
	}
	about, err := b.Put(r.Context(), name, r.Body)
	return replyOr(w, Blob(about), blobError(b.Name(), err))
}

func (s *Server) deleteBlob(w http.ResponseWriter, r *http.Request) error {
	b, name, err := s.openedBlobs(r)
	if err != nil {
		return err
	}
	return noContent(w, blobError(b.Name(), b.Delete(r.Context(), name)))
}

// BlobStores returns the stores of blobs of the functions' namespace.
func (c *Client) BlobStores(ctx context.Context) ([]BlobStore, error) {
	var v []BlobStore
	return v, c.get(ctx, "/v1/blobs", &v)
}

// CreateBlobs makes a store of blobs, or brings one to other settings.
func (c *Client) CreateBlobs(ctx context.Context, s BlobStore) error {
	path, err := storePath(s.Name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPut, path, s, nil)
}

// DropBlobs removes a store of blobs, with all that is in it.
func (c *Client) DropBlobs(ctx context.Context, name string) error {
	path, err := storePath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path, nil, nil)
}

// Blobs returns a part of a list of blobs.
func (c *Client) Blobs(ctx context.Context, store string, q kv.BlobQuery) (BlobPage, error) {
	v := url.Values{"prefix": {q.Prefix}, "after": {q.After}}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page BlobPage
	path, err := storePath(store)
	if err != nil {
		return page, err
	}
	return page, c.get(ctx, path+"/blobs?"+v.Encode(), &page)
}

// storePath is bucketPath for a store of blobs.
func storePath(store string) (string, error) {
	return "/v1/blobs/" + url.PathEscape(store), blobError(store, kv.ValidateBucket(store))
}

// blobPath is keyPath for a blob.
func blobPath(store, name string) (string, error) {
	path, err := storePath(store)
	if err == nil {
		err = blobError(store, kv.ValidateBlob(name))
	}
	return path + "/blobs/" + url.PathEscape(name), err
}

// PutBlob stores what it reads. The error is of code NotFound if there is no such store.
func (c *Client) PutBlob(ctx context.Context, store, name string, r io.Reader) (Blob, error) {
	var v Blob
	path, err := blobPath(store, name)
	if err != nil {
		return v, err
	}
	resp, err := c.do(ctx, http.MethodPut, path, http.Header{"Content-Type": {"application/octet-stream"}}, r)
	if err != nil {
		return v, err
	}
	return v, decode(resp, &v)
}

// GetBlob writes a blob to w. An error may come after all was written: it is not what was stored then.
func (c *Client) GetBlob(ctx context.Context, store, name string, w io.Writer) error {
	path, err := blobPath(store, name)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), resp.Body); err != nil {
		return fmt.Errorf("blob %q: it broke off: %w", name, err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != resp.Header.Get(blobDigestHeader) {
		return fmt.Errorf("blob %q: %w", name, kv.ErrDamaged)
	}
	return nil
}

// DeleteBlob removes a blob.
func (c *Client) DeleteBlob(ctx context.Context, store, name string) error {
	path, err := blobPath(store, name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path, nil, nil)
}
