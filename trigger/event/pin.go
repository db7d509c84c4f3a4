package event

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Where the order of events matters, one node alone is sent them: the server pins
// the consumer to who asks first, and tells it an id that its requests then have.
// Requests of others wait meanwhile. A node that has not asked for a while loses the pin.
const pinGroup = "fn"

// tooLarge is what the server says of an event that is larger than asked for.
const tooLarge = "Message Size Exceeds MaxBytes"

// errPin is the end of a reader whose pin has gone to another node.
var errPin = errors.New("another node reads the events")

// pin is what a puller knows of it. A nil one is that of a consumer that all read.
type pin struct {
	id    string // "" if it is not ours, for all we know
	inbox string // of answers to keepPin
	every time.Duration
}

// pinned makes a consumer one that a node has alone.
func pinned(cfg *jetstream.ConsumerConfig, ttl time.Duration) {
	cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{pinGroup}, ttl
}

func (p *pin) ticker() *time.Ticker {
	if p == nil {
		return &time.Ticker{}
	}
	return time.NewTicker(p.every)
}

// unknown reports whether a further request would wait for nothing, since the
// first gets the pin, and it has not come.
func (p *pin) unknown() bool { return p != nil && p.id == "" }

// request returns what a request for events has of it.
func (p *pin) request() string {
	switch {
	case p == nil:
		return ""
	case p.id == "":
		return `,"group":"` + pinGroup + `"`
	}
	return `,"group":"` + pinGroup + `","id":"` + p.id + `"`
}

// answered reports whether m is what keepPin was told, and no sign of a request for events.
func (p *pin) answered(m *nats.Msg) bool { return p != nil && m.Subject == p.inbox }

// is learns the pin from an event, and reports whether it has stayed the same.
func (p *pin) is(m *nats.Msg) bool {
	if p == nil {
		return true
	}
	id := m.Header.Get("Nats-Pin-Id")
	if p.id == "" {
		p.id = id
	}
	return id == p.id
}

// keepPin asks for an event of a byte, which is none, so that the server hears of us
// although we want nothing now.
func (p *puller) keepPin() error {
	if p.pin.unknown() {
		return nil
	}
	request := fmt.Appendf(nil, `{"batch":1,"max_bytes":1,"expires":%d%s}`, p.pin.every.Nanoseconds()/2, p.pin.request())
	return p.conn.PublishRequest(p.subject, p.pin.inbox, request)
}

// unpin lets another node have the events at once.
func (p *puller) unpin(info *jetstream.ConsumerInfo) {
	if p.pin == nil || p.pin.unknown() {
		return
	}
	p.conn.Request(fmt.Sprintf("$JS.API.CONSUMER.UNPIN.%s.%s", info.Stream, info.Name), []byte(`{"group":"`+pinGroup+`"}`), setupTimeout/5)
}
