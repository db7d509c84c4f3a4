package worker

import (
	"math/rand/v2"
	"time"
)

// A worker's end does not count as one of a series if it ran for so long, or had
// answered so many: there is something in it that works.
const (
	steady       = 10 * time.Second
	steadyAnswer = 100
)

// backoff spaces the starts after crashes: at once after the first, then twice
// the time each, with jitter, so that many functions do not start in step.
type backoff struct{ failures int }

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// next returns how long to wait before the next start.
func (b *backoff) next() time.Duration {
	b.failures++
	if b.failures == 1 {
		return 0
	}
	d := backoffMost
	if shift := b.failures - 2; shift < 10 {
		d = min(d, backoffFirst<<shift)
	}
	return d + time.Duration(rand.Int64N(int64(d)/5)) - d/10
}

func (b *backoff) reset() { b.failures = 0 }
