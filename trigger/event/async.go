package event

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// Asynchronous calls are messages on $FN.call.<function>.<id> of the stream "calls",
// until they have ended. Each function that has got one has a consumer, which is
// made before the first is stored; a function without any costs nothing.
const (
	CallStream   = "calls"
	callPrefix   = "$FN.call."
	cancelPrefix = "$FN.cancel." // tells all nodes of a run that was canceled

	headerCallVersion = "Fn-Version"
	headerCallback    = "Fn-Callback"
	headerGiven       = "Fn-Given" // the client has chosen the ID

	keepCalls = 7 * 24 * time.Hour // that could not be run
)

// Runs keeps what has become of calls and events.
type Runs interface {
	// Wants reports whether an attempt at an event that went well is to be recorded.
	Wants(function string) bool
	// Record stores an attempt at an event. It does not wait for that.
	Record(run *trigger.Run)
	// Put stores the state of a call, for that long if it has ended, and sets its
	// Revision. The error is of code Conflict if what is stored is of another one.
	Put(ctx context.Context, run *trigger.Run, keep time.Duration) error
	// Get returns a call of a function, "*" for any. The error is of code NotFound if
	// there is none of that ID, or it waits for its first attempt.
	Get(ctx context.Context, function, id string) (*trigger.Run, error)
	// Callback has the end of a call told to its callback URL, if it has one. It is
	// stored when Callback returns nil.
	Callback(ctx context.Context, run *trigger.Run) error
}

// calls is the part of a Trigger that is for asynchronous calls.
type calls struct {
	t     *Trigger
	runs  Runs
	table atomic.Pointer[trigger.Table]

	adding sync.Mutex // held while a consumer is made
	mu     sync.Mutex
	known  map[string]bool                    // functions that have a consumer
	reader map[string]*reader                 // of those that are in the table
	active map[string]context.CancelCauseFunc // what runs here, by ID
	ended  map[string]chan struct{}           // for those who wait for a run, by ID
}

// openCalls begins with the calls that are stored.
func (t *Trigger) openCalls(runs Runs) error {
	c := &calls{t: t, runs: runs, known: make(map[string]bool), reader: make(map[string]*reader),
		active: make(map[string]context.CancelCauseFunc), ended: make(map[string]chan struct{})}
	c.table.Store(&trigger.Table{})
	sub, err := t.conn.Subscribe(cancelPrefix+"*", func(m *nats.Msg) { c.stop(strings.TrimPrefix(m.Subject, cancelPrefix)) })
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	context.AfterFunc(t.ctx, func() { sub.Unsubscribe() })
	t.calls = c
	t.tasks.Go(c.load)
	return nil
}

// load finds the functions that have calls from before.
func (c *calls) load() {
	for c.t.ctx.Err() == nil {
		names, err := c.stored()
		if err == nil {
			c.mu.Lock()
			for _, name := range names {
				c.known[name] = true
			}
			if c.t.ctx.Err() == nil {
				c.beginKnown(c.table.Load()) // while no other one comes
			}
			c.mu.Unlock()
			return
		}
		if c.t.ctx.Err() == nil {
			c.t.log.Error("asynchronous calls from before do not run yet: " + err.Error())
		}
		select {
		case <-c.t.ctx.Done():
		case <-time.After(c.t.retrySetup):
		}
	}
}

// stored returns the functions of which the stream has calls.
func (c *calls) stored() (names []string, err error) {
	ctx, cancel := context.WithTimeout(c.t.ctx, setupTimeout)
	defer cancel()
	stream, err := c.t.js.Stream(ctx, CallStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return nil, nil // or a server without streams
	}
	if err != nil {
		return nil, err
	}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if name := info.Config.Metadata["function"]; name != "" && info.NumPending+uint64(info.NumAckPending) > 0 {
			names = append(names, name)
		}
	}
	return names, list.Err()
}

// update starts and ends readers.
func (c *calls) update(table *trigger.Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.t.ctx.Err() != nil {
		return
	}
	c.table.Store(table)
	for name, r := range c.reader {
		if fn := table.Functions[name]; fn == nil || callSpec(name, fn.Manifest.Async) != r.spec {
			r.cancel()
			delete(c.reader, name)
		}
	}
	c.beginKnown(table)
}

// beginKnown starts the readers of those functions that have calls. c.mu is held.
func (c *calls) beginKnown(table *trigger.Table) {
	for name := range c.known {
		if fn := table.Functions[name]; fn != nil && c.reader[name] == nil {
			c.begin(c.newReader(name, fn.Manifest.Async))
		}
	}
}

// begin starts a reader. c.mu is held.
func (c *calls) begin(r *reader) {
	r.ctx, r.cancel = context.WithCancel(c.t.ctx)
	c.reader[r.function] = r
	c.t.tasks.Go(r.run)
}

func callSpec(function string, a manifest.Async) manifest.Event {
	if a.InFlight == 0 { // stored by a host that knew no asynchronous calls
		a = manifest.DefaultAsync()
	}
	return manifest.Event{Subject: callPrefix + function + ".*", Stream: CallStream, Start: "all",
		Retries: a.Retries, Backoff: a.Backoff, BackoffMax: a.BackoffMax, InFlight: a.InFlight}
}

func (c *calls) newReader(function string, a manifest.Async) *reader {
	spec := callSpec(function, a)
	return &reader{t: c.t, key: "call_" + function, function: function, source: Source{Kind: trigger.Async, Name: spec.Subject, Spec: spec}, spec: spec, calls: c}
}

// add makes the consumer of a function, before its first call.
func (c *calls) add(ctx context.Context, function string, a manifest.Async) error {
	c.mu.Lock()
	known := c.reader[function] != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	if err := c.ensureStream(ctx); err != nil {
		return err
	}
	r := c.newReader(function, a)
	r.ctx = ctx
	if _, err := r.setUp(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.t.ctx.Err() != nil {
		return wire.Errorf(wire.Unavailable, "the host stops")
	}
	c.known[function] = true
	if c.reader[function] == nil {
		c.begin(r)
	}
	return nil
}

func (c *calls) ensureStream(ctx context.Context) error {
	c.t.streams.Lock()
	defer c.t.streams.Unlock()
	_, err := c.t.ownStream(ctx, jetstream.StreamConfig{
		Name: CallStream, Description: "asynchronous calls that have not ended", Subjects: []string{callPrefix + ">"},
		Retention: jetstream.WorkQueuePolicy, MaxAge: keepCalls, AllowDirect: true,
	})
	return err
}

// CheckRunID returns what is wrong with the ID of a run, nil for nothing.
func CheckRunID(id string) error {
	ok := id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
	if !ok {
		return wire.Errorf(wire.BadRequest, "run ID %.80q: want 1 to 64 letters, digits, _ and -", id)
	}
	return nil
}

// Submit stores an asynchronous call, and returns its run, which is queued, or,
// if one of the given ID was stored before, as it is. The error is of code Conflict if
// that is one of another function, endpoint, caller or body, TooLarge for a call over the server's
// limit of a message, and Unavailable if it cannot be stored.
func (t *Trigger) Submit(ctx context.Context, inv *trigger.Invocation, a manifest.Async, o trigger.AsyncOptions) (*trigger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if o.ID != "" {
		if run, err := t.FindRun(ctx, o.ID); !errors.Is(err, notFound) {
			return sameCall(run, inv, err)
		}
	}
	id := o.ID
	if id == "" {
		id = inv.ID
	}
	m := nats.NewMsg(callPrefix + inv.Function + "." + id)
	for key, value := range map[string]string{HeaderEndpoint: inv.Endpoint, headerCallVersion: inv.Version, headerCallback: o.Callback} {
		if value != "" {
			m.Header.Set(key, value)
		}
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectStream(CallStream)}
	if o.ID != "" {
		m.Header.Set(headerGiven, "true")
		opts = append(opts, jetstream.WithExpectLastSequenceForSubject(0, callPrefix+"*."+id))
	}
	m.Data = append(append(binary.BigEndian.AppendUint32(nil, uint32(len(inv.Header))), inv.Header...), inv.Payload...)
	if limit := t.MaxPayload(); int64(m.Size()) > limit {
		return nil, wire.Errorf(wire.TooLarge, "an asynchronous call of %d bytes, headers included, is over the limit of %d: send a reference to what is large", m.Size(), limit)
	}
	err := t.calls.add(ctx, inv.Function, a)
	var ack *jetstream.PubAck
	if err == nil {
		ack, err = t.js.PublishMsg(ctx, m, opts...)
	}
	if isWrongLast(err) {
		run, e := t.FindRun(ctx, id)
		if !isComing(err) || !errors.Is(e, notFound) { // else whoever called asks again
			return sameCall(run, inv, e)
		}
	}
	if err != nil {
		return nil, wire.Errorf(wire.Unavailable, "the call cannot be stored: %v", err)
	}
	run := queuedRun(m, ack.Sequence, time.Now())
	run.Input.Size = int64(len(inv.Payload))
	return run, nil
}

var notFound = &wire.Error{Code: wire.NotFound}

// sameCall returns the run that was found of the ID of a call.
func sameCall(run *trigger.Run, inv *trigger.Invocation, err error) (*trigger.Run, error) {
	if err != nil {
		return nil, err
	}
	if run.Function != inv.Function || run.Endpoint != inv.Endpoint || run.Account != accountOf(inv.Header) {
		return nil, wire.Errorf(wire.Conflict, "the ID %s is that of another call: choose one for each call", run.ID)
	}
	if run.Input.Hash != "" && run.Input.Hash != hashOf(inv.Payload) {
		return nil, wire.Errorf(wire.Conflict, "the ID %s is that of a call with another body: choose one for each call", run.ID)
	}
	return run, nil
}

// hashOf tells the bodies of calls apart.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// queuedRun is what is known of a call that is stored, and of no attempt.
func queuedRun(m *nats.Msg, seq uint64, at time.Time) *trigger.Run {
	function, id, _ := strings.Cut(strings.TrimPrefix(m.Subject, callPrefix), ".")
	run := &trigger.Run{
		ID: id, Function: function, Endpoint: m.Header.Get(HeaderEndpoint), Trigger: trigger.Async, State: trigger.RunQueued, Queued: at,
		Callback: m.Header.Get(headerCallback), Input: trigger.RunInput{Stream: CallStream, Sequence: seq, Subject: m.Subject},
	}
	if header, body, err := callParts(m.Data); err == nil {
		run.Input.Size, run.Data, run.Account = int64(len(body)), body, accountOf(header)
		if m.Header.Get(headerGiven) != "" {
			run.Input.Hash = hashOf(body)
		}
	}
	return run
}

// accountOf returns the account that has proved to have made a call, "" for none.
func accountOf(header wire.Header) string {
	var who struct {
		Account string `json:"account"`
	}
	json.Unmarshal([]byte(header.Get(wire.KeyIdentity)), &who) // of nobody, it is empty
	return who.Account
}

// callParts takes the data of a call apart.
func callParts(data []byte) (wire.Header, []byte, error) {
	if len(data) < 4 || int64(binary.BigEndian.Uint32(data)) > int64(len(data)-4) {
		return nil, nil, &wire.Error{Code: wire.Internal, Retry: -1, Message: "the stored call is damaged"}
	}
	n := binary.BigEndian.Uint32(data)
	return data[4 : 4+n], data[4+n:], nil
}
