// Package functest runs handlers of functions without a host, for the tests of
// their authors.
//
// A [Host] stands in for the real one: it decodes the input, calls the handler
// and encodes its result exactly as a worker does. The zero Host is ready for
// use:
//
//	func TestHandle(t *testing.T) {
//		var host functest.Host
//		var out Greeting
//		if err := host.Invoke(t.Context(), Handle, Request{Name: "Ada"}, &out); err != nil {
//			t.Fatal(err)
//		}
//	}
//
// What a handler asks of its host is there, too: functions.Call reaches the
// handlers in [Host.Functions], functions.KV the buckets of [Host.Bucket], which are in
// memory, functions.Config returns [Host.Config], functions.Secret what is in [Host.Secrets], and functions.Caller [Host.Caller]; what goes to functions.Publish (under functions.Atomically, if
// all went well, and once for an event of a Stream and Sequence) is kept for [Host.Published], and what goes to functions.Log for [Host.Logs]. [Host.Send] runs a
// handler for an event, and [Host.Do] a handler for a whole HTTP request, which is how
// parameters, status and headers are tested, and endpoints made by httpfn.
//
// A handler runs on the goroutine of who invokes it, so that a debugger stops
// and t.FailNow works as in any other test.
package functest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fnhost/fnhost/functions"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/kv/memkv"
)

// Host stands in for the host of a function. It is safe for concurrent use; its
// fields must not be changed once it has run something.
type Host struct {
	// Name is that of the function under test. Default: "function".
	Name string
	// Functions are what functions.Call reaches, "orders" or "orders/create" for
	// an endpoint: handlers, or endpoints made by functions.Handle or httpfn.
	Functions map[string]any
	// Config is the configuration of all of them, which functions.Config returns: an
	// object, of values that encoding/json can encode. [Host.SetConfig] changes it.
	Config map[string]any

	// Secrets are what functions.Secret returns, by name.
	Secrets map[string]string
	// Caller is who asks, as functions.Caller returns it. Default: nobody.
	Caller functions.Identity

	feed       functions.Feed
	configured sync.Once
	configErr  error
	revision   atomic.Uint64
	lastID     atomic.Int64
	mu         sync.Mutex
	buckets    map[string]*memkv.Bucket
	blobs      map[string]*memkv.Blobs
	logs       []Record
	published  []Message

	committing sync.Mutex
	committed  map[string]bool // uses of functions.Atomically that had their effect
}

// Message is something that a handler has published.
type Message struct {
	Function string
	Subject  string
	ID       string // that functions.ID has given it, "" for none
	// Header is without the ID. What functions.Delay, At, TTL and ExpectLast say is in
	// headers of NATS: "Nats-Schedule", "Nats-TTL", "Nats-Expected-Last-Subject-Sequence".
	Header map[string][]string
	Data   []byte
}

// Record is something that a handler has logged.
type Record struct {
	Function   string
	Invocation string
	Level      slog.Level
	Message    string
	Attrs      map[string]any // as JSON decodes them: numbers are float64
}

// Request is what an invocation brings. The zero value is a POST of "/".
type Request struct {
	Method string // default: POST
	Path   string // below the function, with the query: "/items/7?limit=10"; default: "/"
	Host   string
	Header map[string][]string // an http.Header, for example
	Values map[string]string   // the wildcards of the manifest's route
	// Body is a []byte or string, taken as it is, an io.Reader, which is streamed,
	// or a value that is sent as JSON; nil for none.
	Body any
}

// Response is what a handler has answered.
type Response struct {
	Status int
	Header map[string][]string // an http.Header, but for the names' upper and lower case
	Body   []byte              // all of it, also of a stream
}

// Invoke runs handler, a function of one of the shapes of package functions or
// a [functions.Endpoint], with in, and stores its result in out, as functions.Call
// does: []byte and string go as they are, all else as JSON, and a nil out
// ignores the result. The error is one that functions.Call would return.
func (h *Host) Invoke(ctx context.Context, handler, in, out any) error {
	r, err := h.Do(ctx, handler, Request{Body: in})
	if err != nil || out == nil {
		return err
	}
	switch out := out.(type) {
	case *[]byte:
		*out = r.Body
		return nil
	case *string:
		*out = string(r.Body)
		return nil
	}
	if len(r.Body) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.Body, out); err != nil {
		return fmt.Errorf("functest: decode the result: %w", err)
	}
	return nil
}

// Do runs handler for a request. If it fails, the error is a *[functions.Error],
// with the stack for a panic; if it does so after the first part of a stream,
// the response holds what came before.
func (h *Host) Do(ctx context.Context, handler any, req Request) (*Response, error) {
	header, payload, body, err := req.encode()
	if err != nil {
		return nil, err
	}
	a, err := h.run(ctx, h.name(), handler, header.Add(wire.KeyTrigger, "http"), payload, body)
	if a == nil || !a.answered {
		return nil, err
	}
	r := &Response{Status: wire.StatusOf(a.header, 200), Header: make(map[string][]string), Body: a.body}
	for key, value := range a.header.All() {
		if key[0] != ':' {
			r.Header[key] = append(r.Header[key], value)
		}
	}
	return r, err
}

// Send runs handler for an event, once: what becomes of an error is the trigger's
// business, errors.As and a *[functions.Error] tell what it would be. Of the event,
// Data and Header are sent as they are, its attributes as those of a CloudEvent in
// binary mode, and an Attempt of 0 is the first. One with an Entry is what a kv trigger
// brings: the rest of it may be left out but for Bucket. One of the same Stream and Sequence
// that was sent before is the same event, come again: what has had its effect through
// functions.Atomically has it no second time, unless it is Replayed. Without a Sequence each is another.
func (h *Host) Send(ctx context.Context, handler any, e functions.Event) error {
	_, err := h.run(ctx, h.name(), handler, eventHeader(e).Add(wire.KeyTrigger, kindOf(e)), eventData(e), nil)
	return err
}

// SendBatch runs handler, which takes a slice, for several events at once. If it
// says that some of them failed, the error is a [functions.BatchError].
func (h *Host) SendBatch(ctx context.Context, handler any, events []functions.Event) error {
	var payload []byte
	for _, e := range events {
		payload = wire.AppendMessage(payload, eventHeader(e), eventData(e))
	}
	a, err := h.run(ctx, h.name(), handler, wire.Header(nil).Add(wire.KeyTrigger, "event").AddInt(wire.KeyBatch, int64(len(events))), payload, nil)
	if err != nil {
		return err
	}
	if _, some := a.header.Int(wire.KeyFailed); !some {
		return nil
	}
	items, err := wire.ItemErrors(a.body)
	if err != nil || len(items) == 0 {
		return err
	}
	failed := make(functions.BatchError)
	for i, e := range items {
		failed[i] = e
	}
	return failed
}

// kindOf returns the trigger that brings such events.
func kindOf(e functions.Event) string {
	if e.Entry != nil {
		return "kv"
	}
	return "event"
}

func eventData(e functions.Event) []byte {
	if e.Entry != nil && e.Data == nil {
		return e.Entry.Value
	}
	return e.Data
}

// change returns the headers of the change of a key, and completes the event by it.
func change(e *functions.Event) (h wire.Header) {
	if e.Entry == nil {
		return nil
	}
	if e.Bucket == "" {
		e.Bucket = "bucket"
	}
	if e.Subject == "" {
		e.Subject, e.Stream = "$KV."+e.Bucket+"."+e.Entry.Key, "KV_"+e.Bucket
	}
	if e.Sequence == 0 {
		e.Sequence = e.Entry.Revision
	}
	if e.Time.IsZero() {
		e.Time = e.Entry.Created
	}
	h = h.Add(wire.KeyBucket, e.Bucket).Add(wire.KeyKey, e.Entry.Key).Add(wire.KeyChange, e.Entry.Op.String())
	if !e.Entry.Expires.IsZero() {
		h = h.AddInt(wire.KeyExpires, e.Entry.Expires.UnixNano())
	}
	return h
}

func eventHeader(e functions.Event) wire.Header {
	known := change(&e)
	header := wire.Header(nil).Add(wire.KeySubject, e.Subject).Add(wire.KeyStream, e.Stream).AddInt(wire.KeyAttempt, int64(max(e.Attempt, 1)))
	header = append(header, known...)
	if e.Sequence > 0 {
		header = header.AddInt(wire.KeySequence, int64(e.Sequence))
	}
	if !e.Time.IsZero() {
		header = header.AddInt(wire.KeyTime, e.Time.UnixNano())
	}
	if e.Replayed {
		header = header.Add(wire.KeyReplayed, "1")
	}
	for key, values := range e.Header {
		for _, value := range values {
			header = header.Add(key, value)
		}
	}
	for key, value := range map[string]string{"ce-id": e.ID, "ce-source": e.Source, "ce-type": e.Type} {
		if value != "" && header.Get(key) == "" {
			header = header.Add(key, value)
		}
	}
	return header
}

// SetConfig changes the configuration, also while handlers run, and returns when those
// of functions.OnConfig were told of it. It returns an error for what is not JSON.
func (h *Host) SetConfig(config map[string]any) error {
	h.configured.Do(func() {}) // Config has been overtaken
	data, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("functest: configuration: %w", err)
	}
	if config == nil {
		data = []byte("{}")
	}
	return h.feed.Set(h.name(), h.revision.Add(1), data, runtime{h, h.name()})
}

// configure makes Config known, before anything runs.
func (h *Host) configure() error {
	h.configured.Do(func() {
		config := h.Config
		if config == nil {
			config = make(map[string]any)
		}
		data, err := json.Marshal(config)
		if err == nil {
			err = h.feed.Set(h.name(), 0, data, runtime{h, h.name()})
		}
		if err != nil {
			h.configErr = fmt.Errorf("functest: Host.Config: %w", err)
		}
	})
	return h.configErr
}

// Published returns what was published so far.
func (h *Host) Published() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.published)
}

func (h *Host) name() string {
	if h.Name == "" {
		return "function"
	}
	return h.Name
}

// Logs returns what was logged so far.
func (h *Host) Logs() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.logs)
}

func (h *Host) run(ctx context.Context, name string, handler any, header wire.Header, payload []byte, body io.Reader) (*answer, error) {
	if h.Caller.Account != "" {
		who, err := json.Marshal(h.Caller)
		if err != nil {
			return nil, fmt.Errorf("functest: %w", err)
		}
		header = header.Add(wire.KeyIdentity, string(who))
	}
	e, ok := handler.(functions.Endpoint)
	if !ok {
		e = functions.Handle("", handler)
	}
	if err := e.Err(); err != nil {
		return nil, err
	}
	if err := h.configure(); err != nil {
		return nil, err
	}
	header = header.Add(wire.KeyInvocation, fmt.Sprintf("test-%d", h.lastID.Add(1)))
	if e.Name != "" {
		header = header.Add(wire.KeyEndpoint, e.Name)
	}
	a := &answer{ctx: ctx}
	ctx = functions.NewContext(ctx, name, header, runtime{h, name})
	err := e.Serve(ctx, &functions.Request{Header: header, Payload: payload, Body: body}, a)
	if err == nil && !a.answered {
		err = wire.Errorf(wire.Internal, "the handler returned without an answer")
	}
	if err != nil {
		return a, wire.AsError(err)
	}
	return a, nil
}

// encode returns the request as the gateway would send it.
func (req *Request) encode() (h wire.Header, payload []byte, body io.Reader, err error) {
	method, uri := req.Method, req.Path
	if method == "" {
		method = "POST"
	}
	if !strings.HasPrefix(uri, "/") {
		uri = "/" + uri
	}
	h = h.Add(wire.KeyMethod, method).Add(wire.KeyURI, uri).Add(wire.KeyHost, req.Host)
	if _, query, ok := strings.Cut(uri, "?"); ok {
		h = h.Add(wire.KeyQuery, query)
	}
	for name, value := range req.Values {
		h = h.Add(wire.KeyValue, name+"="+value)
	}
	for name, values := range req.Header {
		for _, value := range values {
			h = h.Add(name, value)
		}
	}
	switch b := req.Body.(type) {
	case nil:
	case []byte:
		payload = b
	case string:
		payload = []byte(b)
	case io.Reader:
		body = b
	default:
		if payload, err = json.Marshal(b); err != nil {
			return nil, nil, nil, fmt.Errorf("functest: encode the input: %w", err)
		}
		if h.Get("Content-Type") == "" {
			h = h.Add("Content-Type", "application/json")
		}
	}
	return h, payload, body, nil
}

// runtime is the host, as a handler reaches it.
type runtime struct {
	h    *Host
	name string
}

const maxDepth = 32 // as a host has it

// Do implements [functions.Runtime].
func (r runtime) Do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	op := req.Header.Get(wire.KeyOp)
	switch kind, _, _ := strings.Cut(op, "."); kind {
	case "kv":
		return r.kv(ctx, req)
	case "blob":
		return r.blob(ctx, req)
	}
	switch op {
	case "publish":
		r.publish(req.Header, req.Payload)
		return &wire.Response{}, nil
	case "committed":
		return r.isCommitted(req.Header), nil
	case "commit":
		return r.commitOnce(ctx, req)
	case "secret":
		return r.secret(req.Header.Get(wire.KeyTarget))
	case "invoke":
	default:
		return nil, wire.Errorf(wire.BadRequest, "functest does not know the operation %q", op)
	}
	target := req.Header.Get(wire.KeyTarget)
	handler, ok := r.h.Functions[target]
	if !ok {
		return nil, wire.Errorf(wire.NoFunction, "no function %q in functest.Host.Functions", target)
	}
	depth, _ := req.Header.Int(wire.KeyDepth)
	if depth >= maxDepth {
		return nil, wire.Errorf(wire.Loop, "%d functions have called each other to get here", depth)
	}
	name, _, _ := strings.Cut(target, "/")
	header := wire.Header(nil).Add(wire.KeyTrigger, "call").Add(wire.KeyCaller, r.name).AddInt(wire.KeyDepth, depth+1)
	a, err := r.h.run(ctx, name, handler, header, req.Payload, req.Body)
	if err != nil {
		return nil, err
	}
	return &wire.Response{Header: a.header, Payload: a.body}, nil
}

func (r runtime) secret(name string) (*wire.Response, error) {
	value, ok := r.h.Secrets[name]
	if !ok {
		return nil, wire.Errorf(wire.NotFound, "no secret %q in functest.Host.Secrets", name)
	}
	return &wire.Response{Payload: []byte(value)}, nil
}

func (r runtime) publish(h wire.Header, data []byte) {
	m := Message{Function: r.name, Subject: h.Get(wire.KeyTarget), Header: make(map[string][]string), Data: bytes.Clone(data)}
	for key, value := range h.All() {
		switch {
		case key == "Nats-Msg-Id":
			m.ID = value
		case key[0] != ':':
			m.Header[key] = append(m.Header[key], value)
		}
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.published = append(r.h.published, m)
}

// Feed implements [functions.Runtime].
func (r runtime) Feed() *functions.Feed { return &r.h.feed }

// Log implements [functions.Runtime].
func (r runtime) Log(_ context.Context, invocation string, level slog.Level, message string, attrs []byte) {
	record := Record{Function: r.name, Invocation: invocation, Level: level, Message: message}
	if len(attrs) > 0 {
		json.Unmarshal(attrs, &record.Attrs)
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.logs = append(r.h.logs, record)
}

// answer is a [functions.Responder] that keeps all.
type answer struct {
	ctx      context.Context
	answered bool
	header   wire.Header
	body     []byte
}

func (a *answer) Respond(h wire.Header, payload []byte, _ bool) error {
	if a.answered {
		return errors.New("functest: answered twice")
	}
	a.answered, a.header, a.body = true, h, bytes.Clone(payload)
	return a.ctx.Err()
}

func (a *answer) Write(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err // nobody reads any more
	}
	a.body = append(a.body, p...)
	return len(p), nil
}
