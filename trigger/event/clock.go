package event

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// run is the flow's clock, until ctx ends.
func (f *flow) run(ctx context.Context) {
	signs := time.NewTicker(f.ackWait / 4)
	defer signs.Stop()
	looks := time.NewTicker(lookAgain)
	defer looks.Stop()
	defer f.timer.Stop()
	if !f.order {
		looks.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.timer.C:
			f.wakeUp()
		case <-signs.C:
			f.sign()
			f.missing(ctx)
		case <-looks.C:
			f.tryOpen(ctx)
		case <-f.look:
			f.tryOpen(ctx)
		}
	}
}

// sign tells the server of the events in hand, but for those that have just come.
func (f *flow) sign() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.hands {
		if h.told {
			h.message.InProgress()
		}
		h.told = true
	}
}

// missing looks for events that were handed back and have not come again: one that
// was deleted from the stream meanwhile never will.
func (f *flow) missing(ctx context.Context) {
	f.mu.Lock()
	var late []uint64
	for seq, l := range f.awaited {
		if time.Since(l.since) > f.ackWait/4 {
			late = append(late, seq)
		}
	}
	f.mu.Unlock()
	for _, seq := range late {
		if !f.isDeleted(ctx, seq) {
			continue
		}
		level := slog.LevelWarn
		if f.r.source.Messages != nil { // where later ones take the place of others
			level = slog.LevelDebug
		}
		f.r.t.log.Log(ctx, level, "an event that was to be tried again was deleted from its stream", "function", f.r.function, "sequence", seq)
		f.mu.Lock()
		if l := f.awaited[seq]; l != nil {
			delete(f.awaited, seq)
			l.awaited = 0
			f.consider(l)
			f.begin()
		}
		f.mu.Unlock()
	}
}

func (f *flow) isDeleted(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, f.ackWait)
	defer cancel()
	stream, err := f.r.t.js.Stream(ctx, f.consumer.CachedInfo().Stream)
	if err != nil {
		return false
	}
	_, err = stream.GetMsg(ctx, seq)
	return errors.Is(err, jetstream.ErrMsgNotFound)
}

// wakeAt has a lane considered again at a time. f.mu is held.
func (f *flow) wakeAt(l *lane, at time.Time) {
	if !l.wake.IsZero() && !at.Before(l.wake) {
		return
	}
	l.wake = at
	heap.Push(&f.times, alarm{at, l})
	if f.times[0].lane == l {
		f.timer.Reset(time.Until(at))
	}
}

// wakeUp considers the lanes whose time has come.
func (f *flow) wakeUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.times) > 0 && time.Until(f.times[0].at) <= 0 {
		a := heap.Pop(&f.times).(alarm)
		if a.lane.wake.Equal(a.at) {
			a.lane.wake = time.Time{}
			f.consider(a.lane)
		}
	}
	f.begin()
	if len(f.times) > 0 {
		f.timer.Reset(time.Until(f.times[0].at))
	}
}

// alarm is a time at which a lane is considered again.
type alarm struct {
	at   time.Time
	lane *lane
}

// times has the first alarm in front, as a heap.
type times []alarm

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(x any)        { *t = append(*t, x.(alarm)) }
func (t *times) Pop() any {
	last := len(*t) - 1
	a := (*t)[last]
	(*t)[last] = alarm{}
	*t = (*t)[:last]
	return a
}
