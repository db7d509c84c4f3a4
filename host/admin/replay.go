package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger/codec"
)

// EventQuery chooses messages that streams hold. From and To are sequence numbers,
// or times as RFC 3339 has them, "" for none; both belong to it.
type EventQuery struct {
	Stream   string // "" for all but those of the host, KV buckets and object stores
	Subject  string // with wildcards; "" for all
	From, To string
	Limit    int // how many, at most 10000: the first ones of From, or else the latest ones; 0 for the default of 50
}

// Limits of a list of events.
const (
	maxEvents     = 10_000
	defaultEvents = 50
)

// StoredEvent is a message of a stream.
type StoredEvent struct {
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"sequence"`
	Time     time.Time           `json:"time"` // when it was stored
	Subject  string              `json:"subject"`
	Size     int                 `json:"size"`             // of its data, in bytes
	Type     string              `json:"type,omitempty"`   // of a CloudEvent
	Begin    string              `json:"begin,omitempty"`  // of its data, at most 200 bytes
	Header   map[string][]string `json:"header,omitempty"` // of one that was asked for
	Data     string              `json:"data,omitempty"`   // of one that was asked for, as text
	Base64   string              `json:"base64,omitempty"` // instead of Data, if that is no text
}

// SetData fills in Data or Base64.
func (e *StoredEvent) SetData(data []byte) { e.Data, e.Base64 = textOrBase64(data) }

// ReplayRequest says which events to run a function on once more. From and To are
// as in [EventQuery].
type ReplayRequest struct {
	Function string `json:"-"`                  // in the path
	Endpoint string `json:"endpoint,omitempty"` // of the trigger
	Version  string `json:"version,omitempty"`  // to run, "v7"; "" for what is released
	Subject  string `json:"subject,omitempty"`  // a trigger's, or a part of one; "" if there is one
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Limit    int    `json:"limit,omitempty"`  // how many events; 0 for all
	AtOnce   int    `json:"atOnce,omitempty"` // how many at once, at most 1000; with 1, the default, in their order
	Dry      bool   `json:"dry,omitempty"`    // only tell which
}

// ReplayEvent is something that happens in a replay: it begins, with Plan; an event
// has ended, with Sequence; or it is over, with Result.
type ReplayEvent struct {
	Plan     *ReplayPlan   `json:"plan,omitempty"`
	Sequence uint64        `json:"sequence,omitempty"`
	Subject  string        `json:"subject,omitempty"`
	Time     *time.Time    `json:"time,omitempty"` // when it was stored
	Size     int           `json:"size,omitempty"`
	Error    string        `json:"error,omitempty"` // of the function
	Code     string        `json:"code,omitempty"`  // of Error
	Next     uint64        `json:"next,omitempty"`  // where to go on, if the replay ends here
	Result   *ReplayResult `json:"result,omitempty"`
}

// ReplayPlan is what a replay is about to do.
type ReplayPlan struct {
	Stream   string `json:"stream"`
	Subject  string `json:"subject"`
	Endpoint string `json:"endpoint,omitempty"`
	First    uint64 `json:"first"` // sequence numbers
	Last     uint64 `json:"last"`
}

// ReplayResult is what became of a replay.
type ReplayResult struct {
	Ran      int    `json:"ran"`
	OK       int    `json:"ok"`
	Failed   int    `json:"failed"`
	WouldRun int    `json:"wouldRun,omitempty"` // instead of Ran, if it was only to tell which
	Stopped  string `json:"stopped,omitempty"`  // why it ended before its end
	Next     uint64 `json:"next"`               // where to go on
}

func (s *Server) storedEvents(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := EventQuery{Stream: v.Get("stream"), Subject: v.Get("subject"), From: v.Get("from"), To: v.Get("to")}
	var err error
	if q.Limit, err = number(v, "limit", defaultEvents, maxEvents); err != nil {
		return err
	}
	list, err := s.backend.StoredEvents(r.Context(), q)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for i := range list { // a subject may be one of a bucket's
		if stream := list[i].Stream; !seen[stream] {
			if err := s.mayReadStream(r, stream); err != nil {
				return err
			}
			seen[stream] = true
		}
	}
	return reply(w, list)
}

func (s *Server) storedEvent(w http.ResponseWriter, r *http.Request) error {
	sequence, err := strconv.ParseUint(r.PathValue("sequence"), 10, 64)
	if err != nil {
		return wire.Errorf(wire.BadRequest, "%q is no sequence number", r.PathValue("sequence"))
	}
	if err := s.mayReadStream(r, r.PathValue("stream")); err != nil {
		return err
	}
	v, err := s.backend.StoredEvent(r.Context(), r.PathValue("stream"), sequence)
	return replyOr(w, v, err)
}

// mayReadStream returns an error for the stream of a bucket, or of a store of blobs, that who asks
// may not read as such.
func (s *Server) mayReadStream(r *http.Request, stream string) error {
	if s.door == nil {
		return nil
	}
	var err error
	if bucket, ok := strings.CutPrefix(stream, "KV_"); ok {
		_, err = s.door.Enter(r, NamespaceOf(r), "bucket:"+bucket+":read")
	} else if store, ok := strings.CutPrefix(stream, "OBJ_"); ok {
		_, err = s.door.Enter(r, NamespaceOf(r), "blob:"+store+":read")
	}
	return err
}

func (s *Server) pause(w http.ResponseWriter, r *http.Request) error {
	var until time.Time
	if text := r.URL.Query().Get("until"); text != "" {
		var err error
		if until, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return wire.Errorf(wire.BadRequest, "until=%s: want a time such as 2026-01-02T15:04:05Z", text)
		}
	}
	list, err := s.backend.PauseTrigger(r.Context(), r.PathValue("name"), r.URL.Query().Get("subject"), until)
	return replyOr(w, list, err)
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request) error {
	list, err := s.backend.ResumeTrigger(r.Context(), r.PathValue("name"), r.URL.Query().Get("subject"))
	return replyOr(w, list, err)
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request) error {
	var req ReplayRequest
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &req); err != nil {
		return wire.Errorf(wire.BadRequest, "the request: %v", err)
	}
	req.Function = r.PathValue("name")
	return stream(s, w, r, func(ctx context.Context, yield func(ReplayEvent) error) error {
		return s.backend.Replay(ctx, req, yield)
	})
}

// PauseTrigger has no event of a function's triggers begin any more, of the one on a
// subject, or of a schedule such as "every 1h", "" for all: until a time, or until
// [Client.ResumeTrigger] if that is zero. It returns how they are then.
func (c *Client) PauseTrigger(ctx context.Context, function, subject string, until time.Time) ([]EventTrigger, error) {
	q := url.Values{"subject": {subject}}
	if !until.IsZero() {
		q.Set("until", until.Format(time.RFC3339Nano))
	}
	var v []EventTrigger
	return v, c.send(ctx, http.MethodPost, "/v1/functions/"+url.PathEscape(function)+"/pause?"+q.Encode(), nil, &v)
}

// ResumeTrigger ends a pause.
func (c *Client) ResumeTrigger(ctx context.Context, function, subject string) ([]EventTrigger, error) {
	var v []EventTrigger
	q := url.Values{"subject": {subject}}
	return v, c.send(ctx, http.MethodPost, "/v1/functions/"+url.PathEscape(function)+"/resume?"+q.Encode(), nil, &v)
}

// StoredEvents returns messages that streams hold, the oldest first, without their
// data.
func (c *Client) StoredEvents(ctx context.Context, q EventQuery) ([]StoredEvent, error) {
	values := url.Values{"stream": {q.Stream}, "subject": {q.Subject}, "from": {q.From}, "to": {q.To}}
	if q.Limit != 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	var v []StoredEvent
	return v, c.get(ctx, "/v1/events?"+values.Encode(), &v)
}

// StoredEvent returns a message of a stream, with its data.
func (c *Client) StoredEvent(ctx context.Context, stream string, sequence uint64) (StoredEvent, error) {
	var v StoredEvent
	return v, c.get(ctx, "/v1/events/"+url.PathEscape(stream)+"/"+strconv.FormatUint(sequence, 10), &v)
}

// ErrReplayBrokenOff is wrapped by the errors of a replay whose host went away.
var ErrReplayBrokenOff = errors.New("the host went away before the replay ended")

// Replay runs a function on events that a stream holds, and calls yield with what
// happens. When ctx ends the host begins with no further event; what has begun goes
// to its end. The error wraps [ErrReplayBrokenOff] if the host went away.
func (c *Client) Replay(ctx context.Context, req ReplayRequest, yield func(ReplayEvent) error) (ReplayResult, error) {
	b, err := codec.Marshal(req)
	if err != nil {
		return ReplayResult{}, err
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/functions/"+url.PathEscape(req.Function)+"/replay", http.Header{"Content-Type": {"application/json"}}, bytes.NewReader(b))
	if err != nil {
		return ReplayResult{}, err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if ctx.Err() != nil {
			return ReplayResult{}, ctx.Err()
		}
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return ReplayResult{}, fmt.Errorf("%w: %w", ErrReplayBrokenOff, err)
		}
		var e ReplayEvent
		if err := codec.Unmarshal(line, &e); err != nil {
			return ReplayResult{}, fmt.Errorf("replay: %w", err)
		}
		if e.Result != nil {
			return *e.Result, nil
		}
		if err := yield(e); err != nil {
			return ReplayResult{}, err
		}
	}
}
