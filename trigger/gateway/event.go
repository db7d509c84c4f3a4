package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Publisher stores events.
type Publisher interface {
	// Store has the stream that takes a subject store a message, and returns its
	// place; duplicate, if one of its ID was there before. The error is a *wire.Error:
	// of code Unavailable if no stream takes the subject, or it cannot store.
	Store(ctx context.Context, subject string, header map[string][]string, data []byte) (stream string, sequence uint64, duplicate bool, err error)
}

// Content types of CloudEvents in structured mode, one and several.
const (
	cloudEvent  = "application/cloudevents+json"
	cloudEvents = "application/cloudevents-batch+json"
)

const (
	messageID  = "Nats-Msg-Id"
	maxEventID = 256    // bytes
	maxBatch   = 10_000 // events
)

// receipt says where an event was stored.
type receipt struct {
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate"` // one of its ID was stored before
}

// incoming is an event that is to be stored.
type incoming struct {
	header map[string][]string
	data   []byte
}

// brokenBatch is the error of a batch of which some events were stored.
type brokenBatch struct {
	stored []receipt
	of     int
	err    error
}

func (e *brokenBatch) Error() string {
	return fmt.Sprintf("event %d of %d could not be stored, and those before it are: %v: send the batch again, and what is stored already is not stored twice", len(e.stored)+1, e.of, e.err)
}

func (e *brokenBatch) Unwrap() error { return e.err }

// serveEvent stores what was sent to a route. fn is nil while the first version of
// the function name is being built, which nobody waits for.
func (g *Gateway) serveEvent(w http.ResponseWriter, r *http.Request, rt *routes, name string, fn *trigger.Function, route *manifest.Route, routeLimit *limited) {
	m := manifest.Default()
	if fn != nil {
		m = fn.Manifest
	}
	store := func(w http.ResponseWriter, r *http.Request) {
		who, err := g.enter(r, name, "", m.LeaveOf(route))
		if err == nil && (routeLimit != nil || rt.limits[name] != nil) && !g.admit(w, r, who, routeLimit, rt.limits[name]) {
			return
		}
		var answer []byte
		if err == nil {
			answer, err = g.storeEvents(w, r, route, m.Body)
		}
		if err != nil {
			g.fail(w, r, "", err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.WriteHeader(http.StatusAccepted)
		w.Write(answer)
	}
	if fn != nil && rt.cors[fn.Name] != nil {
		rt.cors[fn.Name].ServeHTTP(w, r, store)
		return
	}
	store(w, r)
}

// storeEvents stores the events of a request, and returns what to answer.
func (g *Gateway) storeEvents(w http.ResponseWriter, r *http.Request, route *manifest.Route, limit int64) ([]byte, error) {
	if g.cfg.Publisher == nil {
		return nil, wire.Errorf(wire.Unavailable, "events cannot be stored here")
	}
	subject, err := subjectOf(route.Event, r)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, trigger.BodyTooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != cloudEvents {
		e, err := eventOf(r, media, body)
		if err != nil {
			return nil, err
		}
		stored, err := g.store(r.Context(), subject, e)
		if err != nil {
			return nil, err
		}
		return codec.Marshal(stored)
	}
	list, err := batchOf(r, body)
	if err != nil {
		return nil, err
	}
	stored := make([]receipt, 0, len(list))
	for _, e := range list {
		one, err := g.store(r.Context(), subject, e)
		if err != nil {
			return nil, &brokenBatch{stored, len(list), err}
		}
		stored = append(stored, one)
	}
	return codec.Marshal(map[string][]receipt{"events": stored})
}

// store stores an event. Its ID is one among those of its subject: a stream has many, of
// senders that know nothing of each other, and would take one for the other's.
func (g *Gateway) store(ctx context.Context, subject string, e incoming) (s receipt, err error) {
	if id := e.header[messageID]; id != nil {
		e.header[messageID] = []string{subject + " " + id[0]}
	}
	s.Stream, s.Sequence, s.Duplicate, err = g.cfg.Publisher.Store(ctx, subject, e.header, e.data)
	return s, err
}

var subjectWildcard = regexp.MustCompile(`\{[^{}.]+\}`)

// subjectOf fills the wildcards of the path in a subject.
func subjectOf(subject string, r *http.Request) (string, error) {
	if !strings.Contains(subject, "{") {
		return subject, nil
	}
	var err error
	subject = subjectWildcard.ReplaceAllStringFunc(subject, func(part string) string {
		value := r.PathValue(part[1 : len(part)-1])
		if value == "" || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(".*>\ufffd", c) }) {
			err = wire.Errorf(wire.BadRequest, "the path has %.80q for %s, which becomes a part of a subject: it must not be empty, nor have dots, spaces, * or >", value, part)
		}
		return value
	})
	return subject, err
}

// passed are the headers of a request that become those of its event, beside those
// of CloudEvents.
var passed = []string{"Content-Type", "Content-Encoding", "Traceparent", "Tracestate"}

// eventOf makes an event of a request.
func eventOf(r *http.Request, media string, body []byte) (incoming, error) {
	e := incoming{header: make(map[string][]string), data: body}
	for _, key := range passed {
		if values := r.Header[key]; len(values) > 0 {
			name := key
			if key[0] == 'T' { // as the specification of trace contexts writes them
				name = strings.ToLower(key)
			}
			e.header[name] = values
		}
	}
	for key, values := range r.Header {
		if strings.HasPrefix(key, "Ce-") {
			e.header[strings.ToLower(key)] = values
		}
	}
	if err := checkBinary(r.Header); err != nil {
		return e, err
	}
	id, err := requestID(r)
	if err != nil {
		return e, err
	}
	if id == "" && media == cloudEvent {
		if id, err = cloudEventID(body); err != nil {
			return e, err
		}
	} else if ce := r.Header.Get("Ce-Id"); id == "" && ce != "" {
		id = r.Header.Get("Ce-Source") + " " + ce
	}
	if id != "" {
		e.header[messageID] = []string{id}
	}
	return e, nil
}

// requestID returns the ID that a request gives its event, "" for none.
func requestID(r *http.Request) (string, error) {
	for _, key := range []string{"Idempotency-Key", "X-Event-Id"} {
		id := r.Header.Get(key)
		if len(id) > maxEventID {
			return "", wire.Errorf(wire.BadRequest, "%s is longer than %d bytes", key, maxEventID)
		}
		if id != "" {
			return id, nil
		}
	}
	return "", nil
}

// attributes are the headers of the attributes that a CloudEvent must have.
var attributes = []string{"Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type"}

// checkBinary refuses the headers of a CloudEvent in binary mode that lacks what one
// in structured mode must have. A request without any of them is no CloudEvent.
func checkBinary(h http.Header) error {
	if !slices.ContainsFunc(attributes, func(key string) bool { return h[key] != nil }) {
		return nil
	}
	return checkAttributes(h.Get("Ce-Specversion"), h.Get("Ce-Id"), h.Get("Ce-Source"), h.Get("Ce-Type"))
}

func checkAttributes(version, id, source, kind string) error {
	switch {
	case version == "" || id == "" || source == "" || kind == "":
		return wire.Errorf(wire.BadRequest, "a CloudEvent needs specversion, id, source and type")
	case !strings.HasPrefix(version, "1."):
		return wire.Errorf(wire.BadRequest, "a CloudEvent of specversion %.20q is not known here: want 1.0", version)
	}
	return nil
}

// cloudEventID returns what names a CloudEvent in structured mode: its source and
// its id.
func cloudEventID(data []byte) (string, error) {
	var v struct{ SpecVersion, ID, Source, Type string }
	if err := json.Unmarshal(data, &v); err != nil {
		return "", wire.Errorf(wire.BadRequest, "it is no CloudEvent in JSON: %v", err)
	}
	if err := checkAttributes(v.SpecVersion, v.ID, v.Source, v.Type); err != nil {
		return "", err
	}
	return v.Source + " " + v.ID, nil
}

// batchOf makes events of a batch of CloudEvents, if all of them are ones.
func batchOf(r *http.Request, body []byte) ([]incoming, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "it is no batch of CloudEvents, which is a JSON array: %v", err)
	}
	if len(parts) > maxBatch {
		return nil, wire.Errorf(wire.TooLarge, "a batch of %d events is over the limit of %d", len(parts), maxBatch)
	}
	key, err := requestID(r)
	if err != nil {
		return nil, err
	}
	list := make([]incoming, len(parts))
	for i, part := range parts {
		id, err := cloudEventID(part)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "event %d of %d: %v: none was stored", i+1, len(parts), err)
		}
		if key != "" {
			id = fmt.Sprintf("%s/%d", key, i)
		}
		e := incoming{header: map[string][]string{"Content-Type": {cloudEvent}, messageID: {id}}, data: part}
		for _, name := range passed[2:] {
			if values := r.Header[name]; len(values) > 0 {
				e.header[strings.ToLower(name)] = values
			}
		}
		list[i] = e
	}
	return list, nil
}
