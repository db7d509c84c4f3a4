package functions

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
)

func TestPublish(t *testing.T) {
	host := &fakeHost{}
	var req *wire.Request
	host.do = func(_ context.Context, r *wire.Request) (*wire.Response, error) {
		req = r
		return &wire.Response{}, nil
	}
	ctx := NewContext(t.Context(), "f", fields(wire.KeyInvocation, "i", wire.KeyDepth, "4"), host)
	err := Publish(ctx, "orders.paid", in{3}, ID("one"), WithHeader("X-Color", "red"), WithHeader("nats-rollup", "all"))
	if err != nil {
		t.Fatal(err)
	}
	h := req.Header
	if h.Get(wire.KeyOp) != "publish" || h.Get(wire.KeyTarget) != "orders.paid" || h.Get(wire.KeyDepth) != "4" || h.Get(wire.KeyInvocation) != "i" ||
		h.Get("Nats-Msg-Id") != "one" || h.Get("X-Color") != "red" || h.Get("nats-rollup") != "" || string(req.Payload) != `{"N":3}` {
		t.Errorf("%q %s", h, req.Payload)
	}
	for _, text := range []any{"t", []byte("t")} {
		if err := Publish(ctx, "a", text); err != nil || string(req.Payload) != "t" {
			t.Errorf("%q, %v", req.Payload, err)
		}
	}
	if err := Publish(t.Context(), "a", nil); !errors.Is(err, ErrNoHost) {
		t.Errorf("outside of an invocation: %v", err)
	}
	if err := Publish(ctx, "a", func() {}); err == nil || !strings.Contains(err.Error(), `publish on "a"`) {
		t.Errorf("no JSON: %v", err)
	}
	host.do = func(context.Context, *wire.Request) (*wire.Response, error) { return nil, Errorf(Forbidden, "no") }
	if err := Publish(ctx, "a", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("refused: %v", err)
	}
}

// Headers of the protocol itself are none that an author may set.
func TestHeadersThatCannotBePublished(t *testing.T) {
	host := &fakeHost{}
	host.do = func(_ context.Context, r *wire.Request) (*wire.Response, error) {
		if got := r.Header.Get(wire.KeyTarget); got != "a" {
			t.Errorf("target %q", got)
		}
		n := 0
		for key := range r.Header.All() {
			if key == wire.KeyTarget {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d targets", n)
		}
		return &wire.Response{}, nil
	}
	if err := Publish(NewContext(t.Context(), "f", nil, host), "a", nil, WithHeader(wire.KeyTarget, "b"), WithHeader("", "x")); err != nil {
		t.Error(err)
	}
}

// published runs publish for an invocation with request headers, and returns what
// reaches the host.
func published(t *testing.T, h wire.Header, publish func(ctx context.Context) error) []*wire.Request {
	t.Helper()
	var list []*wire.Request
	host := &fakeHost{do: func(_ context.Context, r *wire.Request) (*wire.Response, error) {
		list = append(list, r)
		return &wire.Response{}, nil
	}}
	if err := publish(NewContext(t.Context(), "f", h, host)); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPublishOptions(t *testing.T) {
	at := time.Date(2030, 1, 2, 15, 4, 5, 6000, time.FixedZone("", 3600))
	h := published(t, nil, func(ctx context.Context) error {
		return Publish(ctx, "a", nil, At(at), TTL(1500*time.Millisecond), ExpectLast(0))
	})[0].Header
	if h.Get("Nats-Schedule") != "@at 2030-01-02T14:04:05.000006Z" || h.Get("Nats-TTL") != "1.5s" || h.Get("Nats-Expected-Last-Subject-Sequence") != "0" {
		t.Errorf("%q", h)
	}
	begin := time.Now()
	h = published(t, nil, func(ctx context.Context) error { return Publish(ctx, "a", nil, Delay(time.Hour)) })[0].Header
	due, err := time.Parse("@at "+time.RFC3339Nano, h.Get("Nats-Schedule"))
	if err != nil || due.Before(begin.Add(time.Hour)) || due.After(time.Now().Add(time.Hour)) {
		t.Errorf("%q, %v", h, err)
	}
	// Of two that contradict each other, the host says so.
	n := 0
	for key := range published(t, nil, func(ctx context.Context) error { return Publish(ctx, "a", nil, Delay(1), At(at)) })[0].Header.All() {
		if key == "Nats-Schedule" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d times", n)
	}
}

func TestPublishingCloudEvents(t *testing.T) {
	event := fields(wire.KeyStream, "events", wire.KeySequence, "7", wire.KeyInvocation, "i")
	get := func(h wire.Header, v any, options ...PublishOption) (wire.Header, []byte) {
		t.Helper()
		r := published(t, h, func(ctx context.Context) error { return Publish(ctx, "a", v, options...) })[0]
		return r.Header, r.Payload
	}
	h, payload := get(event, in{3}, CloudEvent("t"), WithHeader("CE-Subject", "a b%"), WithHeader("ce-color", "blue"), WithHeader("X", "y"))
	if h.Get("ce-specversion") != "1.0" || h.Get("ce-type") != "t" || h.Get("ce-source") != "/functions/f" || h.Get("ce-subject") != "a%20b%25" || h.Get("ce-color") != "blue" ||
		h.Get("X") != "y" || h.Get("Content-Type") != "application/json" || string(payload) != `{"N":3}` || h.Get("ce-id") == "" || h.Get("Nats-Msg-Id") != h.Get("ce-id") || h.Get(keyCloudEvent) != "" {
		t.Errorf("%q %s", h, payload)
	}
	if _, err := time.Parse(time.RFC3339, h.Get("ce-time")); err != nil {
		t.Error(err)
	}
	// The same when the event is tried again, and another for others.
	ids := func(h wire.Header, texts ...string) (list []string) {
		for _, r := range published(t, h, func(ctx context.Context) (err error) {
			for _, text := range texts {
				err = errors.Join(err, Publish(ctx, "a", text, CloudEvent("t")))
			}
			return err
		}) {
			list = append(list, r.Header.Get("ce-id"))
		}
		return list
	}
	first, again := ids(event, "x", "x", "y"), ids(event.Add(wire.KeyAttempt, "2"), "x", "x", "y")
	if !reflect.DeepEqual(first, again) || first[0] == first[1] || first[1] == first[2] {
		t.Errorf("%q, and again %q", first, again)
	}
	other := ids(fields(wire.KeyStream, "events", wire.KeySequence, "8"), "x", "x", "z")
	if first[0] == other[0] || first[1] == other[1] {
		t.Errorf("%q for another event", other)
	}
	if one, two := ids(fields(wire.KeyInvocation, "1"), "x"), ids(fields(wire.KeyInvocation, "2"), "x"); one[0] == two[0] {
		t.Errorf("%q for two invocations", one)
	}
	if h, _ := get(event, "x", CloudEvent("t"), ID("mine"), WithHeader("ce-source", "/s"), WithHeader("content-type", "text/html")); h.Get("ce-id") != "mine" ||
		h.Get("Nats-Msg-Id") != "mine" || h.Get("ce-source") != "/s" || h.Get("Content-Type") != "text/html" {
		t.Errorf("%q", h)
	}
}

func TestPublishingStructuredCloudEvents(t *testing.T) {
	tests := []struct {
		name    string
		data    any
		options []PublishOption
		want    map[string]any
	}{
		{"JSON", in{3}, nil, map[string]any{"data": map[string]any{"N": 3.0}, "datacontenttype": "application/json"}},
		{"bytes", []byte{0xff, 0}, nil, map[string]any{"data_base64": "/wA=", "datacontenttype": "application/octet-stream"}},
		{"text", "hi", nil, map[string]any{"data": "hi", "datacontenttype": "text/plain; charset=utf-8"}},
		{"nothing", nil, nil, map[string]any{"datacontenttype": "application/json"}},
		{"attributes", nil, []PublishOption{WithHeader("ce-subject", "a b"), WithHeader("ce-color", "é")}, map[string]any{"datacontenttype": "application/json", "subject": "a b", "color": "é"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options := append([]PublishOption{StructuredCloudEvent("t"), ID("1")}, test.options...)
			r := published(t, nil, func(ctx context.Context) error { return Publish(ctx, "a", test.data, options...) })[0]
			var got map[string]any
			if err := json.Unmarshal(r.Payload, &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			for key, value := range map[string]string{"specversion": "1.0", "id": "1", "source": "/functions/f", "type": "t"} {
				test.want[key] = value
			}
			if !reflect.DeepEqual(got, test.want) || r.Header.Get("Content-Type") != structuredMode || r.Header.Get("Nats-Msg-Id") != "1" || r.Header.Get("ce-id") != "" {
				t.Errorf("%q\n got %v\nwant %v", r.Header, got, test.want)
			}
		})
	}
}

func TestCloudEventsThatCannotBePublished(t *testing.T) {
	ctx := NewContext(t.Context(), "f", nil, &fakeHost{})
	for name, options := range map[string][]PublishOption{
		"two types":             {CloudEvent("a"), CloudEvent("b")},
		"two modes":             {CloudEvent("a"), StructuredCloudEvent("a")},
		"a name that is none":   {CloudEvent("a"), WithHeader("ce-a_b", "x")},
		"the name of the data":  {StructuredCloudEvent("a"), WithHeader("ce-data", "x")},
		"an empty attribute":    {CloudEvent("a"), WithHeader("ce-subject", "")},
		"data that are no JSON": {StructuredCloudEvent("a"), WithHeader("Content-Type", "application/json")},
	} {
		if err := Publish(ctx, "a", "text", options...); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one function publishes another one reads, in either mode.
func TestCloudEventsFromFunctionToFunction(t *testing.T) {
	for name, mode := range map[string]func(string) PublishOption{"binary": CloudEvent, "structured": StructuredCloudEvent} {
		t.Run(name, func(t *testing.T) {
			r := published(t, nil, func(ctx context.Context) error {
				return Publish(ctx, "a", in{3}, mode("t"), ID("1"), WithHeader("ce-subject", "ä \"100%\""), WithHeader("ce-color", "blue"))
			})[0]
			h := fields(wire.KeySubject, "a")
			for key, value := range r.Header.All() {
				if key[0] != ':' {
					h = h.Add(key, value)
				}
			}
			e := newEvent(h, r.Payload)
			if e.ID != "1" || e.Source != "/functions/f" || e.Type != "t" || string(e.Data) != `{"N":3}` || e.Header["ce-subject"][0] != "ä \"100%\"" ||
				e.Header["ce-color"][0] != "blue" || e.Header["ce-specversion"][0] != "1.0" || e.Header["ce-time"] == nil || e.Header["Content-Type"][0] != "application/json" {
				t.Errorf("%+v", e)
			}
		})
	}
}
