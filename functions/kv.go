package functions

import (
	"context"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/kv"
)

// KV returns the bucket name of the function's namespace: state that outlives the
// worker, and that all workers of all functions share. A bucket that does not exist is
// made when it is first used, with a history of 1 and no limits; `fnhost bucket create`
// makes others. (Where there are 1000 streams already, functions make no more.) The bucket itself costs nothing, and may be used after the invocation, by
// contexts that have not ended.
//
//	sessions := functions.KV(ctx, "sessions")
//	rev, err := sessions.Put(ctx, id, data, kv.TTL(30*time.Minute))
//	users := kv.Of[User](functions.KV(ctx, "users"))
//
// Beside the errors of package kv its methods return an *[Error]: of code [Forbidden]
// for a bucket that the manifest's access list does not name (access.buckets), or that is the
// host's own, and [Unavailable] when state cannot be reached; and [ErrNoHost].
// What they mean if a handler returns them stands under Errors in the package text.
func KV(ctx context.Context, name string) kv.Bucket {
	s := scopeOf(ctx)
	if s == nil {
		return kvwire.New(name, func(context.Context, *wire.Request) (*wire.Response, error) { return nil, ErrNoHost }, nil)
	}
	return kvwire.New(name, s.runtime.Do, s.base())
}

// Blobs returns the store of blobs name of the function's namespace: what is too large for a
// value, written and read as a stream. Stores are made as buckets are, have their access
// list (access.buckets), and return the same errors beside those of package kv. A request's
// body is limited here, too: to 8 MiB, unless body in function.yaml says otherwise.
//
//	blob, err := functions.Blobs(ctx, "uploads").Put(ctx, "2026/report.pdf", body)
func Blobs(ctx context.Context, name string) kv.Blobs {
	s := scopeOf(ctx)
	if s == nil {
		return kvwire.NewBlobs(name, func(context.Context, *wire.Request) (*wire.Response, error) { return nil, ErrNoHost }, nil)
	}
	return kvwire.NewBlobs(name, s.runtime.Do, s.base())
}

// base returns the headers of each call on a bucket.
func (s *scope) base() wire.Header {
	h := wire.Header(nil).Add(wire.KeyInvocation, s.header.Get(wire.KeyInvocation))
	if depth, ok := s.header.Int(wire.KeyDepth); ok {
		h = h.AddInt(wire.KeyDepth, depth)
	}
	return h
}
