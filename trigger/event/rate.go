package event

import (
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
)

// bucket says how many events may be asked for, so that those beyond a rate wait
// in the stream. It is not safe for concurrent use. A nil one has no limit.
type bucket struct {
	second float64 // tokens that one brings
	most   float64
	tokens float64
	at     time.Time // of tokens
	timer  *time.Timer
}

// newBucket returns nil for the empty rate.
func newBucket(rate string) *bucket {
	n, per := manifest.ParseRate(rate)
	if n == 0 {
		return nil
	}
	b := &bucket{second: float64(n) / per.Seconds(), at: time.Now(), timer: time.NewTimer(0)}
	b.most = max(b.second, 1)
	b.tokens = b.most
	return b
}

// take takes up to n tokens. asked is how many were taken for events that may yet
// come. If there are none, more says when to look again.
func (b *bucket) take(n, asked int) int {
	now := time.Now()
	b.tokens = min(b.tokens+b.second*now.Sub(b.at).Seconds(), b.most-float64(asked))
	b.at = now
	if n = min(n, int(b.tokens)); n <= 0 {
		// A few at a time, where that is many requests for one event each.
		need := max(min(b.second/20, b.most/2), 1) - b.tokens
		if asked == 0 || b.most-float64(asked) >= 1 {
			b.timer.Reset(max(time.Duration(need/b.second*float64(time.Second)), time.Millisecond))
		}
		return 0
	}
	b.tokens -= float64(n)
	return n
}

// giveBack returns tokens of events that have not come, or were not handled.
func (b *bucket) giveBack(n int) {
	if b != nil {
		b.tokens = min(b.tokens+float64(n), b.most)
	}
}

// more has something when there may be tokens again.
func (b *bucket) more() <-chan time.Time {
	if b == nil {
		return nil
	}
	return b.timer.C
}
