package event

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// keeper tells the server that work on an event goes on. It is used again and
// again, since most events end long before it has anything to say.
type keeper struct {
	mu    sync.Mutex
	m     jetstream.Msg // nil if there is none
	every time.Duration
	timer *time.Timer
}

// keep has the server told of m, until release.
func (t *Trigger) keep(m jetstream.Msg) *keeper {
	k, _ := t.keepers.Get().(*keeper)
	if k == nil {
		k = &keeper{every: t.ackWait / 3}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m = m
	if k.timer == nil {
		k.timer = time.AfterFunc(k.every, k.tick)
	} else {
		k.timer.Reset(k.every)
	}
	return k
}

func (t *Trigger) release(k *keeper) {
	k.mu.Lock()
	k.m = nil
	k.timer.Stop()
	k.mu.Unlock()
	t.keepers.Put(k)
}

func (k *keeper) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m != nil {
		k.m.InProgress()
		k.timer.Reset(k.every)
	}
}
