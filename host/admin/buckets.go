package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Bucket is what there is to tell of a bucket.
type Bucket struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Keys        int64     `json:"keys"`               // with those of which only a delete or an expiry is kept
	MaxKeys     int64     `json:"maxKeys,omitempty"`  // none if 0
	Bytes       int64     `json:"bytes"`              // of storage
	MaxBytes    int64     `json:"maxBytes,omitempty"` // none if 0
	MaxValue    int64     `json:"maxValue"`           // bytes of a value
	History     int       `json:"history"`            // values kept of a key
	TTL         string    `json:"ttl,omitempty"`      // of every write, as "1h0m0s"
	Markers     string    `json:"markers,omitempty"`  // how long a delete or an expiry is kept for watchers
	Replicas    int       `json:"replicas"`
	Created     time.Time `json:"created"`
}

// BucketConfig describes a bucket to make, or to bring to other settings.
type BucketConfig struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	History     int    `json:"history,omitempty"`  // values kept of a key, 1 (the default) to 64
	TTL         string `json:"ttl,omitempty"`      // of every write, whole seconds such as "10m"; none if empty
	MaxValue    int    `json:"maxValue,omitempty"` // bytes of a value; default 1 MiB less 1 KiB
	MaxBytes    int64  `json:"maxBytes,omitempty"` // of storage; none if 0
	MaxKeys     int64  `json:"maxKeys,omitempty"`  // none if 0; not with History or Replicas
	Replicas    int    `json:"replicas,omitempty"` // in a cluster, 1 (the default) to 5
	Update      bool   `json:"update,omitempty"`   // one that exists; otherwise that is a conflict
}

// BucketKeeper is what the API needs of a host for buckets. The errors are those of package kv,
// and *wire.Errors, as for a name of the host's own.
type BucketKeeper interface {
	CreateBucket(ctx context.Context, c BucketConfig) (Bucket, error)
	Buckets(ctx context.Context) ([]Bucket, error)
	Bucket(ctx context.Context, name string) (Bucket, error)
	// OpenBucket returns one that is there.
	OpenBucket(ctx context.Context, name string) (kv.Bucket, error)
	// DropBucket removes one, with its keys or only if it has none.
	DropBucket(ctx context.Context, name string, keys bool) error
}

func (s *Server) bucketRoutes() []route {
	entry := reflect.TypeFor[KeyEntry]()
	return []route{
		{pattern: "GET /v1/buckets", summary: "The buckets of the functions' namespace, without the host's own", out: reflect.TypeFor[[]Bucket](), handler: s.buckets},
		{pattern: "POST /v1/buckets", summary: "Make a bucket, or bring one to other settings", in: reflect.TypeFor[BucketConfig](), out: reflect.TypeFor[Bucket](), handler: s.createBucket},
		{pattern: "GET /v1/buckets/{bucket}", summary: "A bucket: what it holds and may hold", out: reflect.TypeFor[Bucket](), handler: s.bucket},
		{pattern: "DELETE /v1/buckets/{bucket}", summary: "Remove a bucket; one that holds keys only with keys=true", query: []string{"keys"}, handler: s.dropBucket},
		{pattern: "GET /v1/buckets/{bucket}/keys", summary: "Keys in the order of their bytes, with values=true whole entries", query: []string{"prefix", "suffix", "glob", "after", "limit", "descending", "values"},
			out: entry, lines: true, handler: s.keys},
		{pattern: "GET /v1/buckets/{bucket}/watch", summary: "Changes of keys as they come, from now on, from a revision on, or after what is there, whose end is an entry of op ready",
			query: []string{"prefix", "suffix", "glob", "initial", "from", "keysOnly"}, out: entry, lines: true, handler: s.watchKeys},
		{pattern: "GET /v1/buckets/{bucket}/keys/{key}", summary: "A key's value as it is, with the headers X-Kv-Revision, X-Kv-Created and X-Kv-Expires; a / in a key is %2F", handler: s.getKey},
		{pattern: "PUT /v1/buckets/{bucket}/keys/{key}", summary: "Write a value, whatever is there, or if the key stands at a revision, 0 for none", query: []string{"ttl", "ifRevision"},
			body: "*/*", out: reflect.TypeFor[KeyWritten](), handler: s.putKey},
		{pattern: "DELETE /v1/buckets/{bucket}/keys/{key}", summary: "Remove a key, with purge=true its history, too", query: []string{"ifRevision", "purge"}, handler: s.deleteKey},
		{pattern: "GET /v1/buckets/{bucket}/keys/{key}/history", summary: "What is kept of a key, the oldest first", out: entry, lines: true, handler: s.keyHistory},
		{pattern: "POST /v1/buckets/{bucket}/keys/{key}/add", summary: "Add delta, 1 if it is left out, to the number that a key holds", query: []string{"delta", "ttl"}, out: reflect.TypeFor[KeySum](), handler: s.addKey},
	}
}

func (s *Server) buckets(w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.Buckets(r.Context())
	return replyOr(w, v, bucketError("", err))
}

func (s *Server) createBucket(w http.ResponseWriter, r *http.Request) error {
	var c BucketConfig
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &c); err != nil {
		return wire.Errorf(wire.BadRequest, "the request: %v", err)
	}
	v, err := s.backend.CreateBucket(r.Context(), c)
	return replyOr(w, v, bucketError(c.Name, err))
}

func (s *Server) bucket(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("bucket")
	v, err := s.backend.Bucket(r.Context(), name)
	return replyOr(w, v, bucketError(name, err))
}

func (s *Server) dropBucket(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("bucket")
	keys, err := flag(r.URL.Query(), "keys")
	if err != nil {
		return err
	}
	return noContent(w, bucketError(name, s.backend.DropBucket(r.Context(), name, keys)))
}

// bucketError gives an error of package kv a code, and says what to do.
func bucketError(bucket string, err error) error {
	var known *wire.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, kv.ErrNoBucket):
		return wire.Errorf(wire.NotFound, "no bucket %q: `fnhost bucket ls` shows what there is, `fnhost bucket create %s` makes it", bucket, bucket)
	case errors.Is(err, kv.ErrNotFound):
		return wire.Errorf(wire.NotFound, "%v: `fnhost kv ls %s` lists what there is", err, bucket)
	case errors.Is(err, kv.ErrConflict):
		return wire.Errorf(wire.Conflict, "%v: nothing was written", err)
	case errors.Is(err, kv.ErrInvalidKey), errors.Is(err, kv.ErrInvalidBucket), errors.Is(err, kv.ErrInvalidQuery), errors.Is(err, kv.ErrTTL):
		return wire.Errorf(wire.BadRequest, "%v", err)
	case errors.Is(err, kv.ErrTooLarge):
		return wire.Errorf(wire.TooLarge, "%v", err)
	case errors.Is(err, kv.ErrFull):
		return wire.Errorf(wire.Unprocessed, "%v: remove keys, or raise its limits with `fnhost bucket create %s --update`", err, bucket)
	case errors.Is(err, kv.ErrNotNumber), errors.Is(err, errors.ErrUnsupported):
		return wire.Errorf(wire.Unprocessed, "%v", err)
	}
	return wire.Errorf(wire.Unavailable, "buckets cannot be reached for now: %v", err)
}

// flag returns a parameter of a URL that is true or false.
func flag(v url.Values, name string) (bool, error) {
	text := v.Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, wire.Errorf(wire.BadRequest, "%s=%.40s: want true or false", name, text)
	}
	return on, nil
}

// Buckets returns the buckets of the functions' namespace.
func (c *Client) Buckets(ctx context.Context) ([]Bucket, error) {
	var v []Bucket
	return v, c.get(ctx, "/v1/buckets", &v)
}

// Bucket returns one. The error is of code NotFound if there is none of that name.
func (c *Client) Bucket(ctx context.Context, name string) (Bucket, error) {
	var v Bucket
	path, err := bucketPath(name)
	if err != nil {
		return v, err
	}
	return v, c.get(ctx, path, &v)
}

// CreateBucket makes a bucket. The error is of code Conflict if there is one and cfg
// does not say Update.
func (c *Client) CreateBucket(ctx context.Context, cfg BucketConfig) (Bucket, error) {
	var v Bucket
	return v, c.send(ctx, http.MethodPost, "/v1/buckets", cfg, &v)
}

// DropBucket removes a bucket, with its keys, or only if it has none: otherwise the error
// is of code Conflict.
func (c *Client) DropBucket(ctx context.Context, name string, keys bool) error {
	path, err := bucketPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path+"?keys="+strconv.FormatBool(keys), nil, nil)
}
