package wire

import (
	"sync"
	"sync/atomic"
)

// maxIdle is how many goroutines of a session wait for requests at most.
const maxIdle = 64

// crew serves requests, each in a goroutine of its own. One that is done waits
// for the next: its stack has grown to what serving takes, and growing that of
// a new goroutine costs more than all else about it.
type crew struct {
	serve   func(*Exchange)
	next    chan *Exchange
	idle    atomic.Int32
	members sync.WaitGroup
}

func newCrew(serve func(*Exchange)) *crew {
	return &crew{serve: serve, next: make(chan *Exchange)}
}

// hand gives x to a goroutine. It does not wait, and is not called after dismiss.
func (c *crew) hand(x *Exchange) {
	select {
	case c.next <- x:
	default:
		c.members.Go(func() { c.work(x) })
	}
}

func (c *crew) work(x *Exchange) {
	for ok := true; ok; {
		c.serve(x)
		if c.idle.Add(1) > maxIdle {
			c.idle.Add(-1)
			return
		}
		x, ok = <-c.next
		c.idle.Add(-1)
	}
}

// dismiss sends home those who wait, and waits for those who serve.
func (c *crew) dismiss() {
	close(c.next)
	c.members.Wait()
}
