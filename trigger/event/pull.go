package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A request for events ends by itself after requestTime. Meanwhile the server
// gives a sign each heartbeat: without one for two of them it has forgotten.
const (
	requestTime = 30 * time.Second
	heartbeat   = 5 * time.Second
)

// puller asks the server for as many events as there are places for. What a client
// library would keep in advance would wait here without anybody telling the server
// that it is still wanted, and would be sent again.
type puller struct {
	conn     *nats.Conn
	subject  string // of requests
	inbox    string
	places   int
	messages chan *nats.Msg
	wake     chan struct{} // has one when there may be something to ask for
	busy     atomic.Int64  // events that have not ended
	asked    atomic.Int64  // events that were asked for and have not come
	heard    time.Time     // when the server gave its latest sign
	filter   *filter       // nil for none
	rate     *bucket       // nil for no limit
	pin      *pin          // nil if others may read too
}

// read takes events until the reader is canceled, or the consumer is gone.
func (r *reader) read(consumer jetstream.Consumer) error {
	info := consumer.CachedInfo()
	n := places(&r.spec)
	p := &puller{
		conn: r.t.conn, subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", info.Stream, info.Name), inbox: r.t.conn.NewInbox(), places: n,
		messages: make(chan *nats.Msg, n+64), wake: make(chan struct{}, 1), filter: newFilter(r.spec.Filter), rate: newBucket(r.spec.Rate),
	}
	sub, err := p.conn.ChanSubscribe(p.inbox, p.messages)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	if isPinned(&r.spec) {
		p.pin = &pin{inbox: p.inbox + ".pin", every: r.t.ackWait / 4}
		answers, err := p.conn.ChanSubscribe(p.pin.inbox, p.messages)
		if err != nil {
			sub.Unsubscribe()
			return fmt.Errorf("consumer: %w", err)
		}
		defer answers.Unsubscribe()
	}
	start := func(m *message) {
		p.busy.Add(1)
		r.t.tasks.Go(func() {
			r.handle(m)
			p.end()
		})
	}
	f := newFlow(r, p, consumer)
	if f != nil {
		start = f.add
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		r.t.tasks.Go(func() { f.run(ctx) })
	}
	b := newBatcher(r, p)
	if b != nil {
		start = b.add
	}
	if f != nil || b != nil {
		pauses, err := p.conn.ChanSubscribe(pauseAdvisory+info.Stream+"."+info.Name, p.messages)
		if err != nil {
			sub.Unsubscribe()
			return fmt.Errorf("consumer: %w", err)
		}
		defer pauses.Unsubscribe()
	}
	err = p.run(r.ctx, r.filtered(p, r.once(p, start)))
	if f != nil {
		f.close()
	}
	if b != nil {
		b.close()
	}
	p.handBack(sub)
	if errors.Is(err, errPin) {
		r.t.log.Info("another node reads the events from now on", "function", r.function, "subject", r.spec.Subject)
		return nil
	}
	p.unpin(info)
	if err != nil && !errors.Is(err, errPaused) {
		return fmt.Errorf("consumer: %w", err)
	}
	return nil
}

func (p *puller) run(ctx context.Context, start func(*message)) error {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	keep := p.pin.ticker()
	defer keep.Stop()
	if p.rate != nil {
		defer p.rate.timer.Stop()
	}
	for {
		if err := p.ask(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case m := <-p.messages:
			if !p.pin.answered(m) {
				p.heard = time.Now()
			}
			if err := p.take(m, start); err != nil {
				return err
			}
		case <-ticker.C:
			if p.asked.Load() > 0 && time.Since(p.heard) > 2*heartbeat {
				return errors.New("the server gives no sign")
			}
		case <-keep.C:
			if err := p.keepPin(); err != nil {
				return err
			}
		case <-p.rate.more():
		}
	}
}

// end gives a place back, and wakes who asks if that is worth it by now.
func (p *puller) end() {
	p.busy.Add(-1)
	if p.wanted() > 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// wanted returns how many events to ask for: none if only a few places are free,
// and others are on their way.
func (p *puller) wanted() int {
	asked := p.asked.Load()
	free := p.places - int(p.busy.Load()+asked)
	if asked > 0 && (free < max(p.places/4, 1) || p.pin.unknown()) {
		return 0
	}
	return max(free, 0)
}

// ask asks for events.
func (p *puller) ask() error {
	n := p.wanted()
	if p.rate != nil && n > 0 {
		n = p.rate.take(n, int(p.asked.Load()))
	}
	if n == 0 {
		return nil
	}
	if p.asked.Add(int64(n)) == int64(n) {
		p.heard = time.Now()
	}
	request := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d%s}`, n, requestTime.Nanoseconds(), heartbeat.Nanoseconds(), p.pin.request())
	return p.conn.PublishRequest(p.subject, p.inbox, request)
}

// take starts with a message, or learns from the server how a request has ended.
func (p *puller) take(m *nats.Msg, start func(*message)) error {
	if strings.HasPrefix(m.Reply, "$JS.ACK.") {
		if !p.pin.is(m) {
			p.giveBack(m)
			return errPin
		}
		start(&message{msg: m, conn: p.conn})
		p.asked.Add(-1)
		return nil
	}
	if strings.HasPrefix(m.Subject, pauseAdvisory) {
		return pauseOf(m)
	}
	switch status := m.Header.Get("Status"); status {
	case "100": // a sign of life
		return nil
	case "404", "408": // nothing for now; the time is over
		if p.pin.answered(m) {
			return nil
		}
		left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			return fmt.Errorf("status %s without a number of messages", status)
		}
		left = min(left, int(p.asked.Load()))
		p.asked.Add(-int64(left))
		p.rate.giveBack(left)
		return nil
	case "409":
		if p.pin.answered(m) && m.Header.Get("Description") == tooLarge {
			return nil
		}
		return fmt.Errorf("%s %s", status, m.Header.Get("Description"))
	case "423":
		return errPin
	default:
		return fmt.Errorf("%s %s", status, m.Header.Get("Description"))
	}
}

// handBack ends the requests, and returns events that have come all the same.
func (p *puller) handBack(sub *nats.Subscription) {
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	if err := sub.Drain(); err != nil {
		return // the connection has ended
	}
	timeout := time.After(setupTimeout)
	for {
		select {
		case m := <-p.messages:
			p.giveBack(m)
			continue
		default:
		}
		select {
		case m := <-p.messages:
			p.giveBack(m)
		case <-drained:
			for len(p.messages) > 0 {
				p.giveBack(<-p.messages)
			}
			return
		case <-timeout:
			return
		}
	}
}

func (p *puller) giveBack(m *nats.Msg) {
	if strings.HasPrefix(m.Reply, "$JS.ACK.") {
		(&message{msg: m, conn: p.conn}).Nak()
	}
}

// message is a [jetstream.Msg].
type message struct {
	msg     *nats.Msg
	conn    *nats.Conn
	settled atomic.Bool
}

func (m *message) Metadata() (*jetstream.MsgMetadata, error) {
	meta, err := m.msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &jetstream.MsgMetadata{
		Sequence:     jetstream.SequencePair{Consumer: meta.Sequence.Consumer, Stream: meta.Sequence.Stream},
		NumDelivered: meta.NumDelivered, NumPending: meta.NumPending, Timestamp: meta.Timestamp, Stream: meta.Stream, Consumer: meta.Consumer, Domain: meta.Domain,
	}, nil
}

func (m *message) Data() []byte         { return m.msg.Data }
func (m *message) Headers() nats.Header { return m.msg.Header }
func (m *message) Subject() string      { return m.msg.Subject }
func (m *message) Reply() string        { return m.msg.Reply }

// settle tells the server what has become of the event, once.
func (m *message) settle(text string) error {
	if m.settled.Swap(true) {
		return jetstream.ErrMsgAlreadyAckd
	}
	return m.conn.Publish(m.msg.Reply, []byte(text))
}

func (m *message) Ack() error  { return m.settle("+ACK") }
func (m *message) Nak() error  { return m.settle("-NAK") }
func (m *message) Term() error { return m.settle("+TERM") }

func (m *message) TermWithReason(reason string) error { return m.settle("+TERM " + reason) }

func (m *message) NakWithDelay(d time.Duration) error {
	text, err := json.Marshal(struct {
		Delay time.Duration `json:"delay"`
	}{d})
	if err != nil {
		return err
	}
	return m.settle("-NAK " + string(text))
}

func (m *message) InProgress() error {
	if m.settled.Load() {
		return jetstream.ErrMsgAlreadyAckd
	}
	return m.conn.Publish(m.msg.Reply, []byte("+WPI"))
}

func (m *message) DoubleAck(ctx context.Context) error {
	if m.settled.Swap(true) {
		return jetstream.ErrMsgAlreadyAckd
	}
	_, err := m.conn.RequestWithContext(ctx, m.msg.Reply, []byte("+ACK"))
	return err
}
