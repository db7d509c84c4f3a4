// Package limit bounds how often somebody may do something, each for himself: token
// buckets by key, of which so many are kept as fit into a bound. It also says who that
// is, where there is nothing but an address: [ClientAddr], [AddrKey].
//
// A [Keyed] counts what this process sees: with several nodes, each has its own.
package limit

import (
	"container/list"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// MaxKeys is how many keys a [Keyed] knows, unless it is told another number. One takes
// some 300 bytes.
const MaxKeys = 10_000

// Limit is how often something may happen.
type Limit struct {
	Events int           // so many, at least 1,
	Per    time.Duration // in such a time
	Burst  int           // so many at once, after a time without any. Default: Events
}

// Decision says whether something may happen, and how much more may.
type Decision struct {
	OK        bool
	Remaining int           // how many more may happen at once
	Retry     time.Duration // when the next one may, if OK is false
	Reset     time.Duration // when Burst may again, if nothing happens until then
}

// Keyed bounds how often something may happen for each key. It knows the keys that were
// asked for last; one that is forgotten begins anew. Its methods are safe for concurrent
// use. It needs no end.
type Keyed struct {
	limit Limit
	rate  rate.Limit
	most  int
	now   func() time.Time // for tests

	mu     sync.Mutex
	keys   map[string]*list.Element
	recent list.List // of *bucket, the latest first
}

type bucket struct {
	key string
	*rate.Limiter
}

// NewKeyed returns a Keyed that knows so many keys; 0 is [MaxKeys].
func NewKeyed(l Limit, keys int) *Keyed {
	if l.Burst == 0 {
		l.Burst = l.Events
	}
	if keys == 0 {
		keys = MaxKeys
	}
	return &Keyed{limit: l, rate: rate.Limit(float64(l.Events) / l.Per.Seconds()), most: keys, now: time.Now, keys: make(map[string]*list.Element)}
}

// Limit returns what it was made with, the default of Burst filled in.
func (k *Keyed) Limit() Limit { return k.limit }

// Take counts one more for a key, if that may happen now. What may not is not counted.
func (k *Keyed) Take(key string) Decision {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, now := k.bucket(key), k.now()
	return k.decide(b, now, b.AllowN(now, 1))
}

// Peek says whether one more may happen for a key, and counts nothing: for what is
// only known later to count, such as an attempt that has failed.
func (k *Keyed) Peek(key string) Decision {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if e, ok := k.keys[key]; ok {
		b := e.Value.(*bucket)
		return k.decide(b, now, b.TokensAt(now) >= 1)
	}
	return Decision{OK: true, Remaining: k.limit.Burst}
}

// Forget has a key begin anew, as after an attempt that went well.
func (k *Keyed) Forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.keys[key]; ok {
		k.recent.Remove(e)
		delete(k.keys, key)
	}
}

func (k *Keyed) decide(b *bucket, now time.Time, ok bool) Decision {
	tokens := b.TokensAt(now)
	d := Decision{OK: ok, Remaining: max(0, int(tokens)), Reset: k.timeFor(float64(k.limit.Burst) - tokens)}
	if !ok {
		d.Retry = k.timeFor(1 - tokens)
	}
	return d
}

// timeFor is how long so many tokens take.
func (k *Keyed) timeFor(tokens float64) time.Duration {
	return time.Duration(math.Ceil(max(0, tokens) / float64(k.rate) * float64(time.Second)))
}

// bucket returns that of a key, and forgets the one that was asked for least recently
// if there are too many. k.mu is held.
func (k *Keyed) bucket(key string) *bucket {
	if e, ok := k.keys[key]; ok {
		k.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if len(k.keys) >= k.most {
		last := k.recent.Back()
		delete(k.keys, k.recent.Remove(last).(*bucket).key)
	}
	b := &bucket{key, rate.NewLimiter(k.rate, k.limit.Burst)}
	k.keys[key] = k.recent.PushFront(b)
	return b
}
