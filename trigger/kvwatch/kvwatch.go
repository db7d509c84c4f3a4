// Package kvwatch makes events of the changes of buckets' keys: of each kv trigger of a
// manifest a source for package event, which reads it as it reads streams, with retries,
// dead letters, order and rates.
//
// A bucket is a stream (see kv/jetkv), and so the trigger a durable consumer of it, with the
// narrowest subject that its keys allow. What is beside them, or a change that the trigger is not
// on, comes as well, and is acknowledged; where it is not on put, without values.
//
// # What is handled
//
// The latest change of each key is, at least once. Of a key that changes more often
// than that, values that the bucket no longer keeps may be left out: a bucket
// without history keeps one. A value that is replaced, deleted or has expired while its
// event waits for a retry is not tried again, since the event of that comes.
//
// A delete or an expiry of a bucket without history is kept for five minutes, after which nobody can
// tell that it was. So one that failed is tried again only within that time, and becomes a
// dead letter sooner than its retries say if it must. One that nobody read in that time, since no
// host ran or the trigger was paused, is lost; where a trigger that reads a whole bucket
// finds at its start that changes are missing which are older than that, it logs so. (The embedded server
// is stopped with its host, and so is expiry: what expires meanwhile does so at the next start, and is seen.)
//
// A bucket with history keeps deletes like values, but an expiry for a second only: it is
// handled once, and a dead letter if that fails. A bucket that another client
// has made may leave no marker of expiry at all.
//
// A bucket that is not there is waited for, and then all that it has is new. So it is for one
// that is dropped and made anew while the host runs.
package kvwatch

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv"
	"github.com/fnhost/fnhost/kv/jetkv"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
)

// Sources returns the sources of a manifest's kv triggers, for [event.Config].
func Sources(m *manifest.Manifest) []event.Source {
	var list []event.Source
	for i := range m.Triggers.KV {
		list = append(list, source(&m.Triggers.KV[i]))
	}
	return list
}

func source(k *manifest.KV) event.Source {
	c := changes{Bucket: k.Bucket, Keys: kv.Glob(k.Keys), Put: k.Wants(kv.OpPut), Delete: k.Wants(kv.OpDelete), Expire: k.Wants(kv.OpExpire)}
	spec := k.Event()
	spec.Stream, spec.Subject = jetkv.Stream(k.Bucket), jetkv.Subject(k.Bucket, c.Keys)
	return event.Source{
		Kind: trigger.KV, ID: fmt.Sprintf("kv %s %s", k, k.Endpoint), Name: k.String(), Bucket: k.Bucket, Keys: k.Keys,
		Spec: spec, HeadersOnly: !c.Put, Messages: c,
	}
}

// changes are those of a trigger. It is an [event.Messages].
type changes struct {
	Bucket              string
	Keys                kv.Filter
	Put, Delete, Expire bool
}

// entry returns what a message says; ok is false for what the trigger is not for.
func (c changes) entry(m *nats.Msg, stored time.Time, maxAge time.Duration) (e kv.Entry, ok bool) {
	e, ok = jetkv.Entry(c.Bucket, m, 0, stored, maxAge)
	if !ok || !c.Keys.Match(e.Key) {
		return e, false
	}
	switch e.Op {
	case kv.OpPut:
		return e, c.Put
	case kv.OpDelete:
		return e, c.Delete
	case kv.OpExpire:
		return e, c.Expire
	}
	return e, false
}

// Takes implements [event.Messages].
func (c changes) Takes(m *nats.Msg) bool {
	_, ok := c.entry(m, time.Time{}, 0)
	return ok
}

// Header implements [event.Messages].
func (c changes) Header(h wire.Header, m *nats.Msg, stored time.Time, maxAge time.Duration) wire.Header {
	e, ok := jetkv.Entry(c.Bucket, m, 0, stored, maxAge)
	if !ok {
		return h
	}
	h = h.Add(wire.KeyBucket, c.Bucket).Add(wire.KeyKey, e.Key).Add(wire.KeyChange, e.Op.String())
	if !e.Expires.IsZero() {
		h = h.AddInt(wire.KeyExpires, e.Expires.UnixNano())
	}
	return h
}

// Gone implements [event.Messages]. What takes the place of a value is an event of its own.
func (c changes) Gone(m *nats.Msg, stored time.Time) time.Time {
	ttl := jetkv.MessageTTL(m.Header)
	if e, ok := jetkv.Entry(c.Bucket, m, 0, stored, 0); !ok || e.Op == kv.OpPut || ttl <= 0 {
		return time.Time{}
	}
	return stored.Add(ttl)
}
