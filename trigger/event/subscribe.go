package event

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// atOnce is how many messages of a subscription are handled at once. Others wait
// in the connection, as far as that keeps them.
const atOnce = 256

// listener handles the messages of one subscription as they come.
type listener struct {
	t        *Trigger
	function string
	spec     manifest.Subscribe
	sub      *nats.Subscription
	places   chan struct{}
	latest   atomic.Pointer[lastFailure]
}

func listenerKey(function string, s *manifest.Subscribe) string {
	return fmt.Sprintf("%s %v", function, *s)
}

// listen starts a listener. t.mu is held.
func (t *Trigger) listen(function string, spec *manifest.Subscribe) (*listener, error) {
	l := &listener{t: t, function: function, spec: *spec, places: make(chan struct{}, atOnce)}
	var err error
	if spec.Each {
		l.sub, err = t.conn.Subscribe(spec.Subject, l.take)
	} else {
		sum := sha256.Sum256([]byte(spec.Subject + " " + spec.Endpoint)) // else one of two that overlap would get it
		l.sub, err = t.conn.QueueSubscribe(spec.Subject, fmt.Sprintf("fn_%s_%x", function, sum[:4]), l.take)
	}
	return l, err
}

func (l *listener) take(m *nats.Msg) {
	select {
	case l.places <- struct{}{}:
	case <-l.t.ctx.Done():
		return
	}
	l.t.mu.Lock()
	closed := l.t.closed
	if !closed {
		l.t.tasks.Add(1)
	}
	l.t.mu.Unlock()
	if closed {
		return
	}
	go func() {
		defer l.t.tasks.Done()
		defer func() { <-l.places }()
		if err := l.handle(m); err != nil {
			l.latest.Store(&lastFailure{text: err.Error(), at: time.Now()})
			l.t.log.Warn("a message was not handled, and is gone: "+err.Error(), "function", l.function, "subject", m.Subject)
		} else if f := l.latest.Load(); f != nil {
			f.over.Store(true)
		}
	}()
}

func (l *listener) handle(m *nats.Msg) error {
	h := wire.Header(nil).Add(wire.KeySubject, m.Subject)
	h, depth, err := passHeader(h, m.Header)
	if err != nil {
		return err
	}
	inv := &trigger.Invocation{Function: l.function, Endpoint: l.spec.Endpoint, Trigger: trigger.Subscribe, Header: h, Depth: depth, Payload: m.Data}
	return finish(l.t.invoker.Invoke(l.t.work, inv))
}

// close takes no more messages.
func (l *listener) close() { l.sub.Drain() }
