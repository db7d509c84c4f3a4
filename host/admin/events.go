package admin

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
)

// EventTrigger is how an event trigger of a function is.
type EventTrigger struct {
	Function string `json:"function"`
	Endpoint string `json:"endpoint,omitempty"`
	Subject  string `json:"subject"`
	Stream   string `json:"stream,omitempty"`
	Consumer string `json:"consumer"`
	Pending  uint64 `json:"pending"`  // events that wait
	InFlight int    `json:"inFlight"` // events that are being handled, wait for a retry, or are held for their key
	Retried  int    `json:"retried"`  // of these, those that are not at their first attempt
	Skipped  int64  `json:"skipped"`  // events that the node which answers has taken off without handling them
	Error    string `json:"error,omitempty"`
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
func (l *DeadLetter) SetData(data []byte) {
	if utf8.Valid(data) {
		l.Data = string(data)
		return
	}
	l.Base64 = base64.StdEncoding.EncodeToString(data)
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
	Publish(ctx context.Context, subject string, header map[string][]string, data []byte) (Receipt, error)
	DeadLetters(ctx context.Context, function string, limit int) ([]DeadLetter, error)
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
	limit := maxLetters
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLetters {
			return wire.Errorf(wire.BadRequest, "limit=%s: want 1 to %d", text, maxLetters)
		}
		limit = n
	}
	v, err := s.backend.DeadLetters(r.Context(), r.URL.Query().Get("function"), limit)
	if v == nil {
		v = []DeadLetter{}
	}
	return replyOr(w, v, err)
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

// DeadLetters returns dead letters of a function, "" for all, the oldest first, at
// most limit, and without their data.
func (c *Client) DeadLetters(ctx context.Context, function string, limit int) ([]DeadLetter, error) {
	var v []DeadLetter
	q := url.Values{"function": {function}, "limit": {strconv.Itoa(limit)}}
	return v, c.get(ctx, "/v1/dead?"+q.Encode(), &v)
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
