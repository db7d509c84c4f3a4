package admin

import (
	"context"
	"encoding/base64"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
)

// EventTrigger is how a trigger of a function is that is no HTTP route.
type EventTrigger struct {
	Kind        string     `json:"kind"` // "event", "schedule", "subscribe" or "kv"
	Function    string     `json:"function"`
	Endpoint    string     `json:"endpoint,omitempty"`
	Subject     string     `json:"subject,omitempty"`  // "" for a schedule, and for changes of keys
	Bucket      string     `json:"bucket,omitempty"`   // of these
	Keys        string     `json:"keys,omitempty"`     // as the manifest has it: "user.**"
	Schedule    string     `json:"schedule,omitempty"` // as the manifest has it: "0 3 * * * Europe/Berlin", "every 1h"
	Next        *time.Time `json:"next,omitempty"`     // run of a schedule
	Stream      string     `json:"stream,omitempty"`
	Consumer    string     `json:"consumer,omitempty"`
	Pending     uint64     `json:"pending"`               // events that wait
	InFlight    int        `json:"inFlight"`              // events that are being handled, wait for a retry, or are held for their key
	Retried     int        `json:"retried"`               // of these, those that are not at their first attempt
	Oldest      *time.Time `json:"oldest,omitempty"`      // when the oldest event was stored that has not ended
	Paused      bool       `json:"paused,omitempty"`      // events wait, and none begins
	PausedUntil *time.Time `json:"pausedUntil,omitempty"` // nil if it is until somebody resumes
	Skipped     uint64     `json:"skipped,omitempty"`     // events that this node has taken off without handling them
	LastError   string     `json:"lastError,omitempty"`   // of the latest attempt on this node that failed
	LastFailed  *time.Time `json:"lastFailed,omitempty"`  // when that was
	Recovered   bool       `json:"recovered,omitempty"`   // an event was handled since
	Error       string     `json:"error,omitempty"`       // why the trigger does not work
}

// DeadLetter is an event that its function could not handle.
type DeadLetter struct {
	ID       uint64              `json:"id"`
	Function string              `json:"function"`
	Endpoint string              `json:"endpoint,omitempty"`
	Subject  string              `json:"subject"`
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"sequence"`
	Time     time.Time           `json:"time"` // when the event was stored
	Died     time.Time           `json:"died"`
	Attempts int                 `json:"attempts"`
	Error    string              `json:"error"`
	Code     string              `json:"code"`
	Header   map[string][]string `json:"header,omitempty"`
	Data     string              `json:"data,omitempty"`   // of one letter that was asked for, as text
	Base64   string              `json:"base64,omitempty"` // instead of Data, if that is no text
}

// SetData fills in Data or Base64.
func (l *DeadLetter) SetData(data []byte) { l.Data, l.Base64 = textOrBase64(data) }

func textOrBase64(data []byte) (text, encoded string) {
	if utf8.Valid(data) {
		return string(data), ""
	}
	return "", base64.StdEncoding.EncodeToString(data)
}

// DeadQuery chooses dead letters.
type DeadQuery struct {
	Function string // "" for all
	Subject  string // of the events, with wildcards; "" for all
	From     uint64 // the first ID
	Limit    int    // how many, at most 1000
}

// Receipt says where a message was stored.
type Receipt struct {
	Stream    string `json:"stream,omitempty"` // "" if no stream takes the subject: it went to who listened
	Sequence  uint64 `json:"sequence,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // one of its id was stored before
}

// Events is what the API needs of a host for events.
type Events interface {
	Triggers(ctx context.Context) []EventTrigger
	PauseTrigger(ctx context.Context, function, subject string, until time.Time) ([]EventTrigger, error)
	ResumeTrigger(ctx context.Context, function, subject string) ([]EventTrigger, error)
	StoredEvents(ctx context.Context, q EventQuery) ([]StoredEvent, error)
	StoredEvent(ctx context.Context, stream string, sequence uint64) (StoredEvent, error)
	// Replay yields what happens until the last event. It ends when ctx does.
	Replay(ctx context.Context, req ReplayRequest, yield func(ReplayEvent) error) error
	Publish(ctx context.Context, subject string, header map[string][]string, data []byte) (Receipt, error)
	DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error)
	DeadLetter(ctx context.Context, id uint64) (DeadLetter, error)
	Redrive(ctx context.Context, id uint64, version string) error
	PurgeDeadLetter(ctx context.Context, id uint64) error
}

func (s *Server) triggers(w http.ResponseWriter, r *http.Request) error {
	return reply(w, s.backend.Triggers(r.Context()))
}

// publish takes the headers that are meant for the message as invoke does.
func (s *Server) publish(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInvokeBody))
	if err != nil {
		return wire.Errorf(wire.TooLarge, "%v", err)
	}
	header := make(map[string][]string)
	for key, values := range r.Header {
		if name, ok := strings.CutPrefix(key, passPrefix); ok {
			header[name] = values
		}
	}
	v, err := s.backend.Publish(r.Context(), r.PathValue("subject"), header, body)
	return replyOr(w, v, err)
}

// maxLetters bounds a list of dead letters.
const maxLetters = 1000

func (s *Server) deadLetters(w http.ResponseWriter, r *http.Request) error {
	q := DeadQuery{Function: r.URL.Query().Get("function"), Subject: r.URL.Query().Get("subject")}
	var err error
	if q.Limit, err = number(r.URL.Query(), "limit", maxLetters, maxLetters); err != nil {
		return err
	}
	from, err := number(r.URL.Query(), "from", 1, math.MaxInt)
	if err != nil {
		return err
	}
	q.From = uint64(from)
	v, err := s.backend.DeadLetters(r.Context(), q)
	if v == nil {
		v = []DeadLetter{}
	}
	return replyOr(w, v, err)
}

// number returns a parameter of a URL that is a number from 1.
func number(v url.Values, name string, ifNone, most int) (int, error) {
	text := v.Get(name)
	if text == "" {
		return ifNone, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, wire.Errorf(wire.BadRequest, "%s=%s: want a number from 1 to %d", name, text, most)
	}
	return n, nil
}

func letterID(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, wire.Errorf(wire.BadRequest, "%q is not the number of a dead letter", r.PathValue("id"))
	}
	return id, nil
}

func (s *Server) deadLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	v, err := s.backend.DeadLetter(r.Context(), id)
	return replyOr(w, v, err)
}

func (s *Server) redrive(w http.ResponseWriter, r *http.Request) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	return noContent(w, s.backend.Redrive(r.Context(), id, r.URL.Query().Get("version")))
}

func (s *Server) purgeDeadLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	return noContent(w, s.backend.PurgeDeadLetter(r.Context(), id))
}

// Triggers returns how the event triggers are.
func (c *Client) Triggers(ctx context.Context) ([]EventTrigger, error) {
	var v []EventTrigger
	return v, c.get(ctx, "/v1/triggers", &v)
}

// Publish sends a message on a subject.
func (c *Client) Publish(ctx context.Context, subject string, header map[string][]string, body io.Reader) (Receipt, error) {
	var v Receipt
	sent := make(http.Header)
	for key, values := range header {
		sent[passPrefix+http.CanonicalHeaderKey(key)] = values
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/events/"+url.PathEscape(subject), sent, body)
	if err != nil {
		return v, err
	}
	return v, decode(resp, &v)
}

// DeadLetters returns dead letters, the oldest first, and without their data.
func (c *Client) DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error) {
	var v []DeadLetter
	values := url.Values{"function": {q.Function}, "subject": {q.Subject}, "limit": {strconv.Itoa(q.Limit)}}
	if q.From > 0 {
		values.Set("from", strconv.FormatUint(q.From, 10))
	}
	return v, c.get(ctx, "/v1/dead?"+values.Encode(), &v)
}

// DeadLetter returns one, with its data.
func (c *Client) DeadLetter(ctx context.Context, id uint64) (DeadLetter, error) {
	var v DeadLetter
	return v, c.get(ctx, "/v1/dead/"+strconv.FormatUint(id, 10), &v)
}

// Redrive runs the function of a dead letter once more, of a version if one is
// named, and removes the letter when that has gone well.
func (c *Client) Redrive(ctx context.Context, id uint64, version string) error {
	return c.send(ctx, http.MethodPost, "/v1/dead/"+strconv.FormatUint(id, 10)+"/redrive?"+url.Values{"version": {version}}.Encode(), nil, nil)
}

// PurgeDeadLetter removes a dead letter.
func (c *Client) PurgeDeadLetter(ctx context.Context, id uint64) error {
	return c.send(ctx, http.MethodDelete, "/v1/dead/"+strconv.FormatUint(id, 10), nil, nil)
}
