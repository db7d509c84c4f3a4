package manifest

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseEvents(t *testing.T) {
	def := func(change func(*Event)) Event {
		e := Event{Subject: "orders.*", Start: "new", Retries: 5, Backoff: time.Second, BackoffMax: 5 * time.Minute, InFlight: 32, Key: "subject", Order: OrderNone}
		change(&e)
		return e
	}
	tests := []struct {
		name, event string
		want        Event
	}{
		{"the defaults", `subject: orders.*`, def(func(*Event) {})},
		{"all keys", "{subject: \"orders.>\", endpoint: create, stream: ORDERS_1, start: all, retries: 0, backoff: 1ms, backoffMax: 24h, inFlight: 10000}",
			Event{Subject: "orders.>", Endpoint: "create", Stream: "ORDERS_1", Start: "all", Backoff: time.Millisecond, BackoffMax: 24 * time.Hour, InFlight: 10000, Key: "subject", Order: OrderNone}},
		{"a sequence number", `{subject: orders.*, start: 17}`, def(func(e *Event) { e.Start = "17" })},
		{"a sequence number in quotes", `{subject: orders.*, start: "17"}`, def(func(e *Event) { e.Start = "17" })},
		{"a time", `{subject: orders.*, start: 2026-01-02T15:04:05Z}`, def(func(e *Event) { e.Start = "2026-01-02T15:04:05Z" })},
		{"a time in quotes with a zone", `{subject: orders.*, start: "2026-01-02T15:04:05.5+02:00"}`, def(func(e *Event) { e.Start = "2026-01-02T15:04:05.5+02:00" })},
		{"the same time between retries", `{subject: orders.*, backoff: 5m}`, def(func(e *Event) { e.Backoff = 5 * time.Minute })},
		{"the order of a key", `{subject: orders.*, key: data.customer.id, order: key}`, def(func(e *Event) { e.Key, e.Order = "data.customer.id", OrderKey })},
		{"a key of the subject", `{subject: orders.*, key: subject.2, perKey: 3}`, def(func(e *Event) { e.Key, e.PerKey = "subject.2", 3 })},
		{"a key of a header", `{subject: orders.*, key: header.X-Customer}`, def(func(e *Event) { e.Key = "header.X-Customer" })},
		{"a rate", `{subject: orders.*, rate: 1000000/m}`, def(func(e *Event) { e.Rate = "1000000/m" })},
		{"debounce", `{subject: orders.*, debounce: 10ms}`, def(func(e *Event) { e.Debounce = 10 * time.Millisecond })},
		{"throttle", `{subject: orders.*, throttle: 1h}`, def(func(e *Event) { e.Throttle = time.Hour })},
		{"a window for IDs", `{subject: orders.*, dedupe: 24h}`, def(func(e *Event) { e.Dedupe = 24 * time.Hour })},
		{"a batch", `{subject: orders.*, batch: {size: 1000}}`, def(func(e *Event) { e.Batch = &Batch{Size: 1000, Window: 100 * time.Millisecond} })},
		{"a batch with a window", `{subject: orders.*, inFlight: 1, batch: {size: 2, window: 1m}}`, def(func(e *Event) { e.InFlight, e.Batch = 1, &Batch{Size: 2, Window: time.Minute} })},
		{"a filter", `{subject: orders.*, filter: {header: {Region: eu, Kind: [a, 7, true]}, data: {order.status: paid, order.paid: true, n: [3, -1.5, "3"]}}}`, def(func(e *Event) {
			e.Filter = &Filter{
				Header: map[string][]string{"Region": {"eu"}, "Kind": {"a", "7", "true"}},
				Data:   map[string][]any{"order.status": {"paid"}, "order.paid": {true}, "n": {3.0, -1.5, "3"}},
			}
		})},
		{"a subject that begins like the host's", `subject: fnord.dead.fn`, def(func(e *Event) { e.Subject = "fnord.dead.fn" })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse(FileName, []byte("triggers:\n  event:\n    - "+test.event+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if want := with(func(m *Manifest) { m.Triggers.Event = []Event{test.want} }); !reflect.DeepEqual(m, want) {
				t.Errorf("Parse:\n got %s\nwant %s", toJSON(t, m), toJSON(t, want))
			}
		})
	}
}

// The errors are those of the second trigger of two, whose item begins in column 5.
var eventMistakes = []struct{ name, event, want string }{
	{"no subject", `start: all`, `4:5: triggers.event[1] needs the key "subject"`},
	{"an unknown key", `{subject: b, inflight: 3}`, `4:18: unknown key "inflight" (did you mean "inFlight"?)`},
	{"text for a trigger", `orders.*`, `4:5: triggers.event[1] must be a mapping of keys, not "orders.*" (write key: value)`},
	{"a subject of the host", `subject: fn.hello`, `4:14: triggers.event[1].subject must not begin with fn., which the host uses itself`},
	{"a subject of dead letters", `subject: dead.>`, `4:14: triggers.event[1].subject must not begin with dead., which the host uses itself`},
	{"a subject of the server", `subject: $JS.API.>`, `4:14: triggers.event[1].subject must not begin with $, which is the server's`},
	{"a subject of answers", `subject: _INBOX.x`, `4:14: triggers.event[1].subject must not begin with _INBOX., which the host uses itself`},
	{"a wildcard first", `subject: "*.created"`, `4:14: triggers.event[1].subject must not begin with a wildcard, which would match subjects of the host (write a first part, such as events.>)`},
	{"all subjects", `subject: ">"`, `4:14: triggers.event[1].subject must not begin with a wildcard, which would match subjects of the host (write a first part, such as events.>)`},
	{"a wildcard inside", `subject: a.>.b`, `4:14: triggers.event[1].subject must have > at its end only, not "a.>.b"`},
	{"an empty subject", `subject: ""`, `4:14: triggers.event[1].subject must not be empty`},
	{"a subject too long", `subject: ` + strings.Repeat("a", 256), `4:14: triggers.event[1].subject must have at most 255 characters, not 256`},
	{"an endpoint in upper case", `{subject: b, endpoint: Create}`, `4:28: triggers.event[1].endpoint must be lower-case letters, digits and inner hyphens, not "Create" (write create)`},
	{"a stream with a dot", `{subject: b, stream: a.b}`, `4:26: triggers.event[1].stream must be a stream's name: letters, digits, _ and -, not "a.b"`},
	{"a start of nothing", `{subject: b, start: latest}`, `4:25: triggers.event[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "latest"`},
	{"the sequence number 0", `{subject: b, start: 0}`, `4:25: triggers.event[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "0"`},
	{"a negative sequence number", `{subject: b, start: -1}`, `4:25: triggers.event[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "-1"`},
	{"a fraction of a number", `{subject: b, start: 1.5}`, `4:25: triggers.event[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "1.5"`},
	{"a day alone", `{subject: b, start: 2026-01-02}`, `4:25: triggers.event[1].start must be new, all, a sequence number from 1, or a time such as 2026-01-02T15:04:05Z, not "2026-01-02"`},
	{"a list for a start", `{subject: b, start: [1]}`, `4:25: triggers.event[1].start must be text, not a list`},
	{"a window of a fraction", `{subject: b, dedupe: 1500ms}`, `4:26: triggers.event[1].dedupe must be whole seconds, not 1.5s`},
	{"a batch without a size", `{subject: b, batch: {window: 1s}}`, `4:25: triggers.event[1].batch needs the key "size"`},
	{"a batch of one", `{subject: b, batch: {size: 1}}`, `4:32: triggers.event[1].batch.size must be from 2 to 1000, not 1`},
	{"a batch in order", `{subject: b, order: key, batch: {size: 3}}`, `4:37: triggers.event[1].batch cannot stand beside order, perKey, debounce and throttle, which are of single events (remove one of the two)`},
	{"retries below 0", `{subject: b, retries: -1}`, `4:27: triggers.event[1].retries must be from 0 to 1000, not -1`},
	{"text for retries", `{subject: b, retries: many}`, `4:27: triggers.event[1].retries must be a whole number, not "many"`},
	{"a backoff without a unit", `{subject: b, backoff: 5}`, `4:27: triggers.event[1].backoff needs a unit (write "5s")`},
	{"a backoff of nothing", `{subject: b, backoff: 0s}`, `4:27: triggers.event[1].backoff must be from 1ms to 24h, not 0s`},
	{"a backoff beyond its end", `{subject: b, backoff: 10m}`, `4:27: triggers.event[1].backoff must be at most backoffMax, which is 5m, not 10m`},
	{"an end before the backoff", `{subject: b, backoffMax: 1ms}`, `4:30: triggers.event[1].backoffMax must be at least backoff, which is 1s, not 1ms`},
	{"none in flight", `{subject: b, inFlight: 0}`, `4:28: triggers.event[1].inFlight must be from 1 to 10000, not 0`},
	{"too many in flight", `{subject: b, inFlight: 10001}`, `4:28: triggers.event[1].inFlight must be from 1 to 10000, not 10001`},
	{"a key of something else", `{subject: b, key: body.x}`, `4:23: triggers.event[1].key must be subject, subject.N, header.NAME or data.FIELD, not "body.x"`},
	{"part 0 of the subject", `{subject: b, key: subject.0}`, `4:23: triggers.event[1].key must be subject, subject.N, header.NAME or data.FIELD, not "subject.0"`},
	{"a field without a name", `{subject: b, key: data.a..b}`, `4:23: triggers.event[1].key must be subject, subject.N, header.NAME or data.FIELD, not "data.a..b"`},
	{"an order of all", `{subject: b, order: keys}`, `4:25: triggers.event[1].order must be none or key, not "keys" (write key)`},
	{"an order and a limit a key", `{subject: b, order: key, perKey: 2}`, `4:38: triggers.event[1].perKey cannot stand beside order: key, where it is always 1 (remove it)`},
	{"a limit below 0", `{subject: b, perKey: -1}`, `4:26: triggers.event[1].perKey must be from 0 to 10000, not -1`},
	{"a rate without a time", `{subject: b, rate: "100"}`, `4:24: triggers.event[1].rate must be a number of events in a time, such as 100/s, 100/m or 100/h, not "100" (write 100/s)`},
	{"a rate that is a number", `{subject: b, rate: 100}`, `4:24: triggers.event[1].rate must be text, not 100 (write 100/s)`},
	{"a rate of 0", `{subject: b, rate: 0/s}`, `4:24: triggers.event[1].rate must be a number of events in a time, such as 100/s, 100/m or 100/h, not "0/s"`},
	{"a rate too high", `{subject: b, rate: 1000001/s}`, `4:24: triggers.event[1].rate must be from 1 to 1000000, not 1000001`},
	{"debounce too short", `{subject: b, debounce: 1ms}`, `4:28: triggers.event[1].debounce must be from 10ms to 1h, not 1ms`},
	{"throttle too long", `{subject: b, throttle: 2h}`, `4:28: triggers.event[1].throttle must be from 10ms to 1h, not 2h`},
	{"debounce and throttle", `{subject: b, debounce: 1s, throttle: 1s}`, `4:42: triggers.event[1].throttle cannot stand beside debounce (remove one of the two)`},
	{"debounce and an order", `{subject: b, debounce: 1s, order: key}`, `4:28: triggers.event[1].debounce cannot stand beside order: key (remove one of the two)`},
	{"throttle and an order", `{subject: b, order: key, throttle: 1s}`, `4:40: triggers.event[1].throttle cannot stand beside order: key (remove one of the two)`},
	{"debounce and a limit a key", `{subject: b, debounce: 1s, perKey: 2}`, `4:40: triggers.event[1].perKey cannot stand beside debounce, which handles one event of a key at a time (remove one of the two)`},
	{"a filter of nothing", `{subject: b, filter: {}}`, `4:26: triggers.event[1].filter filters nothing (write header: or data: below it)`},
	{"a filter of something else", `{subject: b, filter: {body: {a: b}}}`, `4:27: unknown key "body" (the keys here are header, data)`},
	{"a filter by a mapping", `{subject: b, filter: {data: {a: {b: c}}}}`, `4:37: triggers.event[1].filter.data.a must be text, a number, true or false, not a mapping`},
	{"a filter by no value", `{subject: b, filter: {data: {a: []}}}`, `4:37: triggers.event[1].filter.data.a must have from 1 to 64 items, not 0`},
	{"a filter by null", `{subject: b, filter: {header: {a: null}}}`, `4:39: triggers.event[1].filter.header.a has no value`},
	{"a filter of no header", `{subject: b, filter: {header: {a b: c}}}`, `4:36: "a b" is no name of a header`},
	{"the same trigger again", `{subject: orders.*, retries: 3}`, `4:15: triggers.event[1].subject repeats the trigger on line 3`},
}

func TestEventMistakes(t *testing.T) {
	for _, test := range eventMistakes {
		t.Run(test.name, func(t *testing.T) {
			checkMistake(t, "triggers:\n  event:\n  - subject: orders.*\n  - "+test.event+"\n", test.want)
		})
	}
}

func TestTriggersThatAreNoRepetition(t *testing.T) {
	data := "triggers:\n  event:\n  - subject: a\n  - {subject: a, endpoint: b}\n  - {subject: a, stream: B}\n  - subject: a.>\n"
	if m, err := Parse(FileName, []byte(data)); err != nil || len(m.Triggers.Event) != 4 {
		t.Errorf("%v, %v", m, err)
	}
	data = "triggers:\n  event:\n" + strings.Repeat("  - subject: a\n", MaxEvents+1)
	if _, err := Parse(FileName, []byte(data)); err == nil || !strings.Contains(err.Error(), "must have at most 64 items, not 65") {
		t.Error(err)
	}
}
