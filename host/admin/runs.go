package admin

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/trigger"
)

// Run is what is known of a run: of an asynchronous call, or of an attempt at an event.
type Run struct {
	ID         string     `json:"id"`
	Function   string     `json:"function"`
	Endpoint   string     `json:"endpoint,omitempty"`
	Version    string     `json:"version,omitempty"`
	Trigger    string     `json:"trigger"`
	State      string     `json:"state"` // "queued", "running", "retrying", "done", "failed" or "canceled"
	Attempts   int        `json:"attempts"`
	Invocation string     `json:"invocation,omitempty"` // the latest attempt, as the logs have it
	Queued     *time.Time `json:"queued,omitempty"`
	Started    *time.Time `json:"started,omitempty"` // the latest attempt
	Ended      *time.Time `json:"ended,omitempty"`
	Next       *time.Time `json:"next,omitempty"`     // attempt, of a call that is retrying, or after a failed one at an event
	Duration   string     `json:"duration,omitempty"` // of the latest attempt, such as "1.5s"
	Status     int        `json:"status,omitempty"`   // of the answer
	Error      string     `json:"error,omitempty"`
	Code       string     `json:"code,omitempty"`
	Callback   string     `json:"callback,omitempty"`
	Subject    string     `json:"subject,omitempty"` // of the input, in its stream
	Stream     string     `json:"stream,omitempty"`
	Sequence   uint64     `json:"sequence,omitempty"`

	ContentType   string `json:"contentType,omitempty"` // of the output
	OutputSize    int64  `json:"outputSize,omitempty"`  // in bytes
	OutputDropped bool   `json:"outputDropped,omitempty"`
	InputSize     int64  `json:"inputSize,omitempty"`

	// Of one run that was asked for, as far as they are kept.
	Output *Content      `json:"output,omitempty"`
	Input  *Content      `json:"input,omitempty"`
	Logs   []logs.Record `json:"logs,omitempty"` // of functions.Log in its latest attempt, and not what it wrote to stdout
}

// Content is what went in or came out, as text, or else in base64.
type Content struct {
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty"`
	Cut    bool   `json:"cut,omitempty"` // it is a part
}

// NewContent returns the first limit bytes of data, nil for no data.
func NewContent(data []byte, limit int) *Content {
	if len(data) == 0 {
		return nil
	}
	c := &Content{Cut: len(data) > limit}
	if data = data[:min(len(data), limit)]; utf8.Valid(data) {
		c.Text = string(data)
	} else {
		c.Base64 = base64.StdEncoding.EncodeToString(data)
	}
	return c
}

// Bytes returns the data.
func (c *Content) Bytes() []byte {
	if c == nil {
		return nil
	}
	if c.Base64 != "" {
		b, _ := base64.StdEncoding.DecodeString(c.Base64)
		return b
	}
	return []byte(c.Text)
}

// RunQuery chooses runs.
type RunQuery struct {
	Function string // "" for all
	State    string // "" for all
	Limit    int
}

// CallbackKey is the key that callbacks are signed with.
type CallbackKey struct {
	Secret string `json:"secret"`
}

// AsyncOptions say how an asynchronous call is stored.
type AsyncOptions struct {
	ID       string // "" has the host choose one
	Callback string // URL that gets the result
}

// RunKeeper is what the API needs of a host for runs.
type RunKeeper interface {
	Submit(ctx context.Context, inv *trigger.Invocation, o AsyncOptions) (Run, error)
	Runs(ctx context.Context, q RunQuery) ([]Run, error)
	// Run returns a run when it has ended, or as it is when that time has passed.
	Run(ctx context.Context, id string, wait time.Duration) (Run, error)
	CancelRun(ctx context.Context, id string) error
	CallbackSecret() (string, error)
}

// Limits of what is asked of runs.
const (
	maxRuns    = 1000
	maxRunWait = time.Minute
)

// Headers of an asynchronous call.
const (
	callIDHeader   = "X-Call-Id"
	callbackHeader = "X-Callback-Url"
)

func (s *Server) runRoutes() []route {
	return []route{
		{pattern: "POST /v1/async/{name...}", summary: "Store a call of a function, or of an endpoint of it, that is answered later; X-Call-Id is its ID, which one of another body cannot have, and X-Callback-Url gets the result",
			body: "*/*", out: reflect.TypeFor[Run](), handler: s.submit},
		{pattern: "GET /v1/runs", summary: "Runs, the newest first, without input and output", query: []string{"function", "state", "limit"}, out: reflect.TypeFor[[]Run](), handler: s.runs},
		{pattern: "GET /v1/runs/{id}", summary: "A run, with its input and output as far as they are kept, and its lines of functions.Log", query: []string{"wait"}, out: reflect.TypeFor[Run](), handler: s.run},
		{pattern: "DELETE /v1/runs/{id}", summary: "Cancel a run that has not ended", handler: s.cancelRun},
		{pattern: "GET /v1/callback-secret", summary: "The key that callbacks are signed with", out: reflect.TypeFor[CallbackKey](), handler: s.callbackSecret},
	}
}

func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	inv, err := s.invocation(w, r)
	if err != nil {
		return err
	}
	inv.Trigger = trigger.Async
	v, err := s.backend.Submit(r.Context(), inv, AsyncOptions{ID: r.Header.Get(callIDHeader), Callback: r.Header.Get(callbackHeader)})
	return replyOr(w, v, err)
}

func (s *Server) runs(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := RunQuery{Function: v.Get("function"), State: v.Get("state"), Limit: maxRuns}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxRuns {
			return wire.Errorf(wire.BadRequest, "limit=%.40s: want 1 to %d", text, maxRuns)
		}
		q.Limit = n
	}
	switch trigger.RunState(q.State) {
	case "", trigger.RunQueued, trigger.RunRunning, trigger.RunRetrying, trigger.RunDone, trigger.RunFailed, trigger.RunCanceled:
	default:
		return wire.Errorf(wire.BadRequest, "state=%.40s: want queued, running, retrying, done, failed or canceled", q.State)
	}
	if strings.ContainsAny(q.Function, ".*> \t") {
		return wire.Errorf(wire.BadRequest, "function=%.80q is not the name of a function", q.Function)
	}
	list, err := s.backend.Runs(r.Context(), q)
	if list == nil {
		list = []Run{}
	}
	return replyOr(w, list, err)
}

func (s *Server) run(w http.ResponseWriter, r *http.Request) error {
	var wait time.Duration
	if text := r.URL.Query().Get("wait"); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return wire.Errorf(wire.BadRequest, "wait=%.40q: want a duration such as 10s", text)
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	v, err := s.backend.Run(ctx, r.PathValue("id"), min(wait, maxRunWait))
	return replyOr(w, v, err)
}

func (s *Server) cancelRun(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, s.backend.CancelRun(r.Context(), r.PathValue("id")))
}

func (s *Server) callbackSecret(w http.ResponseWriter, r *http.Request) error {
	secret, err := s.backend.CallbackSecret()
	return replyOr(w, CallbackKey{secret}, err)
}

// Submit stores a call of "function" or "function/endpoint"; the rest is as for
// [Client.Request].
func (c *Client) Submit(ctx context.Context, name, method, uri string, header http.Header, body io.Reader, o AsyncOptions) (Run, error) {
	var v Run
	sent := invokeHeaders(method, uri, header)
	if o.ID != "" {
		sent.Set(callIDHeader, o.ID)
	}
	if o.Callback != "" {
		sent.Set(callbackHeader, o.Callback)
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/async/"+name, sent, body)
	if err != nil {
		return v, err
	}
	return v, decode(resp, &v)
}

// Runs returns runs, the newest first, at most 1000.
func (c *Client) Runs(ctx context.Context, q RunQuery) ([]Run, error) {
	var v []Run
	values := url.Values{"function": {q.Function}, "state": {q.State}, "limit": {strconv.Itoa(q.Limit)}}
	return v, c.get(ctx, "/v1/runs?"+values.Encode(), &v)
}

// Run returns a run when it has ended, or as it is when that time, of at most a
// minute, has passed.
func (c *Client) Run(ctx context.Context, id string, wait time.Duration) (Run, error) {
	var v Run
	return v, c.get(ctx, "/v1/runs/"+url.PathEscape(id)+"?"+url.Values{"wait": {wait.String()}}.Encode(), &v)
}

// CancelRun cancels a run that has not ended.
func (c *Client) CancelRun(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodDelete, "/v1/runs/"+url.PathEscape(id), nil, nil)
}

// CallbackSecret returns the key that callbacks of the host are signed with.
func (c *Client) CallbackSecret(ctx context.Context) (string, error) {
	var v CallbackKey
	err := c.get(ctx, "/v1/callback-secret", &v)
	return v.Secret, err
}
