package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/trigger/event"
)

// buckets are those of a namespace, opened when somebody uses them.
type buckets struct {
	js    jetstream.JetStream
	open  sync.Map // name to *jetkv.Bucket
	blobs sync.Map // name to *jetkv.Blobs

	making sync.Mutex // held while one is opened or made
	most   int        // maxStreams, but for tests
}

// refuseOwn returns an error for a bucket, or a store, of the host's own. They are in an account
// of their own, but for a NATS server elsewhere.
func refuseOwn(name string) error {
	if manifest.OwnBucket(name) {
		return wire.Errorf(wire.Forbidden, "%q is the host's own: choose another name", name)
	}
	return nil
}

// get returns a bucket, and makes one that is not there.
func (b *buckets) get(ctx context.Context, name string) (*jetkv.Bucket, error) {
	return opened(ctx, b, &b.open, name, jetkv.Open, func(ctx context.Context, js jetstream.JetStream) (*jetkv.Bucket, error) {
		return jetkv.Create(ctx, js, jetkv.Config{Bucket: name})
	})
}

// store is get for blobs.
func (b *buckets) store(ctx context.Context, name string) (*jetkv.Blobs, error) {
	return opened(ctx, b, &b.blobs, name, jetkv.OpenBlobs, func(ctx context.Context, js jetstream.JetStream) (*jetkv.Blobs, error) {
		return jetkv.CreateBlobs(ctx, js, jetkv.BlobsConfig{Bucket: name})
	})
}

func opened[T any](ctx context.Context, b *buckets, cache *sync.Map, name string,
	open func(context.Context, jetstream.JetStream, string) (T, error), create func(context.Context, jetstream.JetStream) (T, error)) (T, error) {
	var none T
	if known, ok := cache.Load(name); ok {
		return known.(T), nil
	}
	if err := refuseOwn(name); err != nil {
		return none, err
	}
	b.making.Lock()
	defer b.making.Unlock()
	if known, ok := cache.Load(name); ok {
		return known.(T), nil
	}
	v, err := open(ctx, b.js, name)
	if errors.Is(err, kv.ErrNoBucket) {
		if err = b.room(ctx, name); err == nil {
			v, err = create(ctx, b.js)
		}
	}
	if err != nil {
		return none, err
	}
	cache.Store(name, v)
	return v, nil
}

// maxStreams is how many streams there may be, buckets among them, before functions
// can make no more by their use: each costs the server memory and files, and a name may
// come from a request.
const maxStreams = 1000

func (b *buckets) room(ctx context.Context, name string) error {
	info, err := b.js.AccountInfo(ctx)
	if err == nil && info.Streams >= b.most {
		err = wire.Errorf(wire.Forbidden, "there is no bucket %q, and there are %d streams already, so that functions make no more: `fnhost bucket create %s` does", name, info.Streams, name)
	}
	return err
}

// forget has a bucket, or a store of that name, opened anew when it is next used.
func (b *buckets) forget(name string) {
	b.open.Delete(name)
	b.blobs.Delete(name)
}

// openBuckets prepares the buckets of functions.
func (h *Namespace) openBuckets() error {
	js, err := jetstream.New(h.conn)
	if err != nil {
		return fmt.Errorf("host: buckets: %w", err)
	}
	h.buckets = &buckets{js: js, most: maxStreams}
	return nil
}

// Bucket returns the bucket name of the functions' namespace, the one that
// functions.KV gives functions, and makes it if it is not there. It returns
// kv.ErrInvalidBucket, and an *[functions.Error] of code Forbidden for a name of the host's own.
func (h *Namespace) Bucket(ctx context.Context, name string) (kv.Bucket, error) {
	b, err := h.buckets.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Blobs is [Host.Bucket] for the stores of functions.Blobs.
func (h *Namespace) Blobs(ctx context.Context, name string) (kv.Blobs, error) {
	b, err := h.buckets.store(ctx, name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// callBucket answers an operation on a bucket, if the function's manifest lets it.
func (h *Namespace) callBucket(ctx context.Context, f *function, m *manifest.Manifest, op string, req *wire.Request) (*wire.Response, error) {
	name := req.Header.Get(wire.KeyTarget)
	if err := mayUse(f, m, name); err != nil {
		return nil, err
	}
	body, err := h.callBody(req)
	if err != nil {
		return nil, err
	}
	if limit := h.events.MaxPayload(); req.Body != nil && int64(len(body)) > limit { // there may be more, of which nobody knows
		return kvwire.Fault(fmt.Errorf("%w: bucket %q: changes of more than %d bytes together", kv.ErrTooLarge, name, limit))
	}
	if kvwire.Changing(op) {
		if err := unavailable(h.bus.StorageErr()); err != nil {
			return nil, err
		}
		ctx = deeper(ctx, req.Header)
	}
	for try := 1; ; try++ {
		r, err := h.onBucket(ctx, name, req.Header, body)
		if err == nil && try == 1 && kvwire.Gone(r) { // somebody has removed it: what is asked now makes it anew
			h.buckets.forget(name)
			continue
		}
		return r, h.unavailableBucket(ctx, name, err)
	}
}

// deeper has the events that a change of a bucket makes count as led to by the event of a call.
func deeper(ctx context.Context, h wire.Header) context.Context {
	depth, _ := h.Int(wire.KeyDepth)
	return jetkv.WithHeader(ctx, event.HeaderDepth, strconv.FormatInt(depth+1, 10))
}

// callBlobs answers an operation on a store of blobs.
func (h *Namespace) callBlobs(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	name := req.Header.Get(wire.KeyTarget)
	if err := mayUse(f, m, name); err != nil {
		return nil, err
	}
	if op := req.Header.Get(wire.KeyOp); op == "blob.put" || op == "blob.delete" {
		if err := unavailable(h.bus.StorageErr()); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		var body io.Reader = bytes.NewReader(req.Payload)
		if req.Body != nil {
			body = io.MultiReader(body, req.Body)
		}
		s, err := h.buckets.store(ctx, name)
		var r *wire.Response
		if err == nil {
			r, err = kvwire.ServeBlobs(ctx, s, req.Header, body)
		} else {
			r, err = kvwire.Fault(err)
		}
		if err == nil && kvwire.Gone(r) {
			h.buckets.forget(name)
			if try == 1 && req.Body == nil { // a body that streams was read
				continue
			}
		}
		return r, h.unavailableBucket(ctx, name, err)
	}
}

func mayUse(f *function, m *manifest.Manifest, bucket string) error {
	if m.Access != nil && !matchesAny(m.Access.Buckets, bucket) {
		return wire.Errorf(wire.Forbidden, "function %q may not use the bucket %q: add it to access.buckets in its %s", f.name, bucket, manifest.FileName)
	}
	return nil
}

func (h *Namespace) onBucket(ctx context.Context, name string, header wire.Header, body []byte) (*wire.Response, error) {
	b, err := h.buckets.get(ctx, name)
	if err != nil {
		return kvwire.Fault(err)
	}
	return kvwire.Serve(ctx, b, header, body)
}

// unavailableBucket makes an error of code Unavailable of one that is of none.
func (h *Namespace) unavailableBucket(ctx context.Context, name string, err error) error {
	err = h.noRoom(ctx, err)
	var e *wire.Error
	if err == nil || errors.As(err, &e) || ctx.Err() != nil {
		return err
	}
	return wire.Errorf(wire.Unavailable, "the bucket %q cannot be reached: %v", name, err)
}

// stateEffect adds changes of a bucket to what a function has take effect atomically.
func (h *Namespace) stateEffect(f *function, m *manifest.Manifest, one wire.Message, e *event.Effects) error {
	name := one.Header.Get(wire.KeyTarget)
	if err := mayUse(f, m, name); err != nil {
		return err
	}
	if e.Bucket != "" {
		return wire.Errorf(wire.BadRequest, "the buckets %q and %q cannot be changed atomically: one of them can", e.Bucket, name)
	}
	e.Bucket, e.Changes = name, one.Payload
	e.Depth, _ = one.Header.Int(wire.KeyDepth)
	e.Depth++
	return nil
}

// effectState is the buckets, as effects change them.
type effectState struct{ h *Namespace }

// CommitOnce implements [event.State].
func (s effectState) CommitOnce(ctx context.Context, name string, e *event.Effects) (refused bool, err error) {
	ctx = jetkv.WithHeader(ctx, event.HeaderDepth, strconv.FormatInt(e.Depth, 10))
	list, err := kvwire.Changes(e.Changes)
	if err != nil {
		return true, err
	}
	for try := 1; ; try++ {
		b, err := s.h.buckets.get(ctx, e.Bucket)
		if err == nil {
			err = b.CommitOnce(ctx, name, list...)
		}
		if errors.Is(err, kv.ErrNoBucket) && try == 1 {
			s.h.buckets.forget(e.Bucket)
			continue
		}
		if err == nil {
			return false, nil
		}
		_, other := kvwire.Fault(err)
		return other == nil || errors.Is(err, functions.ErrForbidden), err
	}
}

// ForgetOnce implements [event.State].
func (s effectState) ForgetOnce(ctx context.Context, bucket, name string) error {
	b, err := s.h.buckets.get(ctx, bucket)
	if err == nil {
		err = b.ForgetOnce(ctx, name)
	}
	if errors.Is(err, kv.ErrNoBucket) {
		s.h.buckets.forget(bucket)
		return nil
	}
	return err
}
