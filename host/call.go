package host

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/functions/wire/kvwire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/event"
	"github.com/nats-io/nats.go"
)

// serveCall answers what a worker of f asks the host.
func (h *Namespace) serveCall(ctx context.Context, f *function, v *version, x *wire.Exchange) {
	r, err := h.call(ctx, f, v, &wire.Request{Header: x.Header(), Payload: x.Payload(), Body: x.Body()})
	if err != nil {
		x.Fail(wire.AsError(err))
		return
	}
	if _, follows := r.Body.(*follower); follows {
		x.Linger()
	}
	if err := x.Respond(r.Header, r.Payload, r.Body != nil); err != nil || r.Body == nil {
		return
	}
	defer r.Body.Close()
	if _, err := io.Copy(struct{ io.Writer }{x}, r.Body); err != nil {
		x.Fail(wire.AsError(err))
	}
}

// call does what a function asks the host for, if its manifest lets it.
func (h *Namespace) call(ctx context.Context, f *function, v *version, req *wire.Request) (*wire.Response, error) {
	m, op := v.manifest, req.Header.Get(wire.KeyOp)
	switch kind, _, _ := strings.Cut(op, "."); kind {
	case "kv":
		return h.callBucket(ctx, f, m, op, req)
	case "blob":
		return h.callBlobs(ctx, f, m, req)
	}
	switch op {
	case "invoke":
		return h.callFunction(ctx, f, m, req)
	case "publish":
		return h.callPublish(ctx, f, m, req)
	case "commit":
		return h.callCommit(ctx, f, m, req)
	case "committed":
		return h.callCommitted(ctx, f, req)
	case "follow":
		return h.callFollow(ctx, f, v)
	case "secret":
		return h.callSecret(ctx, f, m, req)
	default:
		return nil, wire.Errorf(wire.BadRequest, "this host does not know the operation %q: it may be older than the function's library", op)
	}
}

func (h *Namespace) callFunction(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	target := req.Header.Get(wire.KeyTarget)
	name, endpoint, _ := strings.Cut(target, "/")
	foreign := strings.HasPrefix(target, "@") // of another namespace: @acme/orders
	if foreign {
		of, rest := name, endpoint
		name, _, _ = strings.Cut(rest, "/")
		name = of + "/" + name
	}
	if m.Access != nil && !matchesAny(m.Access.Functions, name) {
		return nil, wire.Errorf(wire.Forbidden, "function %q may not call %q: add it to access.functions in its %s", f.name, name, manifest.FileName)
	}
	depth, _ := req.Header.Int(wire.KeyDepth)
	inv := &trigger.Invocation{
		Function: name, Endpoint: endpoint, Trigger: trigger.Call, Caller: f.name, Depth: int(min(max(depth, 0), maxDepth)) + 1,
		Header: f.callers.header(req.Header.Get(wire.KeyInvocation)), Payload: req.Payload, Body: req.Body,
	}
	var result *trigger.Result
	var err error
	if foreign {
		result, err = h.callForeign(ctx, f, target, inv)
	} else {
		result, err = invoker{h}.Invoke(ctx, inv)
	}
	if err != nil {
		return nil, err
	}
	return &wire.Response{Header: result.Header, Payload: result.Payload, Body: result.Body}, nil
}

// callPublish sends a message for a function.
func (h *Namespace) callPublish(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	body, err := h.callBody(req)
	if err != nil {
		return nil, err
	}
	msg, err := message(f, m, req.Header, body)
	if err != nil {
		return nil, err
	}
	_, err = h.Publish(ctx, msg)
	return &wire.Response{}, err
}

// callBody returns the whole body of a call that is to be stored, or, of one that is too
// large, more than [event.Trigger.MaxPayload].
func (h *Namespace) callBody(req *wire.Request) ([]byte, error) {
	body := req.Payload
	if req.Body == nil {
		return body, nil
	}
	rest, err := io.ReadAll(io.LimitReader(req.Body, h.events.MaxPayload()+1))
	return append(body[:len(body):len(body)], rest...), err
}

// message returns what a function publishes, if its manifest lets it.
func message(f *function, m *manifest.Manifest, header wire.Header, body []byte) (*nats.Msg, error) {
	subject := header.Get(wire.KeyTarget)
	if m.Access != nil && !slices.ContainsFunc(m.Access.Subjects, func(p string) bool { return event.Covers(p, subject) }) {
		return nil, wire.Errorf(wire.Forbidden, "function %q may not publish on %q: add it to access.subjects in its %s", f.name, subject, manifest.FileName)
	}
	msg := nats.NewMsg(subject)
	msg.Data = body
	for key, value := range header.All() {
		switch lower := strings.ToLower(key); {
		case key[0] == ':', strings.HasPrefix(lower, "fn-"):
		case strings.HasPrefix(lower, "nats-") && !event.MayPublish(key): // such as a roll-up, or a schedule for another subject
		default:
			msg.Header.Add(key, value)
		}
	}
	depth, _ := header.Int(wire.KeyDepth)
	msg.Header.Set(event.HeaderDepth, strconv.FormatInt(depth+1, 10))
	return msg, nil
}

// callCommit publishes messages and changes a bucket for a function, all or none.
func (h *Namespace) callCommit(ctx context.Context, f *function, m *manifest.Manifest, req *wire.Request) (*wire.Response, error) {
	body, err := h.callBody(req)
	if err != nil {
		return nil, err
	}
	if limit := h.events.MaxPayload(); int64(len(body)) > limit {
		return nil, wire.Errorf(wire.TooLarge, "messages of %d bytes together are over the limit of %d", len(body), limit)
	}
	list, err := wire.Messages(body)
	if err != nil {
		return nil, wire.Errorf(wire.BadRequest, "%v", err)
	}
	var e event.Effects
	for _, one := range list {
		if one.Header.Get(wire.KeyOp) == "kv.commit" {
			if err := h.stateEffect(f, m, one, &e); err != nil {
				return nil, err
			}
			continue
		}
		msg, err := message(f, m, one.Header, one.Payload)
		if err == nil {
			err = h.checkMessage(msg)
		}
		if err != nil {
			return nil, err
		}
		e.Messages = append(e.Messages, msg)
	}
	err = h.noRoom(ctx, h.events.Commit(ctx, event.CommitOf(f.name, req.Header), e))
	if err == nil {
		return &wire.Response{}, nil
	}
	r, err := kvwire.Fault(err)
	return r, stored(err)
}

// callCommitted answers whether that was done before.
func (h *Namespace) callCommitted(ctx context.Context, f *function, req *wire.Request) (*wire.Response, error) {
	yes, err := h.events.Committed(ctx, event.CommitOf(f.name, req.Header))
	if err != nil {
		return nil, stored(err)
	}
	if yes {
		return &wire.Response{Payload: []byte("yes")}, nil
	}
	return &wire.Response{Payload: []byte("no")}, nil
}

// stored makes an error of code Unavailable of one that is of none.
func stored(err error) error {
	var e *wire.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return wire.Errorf(wire.Unavailable, "it cannot be stored: %v", err)
}

// Publish sends a message on a subject of the functions' namespace. If a stream
// takes the subject, as where an event trigger names it, it is stored when Publish
// returns nil. Headers of NATS say more, each at most once: Nats-Msg-Id is the ID by
// which a stream takes it once; Nats-TTL, in whole seconds as 60s, when it goes from the
// stream; Nats-Expected-Last-Subject-Sequence the sequence of the latest message on the
// subject, 0 for none; and Nats-Schedule, as "@at 2026-01-02T15:04:05Z", when it is to
// be published: until then it is stored in the stream "later", at most for 30 days.
//
// The error is, or wraps, an *[functions.Error]: of code BadRequest for a subject that
// is none, or that is the host's or the server's own, and for such headers if they are
// wrong, Conflict if another sequence is the last one, TooLarge for a message over the
// limit of the server or of the stream, and Unavailable if it cannot be stored.
func (h *Namespace) Publish(ctx context.Context, m *nats.Msg) (event.Stored, error) {
	return h.send(ctx, m, h.events.Publish)
}

// send publishes a message in one way or the other.
func (h *Namespace) send(ctx context.Context, m *nats.Msg, publish func(context.Context, *nats.Msg) (event.Stored, error)) (event.Stored, error) {
	if err := h.checkMessage(m); err != nil {
		return event.Stored{}, err
	}
	if err := h.bus.StorageErr(); err != nil { // a stream that has stopped does not answer
		return event.Stored{}, wire.Errorf(wire.Unavailable, "the event cannot be stored: %v", err)
	}
	stored, err := publish(ctx, m)
	err = h.noRoom(ctx, err)
	var e *wire.Error
	if err != nil && ctx.Err() == nil && !errors.As(err, &e) {
		err = wire.Errorf(wire.Unavailable, "the event cannot be stored: %v", err)
	}
	return stored, err
}

// checkMessage returns what is wrong with a message.
func (h *Namespace) checkMessage(m *nats.Msg) error {
	if err := event.CheckSubject(m.Subject); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if limit := h.events.MaxPayload(); int64(m.Size()) > limit {
		return wire.Errorf(wire.TooLarge, "a message of %d bytes is over the limit of %d", m.Size(), limit)
	}
	return nil
}

// publisher is the host, as the gateway stores events.
type publisher struct{ h *Namespace }

// Store implements [gateway.Publisher].
func (p publisher) Store(ctx context.Context, subject string, header map[string][]string, data []byte) (stream string, sequence uint64, duplicate bool, err error) {
	if err := p.h.admit(trigger.HTTP); err != nil {
		return "", 0, false, err
	}
	s, err := p.h.send(ctx, event.Message(subject, header, data), p.h.events.Store)
	return s.Stream, s.Sequence, s.Duplicate, err
}

// matchesAny reports whether a pattern, in which * is any run of characters,
// matches name.
func matchesAny(patterns []string, name string) bool {
	name = strings.ReplaceAll(name, "/", "\x00") // which * is not for to path.Match
	for _, p := range patterns {
		if ok, err := path.Match(strings.ReplaceAll(p, "/", "\x00"), name); err == nil && ok {
			return true
		}
	}
	return false
}
