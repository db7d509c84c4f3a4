package functions

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestEventHandlers(t *testing.T) {
	at := time.Unix(1_700_000_000, 5)
	h := fields(wire.KeySubject, "orders.created", wire.KeyStream, "events", wire.KeySequence, "7", wire.KeyAttempt, "2", "X-Color", "red", "X-Color", "blue").
		AddInt(wire.KeyTime, at.UnixNano())
	var got Event
	handlers := map[string]any{
		"with a context": func(_ context.Context, e Event) error { got = e; return nil },
		"without":        func(e Event) error { got = e; return nil },
		"no error":       func(e Event) { got = e },
	}
	want := Event{Subject: "orders.created", Data: []byte(`{"N":3}`), Header: map[string][]string{"X-Color": {"red", "blue"}},
		Stream: "events", Sequence: 7, Time: at, Attempt: 2}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			got = Event{}
			if e := Handle("", handler); e.Kind != wire.EndpointEvent {
				t.Errorf("kind %q", e.Kind)
			}
			if _, err := run(t, handler, h, `{"N":3}`); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
			}
		})
	}
	if _, err := run(t, handlers["without"], h.Add(wire.KeyReplayed, "1"), ""); err != nil || !got.Replayed {
		t.Errorf("a replayed event: %+v, %v", got, err)
	}
	typed := func(_ context.Context, v in) error { got.Sequence = uint64(v.N); return nil }
	if _, err := run(t, typed, h, `{"N":3}`); err != nil || got.Sequence != 3 {
		t.Errorf("a type of its own: %d, %v", got.Sequence, err)
	}
	raw := func(_ context.Context, b []byte) error { got.Data = b; return nil }
	if _, err := run(t, raw, h, `text`); err != nil || string(got.Data) != "text" {
		t.Errorf("bytes: %q, %v", got.Data, err)
	}
	if _, err := run(t, handlers["without"], nil, ""); err != nil || got.Attempt != 1 || !got.Time.IsZero() {
		t.Errorf("of no stream: %+v, %v", got, err)
	}
}

func TestCloudEvents(t *testing.T) {
	const structured = "application/cloudevents+json; charset=utf-8"
	tests := []struct {
		name, contentType, body string
		header                  wire.Header
		id, source, typ, data   string
	}{
		{"binary", "application/json", `{"N":3}`, fields("ce-id", "1", "CE-Source", "/shop", "Ce-Type", "order.created", "ce-specversion", "1.0"), "1", "/shop", "order.created", `{"N":3}`},
		{"structured", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"N":3}}`, nil, "2", "/s", "t", `{"N":3}`},
		{"structured with text", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":"hi"}`, nil, "2", "/s", "t", `"hi"`},
		{"structured with bytes", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data_base64":"/wA="}`, nil, "2", "/s", "t", "\xff\x00"},
		{"structured without data", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t"}`, nil, "2", "/s", "t", ""},
		{"a content type of other case", "Application/CloudEvents+JSON", `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":1}`, nil, "2", "/s", "t", "1"},
		{"another version", structured, `{"specversion":"2.0","id":"2"}`, nil, "", "", "", `{"specversion":"2.0","id":"2"}`},
		{"no JSON", structured, `x`, nil, "", "", "", `x`},
		{"structured with text of another type", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t","datacontenttype":"text/plain","data":"hi"}`, nil, "2", "/s", "t", "hi"},
		{"an attribute that is a number", structured, `{"specversion":"1.0","id":"2","source":"/s","type":"t","n":3,"data":1}`, nil, "2", "/s", "t", "1"},
		{"a batch", "application/cloudevents-batch+json", `[]`, nil, "", "", "", "[]"},
		{"none", "application/json", `{"specversion":"1.0","id":"2"}`, nil, "", "", "", `{"specversion":"1.0","id":"2"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got Event
			_, err := run(t, func(e Event) { got = e }, test.header.Add("Content-Type", test.contentType), test.body)
			if err != nil || got.ID != test.id || got.Source != test.source || got.Type != test.typ || string(got.Data) != test.data {
				t.Errorf("%v; id %q, source %q, type %q, data %q", err, got.ID, got.Source, got.Type, got.Data)
			}
		})
	}
}

// Some senders write a message without headers.
func TestCloudEventsWithoutHeaders(t *testing.T) {
	message := fields(wire.KeySubject, "a")
	for _, test := range []struct {
		h          wire.Header
		body, data string
	}{
		{message, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"N":3}}`, `{"N":3}`},
		{message, `{"specversion":"1.0","id":"2","data":{"N":3}}`, ""},
		{message, `text with "specversion"`, ""},
		{nil, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"N":3}}`, ""},
	} {
		want := test.data
		if want == "" {
			want = test.body
		}
		if e := newEvent(test.h, []byte(test.body)); string(e.Data) != want || (e.ID == "2") != (test.data != "") {
			t.Errorf("%s: %+v", test.body, e)
		}
	}
}

// A handler of a type of its own gets the data of a CloudEvent, in either mode.
func TestTypedHandlersOfStructuredCloudEvents(t *testing.T) {
	h := fields("Content-Type", "application/cloudevents+json")
	body := `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"N":3}}`
	var n int
	if _, err := run(t, func(v in) { n = v.N }, h, body); err != nil || n != 3 {
		t.Errorf("%d, %v; want 3", n, err)
	}
}

func TestDecode(t *testing.T) {
	e := Event{Subject: "a", Data: []byte(`{"N":3}`)}
	var v in
	var b []byte
	var s string
	if err := errors.Join(e.Decode(&v), e.Decode(&b), e.Decode(&s)); err != nil || v.N != 3 || string(b) != `{"N":3}` || s != `{"N":3}` {
		t.Errorf("%+v %q %q %v", v, b, s, err)
	}
	e.Data = []byte("x")
	if err := e.Decode(&v); err == nil || !strings.HasPrefix(err.Error(), "event on a: ") {
		t.Errorf("no JSON: %v", err)
	}
}

func TestMarksOfErrors(t *testing.T) {
	plain := errors.New("plain")
	coded := Errorf(NotFound, "no item")
	tests := []struct {
		name  string
		err   error
		code  Code
		text  string
		retry time.Duration
		is    error
	}{
		{"plain", plain, Internal, "plain", 0, plain},
		{"permanent", Permanent(plain), Internal, "plain", -1, plain},
		{"permanent with a code", Permanent(coded), NotFound, "no item", -1, ErrNotFound},
		{"after a while", RetryAfter(plain, time.Minute), Internal, "plain", time.Minute, plain},
		{"after no while", RetryAfter(plain, -time.Minute), Internal, "plain", time.Millisecond, plain},
		{"wrapped", fmt.Errorf("outer: %w", Permanent(plain)), Internal, "outer: plain", -1, plain},
		{"of something wrapped", Permanent(fmt.Errorf("outer: %w", coded)), NotFound, "outer: no item", -1, ErrNotFound},
		{"joined", errors.Join(plain, Permanent(coded)), NotFound, "plain\nno item", -1, plain},
		{"joined with one that is not marked", errors.Join(coded, Permanent(plain)), Internal, "no item\nplain", -1, plain},
		{"marked twice", Permanent(RetryAfter(plain, time.Minute)), Internal, "plain", -1, plain},
		{"marked the other way", RetryAfter(Permanent(plain), time.Minute), Internal, "plain", time.Minute, plain},
		{"of a context", Permanent(context.DeadlineExceeded), wire.Timeout, context.DeadlineExceeded.Error(), -1, context.DeadlineExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := wire.AsError(test.err)
			if e.Code != test.code || e.Error() != test.text || e.Retry != test.retry || !errors.Is(test.err, test.is) {
				t.Errorf("%s %q %v, is %v", e.Code, e.Error(), e.Retry, errors.Is(test.err, test.is))
			}
		})
	}
	if Permanent(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("an error was made of none")
	}
	if coded.Retry != 0 || ErrNotFound.Retry != 0 {
		t.Error("an error that was marked is itself changed")
	}
}
