// Package memkv keeps the buckets of package kv in memory. It is for tests: of functions, which
// are given such a bucket instead of one in JetStream and see the same, and of whatever else
// takes a kv.Bucket. It is the standard library and nothing else, starts no
// goroutine and no timer, and has nothing to close; in a testing/synctest bubble TTLs pass at once.
//
// Its limits and errors are those of buckets in JetStream, but for storage: a message counts
// its key, its value and 64 bytes. It is made to be simple: a write of a new key
// costs as much as moving the names of all keys behind it.
package memkv

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fnhost/fnhost/kv"
)

const (
	// DefaultMaxValue is the largest value of a bucket whose Config has none, that of
	// buckets in JetStream.
	DefaultMaxValue = 1<<20 - 1<<10

	overhead = 64 // bytes of a message beside its key and value
)

// Config describes a bucket. All but Bucket may be left out.
type Config struct {
	Bucket   string
	History  int           // values kept of a key, 1 (the default) to kv.MaxHistory
	TTL      time.Duration // of every write, whole seconds; 0: none. A write's own TTL counts if it is shorter
	MaxValue int           // bytes of a value, 0: DefaultMaxValue
	MaxBytes int64         // of all messages, 0: no limit
	MaxKeys  int64         // 0: no limit; only without history
}

// Bucket is a [kv.Bucket] in memory. It is safe for concurrent use.
type Bucket struct {
	cfg Config

	mu      sync.Mutex
	last    uint64                // revision
	bytes   int64                 // of messages that are kept
	log     []*message            // by revision, with some that are gone
	gone    int                   // of log
	keys    map[string][]*message // what is kept of a key, the oldest first, never nothing
	order   []string              // the keys, sorted
	due     due                   // messages that have an end
	changed chan struct{}         // closed by the next write
}

var _ kv.Bucket = (*Bucket)(nil)

// New makes an empty bucket. It returns kv.ErrInvalidBucket, kv.ErrTTL, and an error of its own
// for limits that are none.
func New(cfg Config) (*Bucket, error) {
	if err := kv.ValidateBucket(cfg.Bucket); err != nil {
		return nil, err
	}
	if err := kv.ValidateTTL(cfg.TTL); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", cfg.Bucket, err)
	}
	if cfg.History < 0 || cfg.History > kv.MaxHistory {
		return nil, fmt.Errorf("kv: bucket %q: a history of %d, from 1 to %d", cfg.Bucket, cfg.History, kv.MaxHistory)
	}
	if cfg.MaxValue < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("kv: bucket %q: values of %d bytes, %d in all: both from 0 on", cfg.Bucket, cfg.MaxValue, cfg.MaxBytes)
	}
	if cfg.MaxKeys < 0 || cfg.MaxKeys > 0 && cfg.History > 1 {
		return nil, fmt.Errorf("kv: bucket %q: %d keys at most: from 0 on, and only without history", cfg.Bucket, cfg.MaxKeys)
	}
	cfg.History = max(cfg.History, 1)
	if cfg.MaxValue == 0 {
		cfg.MaxValue = DefaultMaxValue
	}
	return &Bucket{cfg: cfg, keys: make(map[string][]*message), changed: make(chan struct{})}, nil
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.cfg.Bucket }

// enter locks the bucket and brings it to the present.
func (b *Bucket) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	b.expire(time.Now())
	return nil
}

// Get returns the key's entry.
func (b *Bucket) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := kv.ValidateKey(key); err != nil {
		return kv.Entry{}, err
	}
	if err := b.enter(ctx); err != nil {
		return kv.Entry{}, err
	}
	defer b.mu.Unlock()
	m := b.latest(key)
	if m == nil || m.Op != kv.OpPut {
		return kv.Entry{}, b.notFound(key)
	}
	return m.entry(true), nil
}

func (b *Bucket) notFound(key string) error {
	return fmt.Errorf("%w: %q in bucket %q", kv.ErrNotFound, key, b.cfg.Bucket)
}

// Put writes a value.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, options ...kv.Option) (uint64, error) {
	revisions, err := b.Commit(ctx, kv.Put(key, value, options...))
	if err != nil {
		return 0, err
	}
	return revisions[0], nil
}

// Delete removes a key.
func (b *Bucket) Delete(ctx context.Context, key string, options ...kv.Option) error {
	_, err := b.Commit(ctx, kv.Delete(key, options...))
	return err
}

// Touch gives a key a new time to live.
func (b *Bucket) Touch(ctx context.Context, key string, ttl time.Duration) (uint64, error) {
	return b.modify(ctx, kv.Put(key, nil, kv.TTL(ttl)), func(m *message) ([]byte, error) {
		if m == nil {
			return nil, b.notFound(key)
		}
		return m.Value, nil
	})
}

// Add adds to the number that a key holds.
func (b *Bucket) Add(ctx context.Context, key string, delta int64, options ...kv.Option) (sum int64, err error) {
	c := kv.Add(key, delta, options...)
	if err := c.Validate(); err != nil {
		return 0, err
	}
	if err := b.enter(ctx); err != nil {
		return 0, err
	}
	defer b.mu.Unlock()
	if sum, err = b.sum(key, delta); err != nil {
		return 0, err
	}
	_, err = b.commit([]kv.Change{c})
	return sum, err
}

// sum returns what a key's number comes to.
func (b *Bucket) sum(key string, delta int64) (int64, error) {
	n := int64(0)
	if m := b.latest(key); m != nil && m.Op == kv.OpPut {
		var err error
		if n, err = strconv.ParseInt(string(m.Value), 10, 64); err != nil {
			return 0, fmt.Errorf("bucket %q, key %q: %w: %.40q", b.cfg.Bucket, key, kv.ErrNotNumber, m.Value)
		}
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return 0, fmt.Errorf("bucket %q, key %q: %w: %d and %d are more", b.cfg.Bucket, key, kv.ErrNotNumber, n, delta)
	}
	return n + delta, nil
}

// modify makes a change whose value comes from what the key holds, nil if it is not there.
func (b *Bucket) modify(ctx context.Context, c kv.Change, value func(*message) ([]byte, error)) (uint64, error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	if err := b.enter(ctx); err != nil {
		return 0, err
	}
	defer b.mu.Unlock()
	m := b.latest(c.Key)
	if m != nil && m.Op != kv.OpPut {
		m = nil
	}
	var err error
	if c.Value, err = value(m); err != nil {
		return 0, err
	}
	revisions, err := b.commit([]kv.Change{c})
	if err != nil {
		return 0, err
	}
	return revisions[0], nil
}

// Commit makes all changes or none.
func (b *Bucket) Commit(ctx context.Context, changes ...kv.Change) ([]uint64, error) {
	if err := kv.ValidateChanges(changes); err != nil {
		return nil, err
	}
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	return b.commit(changes)
}

// commit makes valid changes.
func (b *Bucket) commit(changes []kv.Change) ([]uint64, error) {
	changes = slices.Clone(changes)
	for i := range changes {
		c := &changes[i]
		if c.Action == kv.ActAdd {
			sum, err := b.sum(c.Key, c.Delta)
			if err != nil {
				return nil, err
			}
			*c = kv.Put(c.Key, strconv.AppendInt(nil, sum, 10), kv.TTL(c.TTL))
		}
		if len(c.Value) > b.cfg.MaxValue {
			return nil, fmt.Errorf("%w: key %q has %d bytes, a value of bucket %q at most %d", kv.ErrTooLarge, c.Key, len(c.Value), b.cfg.Bucket, b.cfg.MaxValue)
		}
		if err := b.holds(c); err != nil {
			return nil, err
		}
	}
	if err := b.room(changes); err != nil {
		return nil, err
	}
	now := time.Now()
	revisions := make([]uint64, len(changes))
	for i := range changes {
		if changes[i].Action != kv.ActCheck {
			revisions[i] = b.write(&changes[i], now)
		}
	}
	return revisions, nil
}

// holds returns the conflict if a condition does not hold.
func (b *Bucket) holds(c *kv.Change) error {
	if !c.If {
		return nil
	}
	m := b.latest(c.Key)
	there := m != nil && m.Op == kv.OpPut
	if c.Revision == 0 && !there || m != nil && m.Revision == c.Revision {
		return nil
	}
	conflict := &kv.ConflictError{Key: c.Key, Wanted: c.Revision}
	if there {
		conflict.Current = m.Revision
	}
	return conflict
}

// markers returns how long a delete or an expiry can be watched. Where keys are limited each takes
// the place of a key.
func (b *Bucket) markers() time.Duration {
	if b.cfg.MaxKeys > 0 {
		return time.Second
	}
	return 5 * time.Minute
}

// room returns ErrFull if values need more than there is. A delete always has a place.
func (b *Bucket) room(changes []kv.Change) error {
	bytes, grows := b.bytes, false
	keys, more := int64(len(b.keys)), false
	for i := range changes {
		c := &changes[i]
		if c.Action == kv.ActCheck {
			continue
		}
		added := size(c.Key, c.Value)
		for _, m := range b.replaced(c) {
			added -= size(m.Key, m.Value)
		}
		if b.keys[c.Key] == nil {
			keys++
			more = more || c.Action == kv.ActPut
		}
		bytes += added
		grows = grows || c.Action == kv.ActPut && added > 0
	}
	if grows && b.cfg.MaxBytes > 0 && bytes > b.cfg.MaxBytes {
		return fmt.Errorf("bucket %q: %w: it would have %d bytes, at most %d", b.cfg.Bucket, kv.ErrFull, bytes, b.cfg.MaxBytes)
	}
	if more && b.cfg.MaxKeys > 0 && keys > b.cfg.MaxKeys {
		return fmt.Errorf("bucket %q: %w: it would have %d keys, at most %d", b.cfg.Bucket, kv.ErrFull, keys, b.cfg.MaxKeys)
	}
	return nil
}

// Stats returns what the bucket holds and may hold.
func (b *Bucket) Stats(ctx context.Context) (kv.Stats, error) {
	if err := b.enter(ctx); err != nil {
		return kv.Stats{}, err
	}
	defer b.mu.Unlock()
	return kv.Stats{
		Keys: int64(len(b.keys)), MaxKeys: b.cfg.MaxKeys, Bytes: b.bytes, MaxBytes: b.cfg.MaxBytes, MaxValue: int64(b.cfg.MaxValue),
		History: b.cfg.History, TTL: b.cfg.TTL, Markers: b.markers(),
	}, nil
}
