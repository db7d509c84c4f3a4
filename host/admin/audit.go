package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Auditor is what the API needs of a host to tell who has changed what.
type Auditor interface {
	Audit(ctx context.Context, q audit.Query, yield func(audit.Record) error) error
	VerifyAudit(ctx context.Context) (audit.Verified, error)
}

// maxAudit bounds how many records are asked for.
const maxAudit = 100_000

func (s *Server) auditRoutes() []route {
	return []route{
		{pattern: "GET /v1/audit", summary: "Who has changed what, or was refused: the latest records, the oldest first; action functions is also that of functions.release",
			query: []string{"since", "account", "action", "limit", "follow"}, out: reflect.TypeFor[audit.Record](), lines: true, handler: s.auditRecords},
		{pattern: "GET /v1/audit/verify", summary: "Compare each audit record with what the next one says of it", out: reflect.TypeFor[audit.Verified](),
			handler: func(w http.ResponseWriter, r *http.Request) error {
				v, err := s.backend.VerifyAudit(r.Context())
				return replyOr(w, v, err)
			}},
	}
}

func (s *Server) auditRecords(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := audit.Query{Account: v.Get("account"), Action: v.Get("action")}
	var err error
	if text := v.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return wire.Errorf(wire.BadRequest, "since=%.40s: want a time like 2026-01-02T15:04:05Z", text)
		}
	}
	if q.Limit, err = number(v, "limit", 0, maxAudit); err != nil {
		return err
	}
	if text := v.Get("follow"); text != "" {
		if q.Follow, err = strconv.ParseBool(text); err != nil {
			return wire.Errorf(wire.BadRequest, "follow=%.40s: want true or false", text)
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if q.Follow {
		http.NewResponseController(w).Flush() // the client knows that it is heard
	}
	return stream(s, w, r, func(ctx context.Context, yield func(audit.Record) error) error {
		err := s.backend.Audit(ctx, q, yield)
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}

// Audit calls yield with the records that q chooses, the oldest first, until there are no
// more, yield returns an error, or, when following, ctx ends or the host goes away.
func (c *Client) Audit(ctx context.Context, q audit.Query, yield func(audit.Record) error) error {
	v := url.Values{"account": {q.Account}, "action": {q.Action}, "follow": {strconv.FormatBool(q.Follow)}}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/audit?"+v.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		var rec audit.Record
		if err := codec.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
}

// VerifyAudit compares each audit record with what the next one says of it. What is wrong
// is in the result.
func (c *Client) VerifyAudit(ctx context.Context) (audit.Verified, error) {
	var v audit.Verified
	return v, c.get(ctx, "/v1/audit/verify", &v)
}

// confidential are the reads that are told of like changes: of all that there is, and
// of a key.
var confidential = map[string]bool{"GET /v1/backup": true, "GET /v1/callback-secret": true}

// quiet are the changes that are told of only if they fail: who is logged in makes them all day.
var quiet = map[string]bool{"POST /v1/refresh": true}

// isAudited reports whether a request is one that is told of.
func isAudited(r *http.Request, pattern string) bool {
	switch {
	case pattern == "" || confidential[pattern]:
		return pattern != ""
	case pattern == gitPattern:
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
	}
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

// audited returns what to serve a request with, and what is to be called when it has
// ended, however it has: nobody is told of what only reads.
func (s *Server) audited(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, func()) {
	if s.audit == nil {
		return w, r, func() {}
	}
	_, pattern := s.mux.Handler(r)
	if !isAudited(r, pattern) {
		return w, r, func() {}
	}
	o := new(outcome)
	r = r.WithContext(context.WithValue(r.Context(), outcomeKey{}, o))
	a := &auditedWriter{ResponseWriter: w, status: http.StatusOK}
	return a, r, func() {
		err := a.err
		if _, noted := o.get(); err == nil {
			err = noted
		}
		if quiet[pattern] && err == nil && a.status < 400 {
			return
		}
		s.audit(r, pattern, a.status, err)
	}
}

// auditedWriter keeps what was answered.
type auditedWriter struct {
	http.ResponseWriter
	status int
	err    error
}

func (a *auditedWriter) WriteHeader(status int) {
	if status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (a *auditedWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// outcome is what became of a request whose answer had begun before that was known.
type outcome struct {
	mu       sync.Mutex
	err      error
	detail   string
	account  string // who has asked
	resource string // that its path does not tell
}

type outcomeKey struct{}

func (o *outcome) get() (detail string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.detail, o.err
}

// NoteOutcome says what became of what the request of ctx has asked for, where its
// status does not: nil is well. The detail holds names, and nothing confidential. A
// later call replaces an earlier one; without an audit it does nothing.
func NoteOutcome(ctx context.Context, err error, detail string) {
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		o.mu.Lock()
		o.err, o.detail = err, detail
		o.mu.Unlock()
	}
}

// OutcomeDetail returns the detail that [NoteOutcome] was told.
func OutcomeDetail(r *http.Request) string {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		detail, _ := o.get()
		return detail
	}
	return ""
}

// noteResource says what a request is about, where its path does not, and in detail what it
// changes: names, and nothing confidential.
func noteResource(r *http.Request, resource, detail string) {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		o.mu.Lock()
		o.resource, o.detail = resource, detail
		o.mu.Unlock()
	}
}

// ResourceOfRequest returns what a request is about of which Options.Audit is told: what its
// handler says, or else [ResourceOf] its path.
func ResourceOfRequest(r *http.Request, pattern string) string {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.resource != "" {
			return o.resource
		}
	}
	return ResourceOf(pattern, r.URL.EscapedPath())
}

// noteAccount says who has asked for a request.
func noteAccount(r *http.Request, account string) {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		o.mu.Lock()
		o.account = account
		o.mu.Unlock()
	}
}

// AccountOf returns who has proved to have asked for a request of which Options.Audit is told,
// also if that one was refused; "" for nobody.
func AccountOf(r *http.Request) string {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.account
	}
	return ""
}

// errLeft is the outcome of a deploy until its end.
var errLeft = wire.Errorf(wire.Canceled, "the client has gone before the end of the deploy, which goes on")

func noteDeploy(ctx context.Context, e *DeployEvent) {
	switch {
	case e.Error != nil:
		NoteOutcome(ctx, &wire.Error{Code: wire.Code(e.Error.Code), Message: e.Error.Detail}, "")
	case e.Last():
		NoteOutcome(ctx, nil, Served(e.Result))
	default:
		NoteOutcome(ctx, errLeft, "the client has gone before the end")
	}
}

// Served lists what was deployed: "orders v3, shop v1".
func Served(list []Deployed) string {
	var names []string
	for _, d := range list {
		names = append(names, d.Function+" "+d.Version)
	}
	return strings.Join(names, ", ")
}
