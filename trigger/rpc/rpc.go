// Package rpc is NATS in: the trigger that turns requests on subjects into
// invocations.
//
// A request on fn.orders runs the root endpoint of the function orders, one on
// fn.orders.create its endpoint create, and fn.orders.v3 and fn.orders.v3.create
// those of its version v3, whatever is released. Nodes share the queue group "fn". Headers
// of the request reach the function; Fn-Query stands for a query string. The
// reply holds the result's body; for an http endpoint also its headers, and its
// status in Fn-Status. A result that is larger than a message, or that never
// ends, cannot be had this way.
//
// Who may send a request is for NATS to say. Whom it is from functions learn where the host
// asks: a token in the header Authorization, "Bearer …", is verified, and not passed on.
//
// There is no answer to a subject of the server ($…) or of a function, which would be
// called by it: whoever asks names that subject, and need not be allowed to publish there.
//
// An error is a reply with the headers Nats-Service-Error-Code, an HTTP status,
// and Nats-Service-Error, its text, as NATS services have them (ADR-32), and
// Fn-Error, one of package wire's codes.
//
// The host also answers the discovery protocol of NATS services, as one service
// named "fnhost" with an endpoint for each endpoint of each function.
//
// A request to a function whose first version is being built waits for that.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

const (
	// Prefix is what the subjects of functions begin with.
	Prefix = "fn."
	// Queue is the queue group that nodes share.
	Queue = "fn"
)

// Headers of replies.
const (
	HeaderError     = "Nats-Service-Error"
	HeaderErrorCode = "Nats-Service-Error-Code"
	HeaderCode      = "Fn-Error"
	HeaderStatus    = "Fn-Status"
)

// HeaderQuery is the header of a request that stands for the query string of an
// HTTP request.
const HeaderQuery = "Fn-Query"

// backlog is how many messages may wait to be looked at. What they ask for then
// waits in the pool of the function, which bounds it.
const backlog = 8192

// drainTimeout bounds how long the server may take to say that nothing more comes.
const drainTimeout = 2 * time.Second

// maxReplyTime bounds requests to functions that have no timeout.
const maxReplyTime = 15 * time.Minute

// headerRoom is what the headers of a reply may take of the largest message.
const headerRoom = 64 << 10

// Config says how a Trigger works.
type Config struct {
	Conn    *nats.Conn
	Invoker trigger.Invoker
	// Identify returns who the token of a request proves to ask, encoded for functions. A
	// token that is none is refused. Default: nobody is identified, and what looks like a token is
	// a header like others.
	Identify func(token string) (identity string, err error)
	Logger   *slog.Logger // default: slog.Default
}

// Trigger is a [trigger.Trigger].
type Trigger struct {
	conn     *nats.Conn
	invoker  trigger.Invoker
	identify func(string) (string, error)
	log      *slog.Logger
	service  *service

	messages chan *nats.Msg // nil is the last one
	free     atomic.Int32   // goroutines that wait for a message
	running  sync.WaitGroup

	mu   sync.Mutex
	subs map[string][2]*nats.Subscription // by function
}

// New returns a Trigger that answers discovery, and knows of no functions yet.
func New(cfg Config) (*Trigger, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	t := &Trigger{identify: cfg.Identify,
		conn: cfg.Conn, invoker: cfg.Invoker, log: cfg.Logger,
		messages: make(chan *nats.Msg, backlog), subs: make(map[string][2]*nats.Subscription),
	}
	var err error
	if t.service, err = newService(t.conn); err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	t.free.Add(1)
	t.running.Go(t.receive)
	return t, nil
}

// Update implements [trigger.Trigger].
func (t *Trigger) Update(table *trigger.Table) {
	t.service.update(table)
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range table.Functions {
		t.ensure(name)
	}
	for name := range table.Pending { // they wait, as those over HTTP do
		t.ensure(name)
	}
	for name, subs := range t.subs {
		if _, pending := table.Pending[name]; !pending && table.Functions[name] == nil {
			drain(subs)
			delete(t.subs, name)
		}
	}
}

// ensure has the requests to a function come here. t.mu is held.
func (t *Trigger) ensure(name string) {
	if _, ok := t.subs[name]; ok {
		return
	}
	subs, err := t.subscribe(name)
	if err != nil {
		t.log.Error("no NATS requests: "+err.Error(), "function", name)
		return
	}
	t.subs[name] = subs
}

// subscribe takes the subjects of one function. All subscriptions share one
// channel, so that a function that is not called costs no goroutine.
func (t *Trigger) subscribe(name string) (subs [2]*nats.Subscription, err error) {
	for i, subject := range []string{Prefix + name, Prefix + name + ".>"} {
		if subs[i], err = t.conn.ChanQueueSubscribe(subject, Queue, t.messages); err != nil {
			drain(subs)
			return subs, err
		}
	}
	return subs, nil
}

// drain ends subscriptions, but still takes what the server has already sent.
func drain(subs [2]*nats.Subscription) {
	for _, s := range subs {
		if s != nil {
			s.Drain()
		}
	}
}

// drained waits until subs have taken all there was for them, or the connection
// does not answer.
func (t *Trigger) drained(subs [][2]*nats.Subscription) {
	deadline := time.Now().Add(drainTimeout)
	for _, pair := range subs {
		for _, s := range pair {
			for s.IsValid() && !t.conn.IsClosed() && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

// maxFree is how many goroutines wait for messages at most.
const maxFree = 64

// receive serves one message after the other. There is always a goroutine that
// waits for the next one: who takes it has another one wait first, if none does.
func (t *Trigger) receive() {
	for m := range t.messages {
		if m == nil {
			t.messages <- nil // for all others
			return
		}
		if t.free.Add(-1) == 0 {
			t.free.Add(1)
			t.running.Go(t.receive)
		}
		t.serve(m)
		if t.free.Add(1) > maxFree {
			t.free.Add(-1)
			return
		}
	}
}

// Close takes no more requests, and waits for those in progress. It is called once.
func (t *Trigger) Close() {
	t.mu.Lock()
	subs := slices.Collect(maps.Values(t.subs))
	clear(t.subs)
	t.mu.Unlock()
	for _, pair := range subs {
		drain(pair)
	}
	t.service.close()
	t.drained(subs)
	t.conn.FlushTimeout(drainTimeout) // the server knows of it; an error is that of the connection
	t.messages <- nil
	t.running.Wait()
}

func (t *Trigger) serve(m *nats.Msg) {
	start := time.Now()
	function, version, endpoint := t.target(m.Subject)
	inv := &trigger.Invocation{Function: function, Version: version, Endpoint: endpoint, Trigger: trigger.RPC, Payload: m.Data}
	err := t.requestHeader(m, inv)
	var reply *nats.Msg
	if err == nil {
		reply, err = t.invoke(inv)
	}
	t.service.count(function, endpoint, time.Since(start), err)
	if !mayAnswer(m.Reply) {
		return
	}
	if err != nil {
		reply = errorReply(err)
	}
	reply.Subject = m.Reply
	if err := t.conn.PublishMsg(reply); err != nil && !t.conn.IsClosed() {
		t.log.Warn("reply lost: "+err.Error(), "function", function, "invocation", inv.ID)
	}
}

// mayAnswer reports whether there is an answer to a subject.
func mayAnswer(reply string) bool {
	return reply != "" && !strings.HasPrefix(reply, "$") && !strings.HasPrefix(reply, Prefix)
}

// target returns what a subject names. A version stands before the endpoint; an
// endpoint that is called as a version is takes precedence.
func (t *Trigger) target(subject string) (function, version, endpoint string) {
	function, endpoint, _ = strings.Cut(strings.TrimPrefix(subject, Prefix), ".")
	first, rest, _ := strings.Cut(endpoint, ".")
	if !versionName.MatchString(first) {
		return function, "", endpoint
	}
	if fn := t.service.function(function); fn != nil && rest == "" && fn.Endpoint(first) != nil {
		return function, "", endpoint
	}
	return function, first, rest
}

var versionName = regexp.MustCompile(`^v[1-9][0-9]*$`)

// requestHeader passes the message's headers on, but for those of NATS and of the host.
func (t *Trigger) requestHeader(m *nats.Msg, inv *trigger.Invocation) error {
	if len(m.Header) == 0 {
		return nil
	}
	h := make(wire.Header, 0, 512)
	for key, values := range m.Header {
		if hasPrefixFold(key, "Nats-") || hasPrefixFold(key, "X-Fn-") || strings.HasPrefix(key, ":") || key == "" {
			continue
		}
		if t.identify != nil && strings.EqualFold(key, "Authorization") && len(values) > 0 {
			_, token, _ := strings.Cut(values[0], " ")
			identity, err := t.identify(strings.TrimSpace(token))
			if err != nil {
				return err
			}
			h = h.Add(wire.KeyIdentity, identity)
			continue
		}
		for _, value := range values {
			if !h.Fits(key, value) || len(h) > wire.MaxHeader-2<<10 {
				return wire.Errorf(wire.HeaderLarge, "the request's headers are too large")
			}
			if key == HeaderQuery {
				key = wire.KeyQuery
			}
			h = h.Add(key, value)
		}
	}
	inv.Header = h
	return nil
}

// hasPrefixFold is strings.HasPrefix without regard to case: NATS leaves names as
// they are sent.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func (t *Trigger) invoke(inv *trigger.Invocation) (*nats.Msg, error) {
	ctx := context.Background()
	if fn := t.service.function(inv.Function); fn != nil && fn.Manifest.Timeout == 0 {
		// It may stream for ever; a reply has to end.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, maxReplyTime)
		defer cancel()
	}
	result, err := t.invoker.Invoke(ctx, inv)
	if err != nil {
		return nil, err
	}
	limit := t.conn.MaxPayload()
	body, err := result.ReadAll(max(limit-headerRoom, limit/2))
	if err != nil {
		return nil, err
	}
	reply := &nats.Msg{Data: body}
	status, hasStatus := result.Header.Int(wire.KeyStatus)
	for key, value := range result.Header.All() {
		if key[0] == ':' || key == "Content-Type" && value == "application/json" {
			continue
		}
		if reply.Header == nil {
			reply.Header = make(nats.Header)
		}
		reply.Header.Add(key, strings.NewReplacer("\r", " ", "\n", " ").Replace(value))
	}
	if hasStatus && status != 204 {
		if reply.Header == nil {
			reply.Header = make(nats.Header)
		}
		reply.Header.Set(HeaderStatus, strconv.FormatInt(status, 10))
	}
	return reply, nil
}

// maxErrorText bounds the text of an error, so that its reply always fits.
const maxErrorText = 8 << 10

func errorReply(err error) *nats.Msg {
	e := wire.AsError(err)
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(e.Message[:min(len(e.Message), maxErrorText)])
	return &nats.Msg{Header: nats.Header{
		HeaderErrorCode: []string{strconv.Itoa(trigger.StatusOf(e))},
		HeaderError:     []string{text},
		HeaderCode:      []string{string(e.Code)},
	}}
}
