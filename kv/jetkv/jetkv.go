// Package jetkv keeps the buckets of package kv in JetStream, as NATS itself does: the
// bucket b is the stream KV_b, and its key k the subject $KV.b.k. So `nats kv`, nats.go
// and whatever else knows these see the same values, and buckets made by them can be
// opened here; what such a bucket was not made for is an error: kv.ErrTTL for a time to
// live, errors.ErrUnsupported for a Commit of several keys.
//
// A write is one message, with the expected revision in its header, and a Commit an
// atomic batch of them. In a bucket without history a delete is a purge marker, which
// the server removes after five minutes, so that deleted keys cost nothing for ever. Expiry is
// the server's too, and leaves such a marker. (In a bucket with history that is full, it waits
// until there is room for one.)
//
// A Commit that is more than one message costs the server some milliseconds, in which the bucket
// takes no other write: it makes a store of files for each batch. A Commit of
// one write and one check, which has no condition of its own, is one message, and costs no more than a Put.
//
// A revision that a Commit only checks goes with a message that writes another key,
// or, if there are too few of these, with one on the subject $FN.kv.b.check, which is
// no key; nor is $FN.kv.b.once.>, the names of CommitOnce.
//
// Blobs are object stores of NATS: parts of 128 KiB, and one message that makes them a blob.
package jetkv

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/kv"
)

const (
	streamPrefix  = "KV_"
	subjectPrefix = "$KV."
	overhead      = 1 << 10 // of a message's size, for its headers

	// markerTTL is how long a delete or an expiry can be watched. The server gives no
	// TTL below it in a stream with history, where it is a second.
	markerTTL = 5 * time.Minute

	// DefaultMaxValue is the largest value of a bucket whose Config has none: 1 MiB less
	// headers, which every NATS server takes.
	DefaultMaxValue = 1<<20 - overhead

	timeout = 10 * time.Second // of a request whose context has no deadline
)

// Config describes a bucket. All but Bucket may be left out.
//
// MaxKeys counts messages, which is exact for single writes: one to a key that is there always has a place.
// In a Commit of several each counts as a new key, so in a bucket that is nearly full one is refused
// that would have a place. Deletes and expiry are kept for a second only, so that their places can be taken.
type Config struct {
	Bucket      string
	Description string
	History     int           // values kept of a key, 1 (the default) to kv.MaxHistory
	TTL         time.Duration // of every write, whole seconds; 0: none. A write's own TTL counts if it is shorter
	MaxValue    int           // bytes of a value, 0: DefaultMaxValue
	MaxBytes    int64         // of storage with headers and history, 0: no limit
	MaxKeys     int64         // see below, 0: no limit; only without history and replicas
	Replicas    int           // 1 (the default) to 5, in a cluster
}

// Bucket is a [kv.Bucket] in JetStream. It is safe for concurrent use, and has nothing
// to close. Every call of Create and Open returns another one; use one for all.
type Bucket struct {
	js     jetstream.JetStream
	legacy nats.JetStreamContext // for watchers: push consumers cost no polling
	conn   *nats.Conn
	api    string // prefix of the API's subjects
	name   string
	stream string
	prefix string // of subjects
	cfg    jetstream.StreamConfig

	batches chan struct{}  // places for atomic batches: the server takes 50 of a stream at once
	adders  [64]sync.Mutex // those of this process come one after the other, by the hash of their key
	seed    maphash.Seed
	rests   rests
}

var _ kv.Bucket = (*Bucket)(nil)

// Create makes a bucket, or brings one that exists to this Config. It returns
// kv.ErrInvalidBucket, kv.ErrTTL, and the server's error for what cannot be changed or
// is more than there is.
func Create(ctx context.Context, js jetstream.JetStream, cfg Config) (*Bucket, error) {
	sc, err := cfg.stream()
	if err != nil {
		return nil, err
	}
	s, err := js.CreateOrUpdateStream(ctx, sc)
	if err != nil {
		return nil, fmt.Errorf("kv: bucket %q: %w", cfg.Bucket, err)
	}
	return newBucket(js, s.CachedInfo().Config)
}

// Open opens a bucket that exists, whoever has made it. It returns kv.ErrNoBucket if
// there is none, and kv.ErrInvalidBucket.
func Open(ctx context.Context, js jetstream.JetStream, name string) (*Bucket, error) {
	if err := kv.ValidateBucket(name); err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, streamPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: %q", kv.ErrNoBucket, name)
	}
	if err != nil {
		return nil, fmt.Errorf("kv: bucket %q: %w", name, err)
	}
	sc := s.CachedInfo().Config
	if !isBucket(sc) {
		return nil, fmt.Errorf("%w: %q: its stream was not made as a bucket", kv.ErrNoBucket, name)
	}
	return newBucket(js, sc)
}

// Drop removes a bucket and all that is in it. It returns kv.ErrNoBucket if there is
// none, and kv.ErrInvalidBucket.
func Drop(ctx context.Context, js jetstream.JetStream, name string) error {
	if err := kv.ValidateBucket(name); err != nil {
		return err
	}
	err := drop(ctx, js, streamPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %q", kv.ErrNoBucket, name)
	}
	return err
}

// drop removes a stream. A server that still removes the files of another one of the
// name leaves these where they are (NATS 2.15), and the next one would begin with them.
func drop(ctx context.Context, js jetstream.JetStream, stream string) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx); err != nil {
		return err
	}
	return js.DeleteStream(ctx, stream)
}

func newBucket(js jetstream.JetStream, sc jetstream.StreamConfig) (*Bucket, error) {
	name := sc.Name[len(streamPrefix):]
	return newMessages(js, sc, name, subjectPrefix+name+".")
}

// newMessages returns what reads and writes the messages of a stream, by subject without a prefix.
func newMessages(js jetstream.JetStream, sc jetstream.StreamConfig, name, prefix string) (*Bucket, error) {
	b := &Bucket{js: js, conn: js.Conn(), api: jetstream.DefaultAPIPrefix, name: name, stream: sc.Name,
		prefix: prefix, cfg: sc, batches: make(chan struct{}, 16), seed: maphash.MakeSeed()}
	if o := js.Options(); o.Domain != "" {
		b.api = "$JS." + o.Domain + ".API."
	} else if o.APIPrefix != "" {
		b.api = o.APIPrefix + "."
	}
	var err error
	b.legacy, err = b.conn.JetStream(nats.APIPrefix(b.api))
	return b, err
}

// stream returns what nats.go would make of the bucket, and what it needs beside that.
func (c *Config) stream() (jetstream.StreamConfig, error) {
	var none jetstream.StreamConfig
	if err := kv.ValidateBucket(c.Bucket); err != nil {
		return none, err
	}
	if err := kv.ValidateTTL(c.TTL); err != nil {
		return none, fmt.Errorf("bucket %q: %w", c.Bucket, err)
	}
	history := max(c.History, 1)
	if c.History < 0 || history > kv.MaxHistory {
		return none, fmt.Errorf("kv: bucket %q: a history of %d, from 1 to %d", c.Bucket, c.History, kv.MaxHistory)
	}
	if c.MaxValue < 0 || c.MaxBytes < 0 || c.MaxValue > 64<<20 {
		return none, fmt.Errorf("kv: bucket %q: values of %d bytes, %d in all: both from 0 on, a value at most 64 MiB", c.Bucket, c.MaxValue, c.MaxBytes)
	}
	value := c.MaxValue
	if value == 0 {
		value = DefaultMaxValue
	}
	if c.MaxKeys < 0 {
		return none, fmt.Errorf("kv: bucket %q: %d keys at most: from 1 on, 0 is no limit", c.Bucket, c.MaxKeys)
	}
	if c.MaxKeys > 0 && (history > 1 || c.Replicas > 1) {
		return none, fmt.Errorf("kv: bucket %q: a limit of keys is for buckets without history and replicas: the server counts messages; limit its bytes instead", c.Bucket)
	}
	marker := markerTTL
	if history > 1 || c.MaxKeys > 0 {
		marker = time.Second
	}
	sc := jetstream.StreamConfig{
		Name: streamPrefix + c.Bucket, Description: c.Description, Subjects: []string{subjectPrefix + c.Bucket + ".>", ownSubjects(c.Bucket)},
		MaxMsgsPerSubject: int64(history), MaxBytes: -1, MaxMsgs: -1, MaxConsumers: -1, MaxMsgSize: int32(value + overhead), MaxAge: c.TTL,
		Replicas: max(c.Replicas, 1), Duplicates: 2 * time.Minute, Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
		AllowMsgTTL: true, SubjectDeleteMarkerTTL: marker, AllowAtomicPublish: true,
	}
	if c.MaxBytes > 0 {
		sc.MaxBytes = c.MaxBytes
	}
	if c.MaxKeys > 0 {
		sc.MaxMsgs = c.MaxKeys
	}
	if c.TTL > 0 {
		sc.Duplicates = min(sc.Duplicates, c.TTL)
	}
	return sc, nil
}

// ownSubjects are those of messages that are no keys.
func ownSubjects(bucket string) string { return "$FN.kv." + bucket + ".>" }

// checkSubject is that of messages which carry nothing but a revision to check.
func checkSubject(bucket string) string { return "$FN.kv." + bucket + ".check" }

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// Stats returns what the bucket holds and may hold.
func (b *Bucket) Stats(ctx context.Context) (kv.Stats, error) {
	s, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return kv.Stats{}, b.fail(ctx, "", err)
	}
	return describe(b.js, s.CachedInfo()).Stats, nil
}

// maxValue returns the bucket's limit.
func (b *Bucket) maxValue() int64 { return maxValue(b.js, b.cfg.MaxMsgSize) }

// bounded gives ctx a deadline if it has none: a request that nobody answers must end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
