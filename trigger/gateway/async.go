package gateway

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/codec"
)

// Async stores calls that are answered later, and knows what has become of them.
type Async interface {
	// Submit stores a call, and returns its run: that of an earlier call, if it is of
	// the same ID.
	Submit(ctx context.Context, inv *trigger.Invocation, o trigger.AsyncOptions) (*trigger.Run, error)
	// WaitRun returns a run when it has ended, or as it is when ctx ends.
	WaitRun(ctx context.Context, id string) (*trigger.Run, error)
	// CancelRun cancels a run that has not ended.
	CancelRun(ctx context.Context, id string) (*trigger.Run, error)
}

// runsPath begins the paths of runs. No function has a name that begins so.
const runsPath = "/_runs/"

// Headers of asynchronous calls.
const (
	headerPrefer   = "Prefer"
	headerApplied  = "Preference-Applied"
	headerCallID   = "X-Call-Id"
	headerCallback = "X-Callback-Url"
	preferAsync    = "respond-async"
)

// wantsAsync reports whether a request prefers an answer at once, and the result
// later (RFC 7240). Of a safe method that only asks what there is, it is not heard.
func wantsAsync(r *http.Request) bool {
	values := r.Header[headerPrefer]
	if len(values) == 0 || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return false
	}
	for _, v := range values {
		for name := range preferences(v) {
			if strings.EqualFold(name, preferAsync) {
				return true
			}
		}
	}
	return false
}

// preferences yields the names of the preferences in a header: what begins each
// part between commas, and ends at its value or its parameters. Commas in quoted
// values part nothing.
func preferences(v string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for v != "" {
			end, quoted := 0, false
			for ; end < len(v) && (quoted || v[end] != ','); end++ {
				switch v[end] {
				case '"':
					quoted = !quoted
				case '\\':
					if quoted && end+1 < len(v) {
						end++
					}
				}
			}
			part := v[:end]
			v = strings.TrimPrefix(v[end:], ",")
			name := part
			if i := strings.IndexAny(part, ";="); i >= 0 {
				name = part[:i]
			}
			if !yield(strings.Trim(name, " \t")) {
				return
			}
		}
	}
}

// submit stores a call instead of running it, and answers when it is stored.
func (g *Gateway) submit(w http.ResponseWriter, r *http.Request, t *target) {
	inv := &trigger.Invocation{Function: t.fn.Name, Endpoint: t.endpoint.Name, Version: r.Header.Get(trigger.HeaderVersion), Trigger: trigger.Async}
	run, err := g.storeCall(w, r, t, inv)
	if err != nil {
		g.fail(w, r, "", err)
		return
	}
	location := mountedAt(r) + runsPath + url.PathEscape(run.ID)
	h := w.Header()
	h.Set("Location", location)
	h.Set(headerCallID, run.ID)
	h.Set(headerApplied, preferAsync)
	writeRun(w, http.StatusAccepted, run, location)
}

func (g *Gateway) storeCall(w http.ResponseWriter, r *http.Request, t *target, inv *trigger.Invocation) (*trigger.Run, error) {
	header := make(wire.Header, 0, 1<<10)
	var err error
	if inv.Header, err = requestHeader(header, r, t); err != nil {
		return nil, err
	}
	b, err := readBody(w, r, t, inv)
	if err != nil {
		return nil, err
	}
	if b != nil {
		defer b.release()
		if inv.Payload, err = io.ReadAll(b); err != nil {
			return nil, bodyError(err)
		}
		inv.Body = nil
	}
	return g.cfg.Async.Submit(r.Context(), inv, trigger.AsyncOptions{ID: r.Header.Get(headerCallID), Callback: r.Header.Get(headerCallback)})
}

// runState is what is told of a run while it has no result.
type runState struct {
	ID       string           `json:"id"`
	Status   trigger.RunState `json:"status"`
	Location string           `json:"location"`
	Function string           `json:"function"`
	Attempts int              `json:"attempts,omitempty"`
	Error    string           `json:"error,omitempty"` // of the latest attempt
}

func writeRun(w http.ResponseWriter, status int, run *trigger.Run, location string) {
	body, err := codec.Marshal(runState{run.ID, run.State, location, run.Function, run.Attempts, run.Error})
	if err != nil {
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// maxWait bounds how long a request may wait for the end of a run.
const maxWait = 60 * time.Second

// serveRun answers requests for runs. Who knows the ID of one may read and cancel it, unless
// it is of somebody who was known.
func (g *Gateway) serveRun(rt *routes, w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, runsPath)
	wait, err := parseWait(r)
	var run *trigger.Run
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		run, err = g.cfg.Async.WaitRun(ctx, id)
	}
	if err != nil {
		g.fail(w, r, "", err)
		return
	}
	next := func(w http.ResponseWriter, r *http.Request) { g.answerRun(w, r, run) }
	if c := rt.cors[run.Function]; c != nil {
		c.ServeHTTP(w, r, next)
		return
	}
	next(w, r)
}

func (g *Gateway) answerRun(w http.ResponseWriter, r *http.Request, run *trigger.Run) {
	if err := g.ownRun(r, run); err != nil {
		g.fail(w, r, "", err)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		g.result(w, r, run)
	case http.MethodDelete:
		if _, err := g.cfg.Async.CancelRun(r.Context(), run.ID); err != nil {
			g.fail(w, r, "", err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, HEAD, DELETE")
		g.fail(w, r, "", wire.Errorf(wire.NoMethod, "%s is not allowed here; allowed: GET, HEAD, DELETE", r.Method))
	}
}

// parseWait returns how long a request waits for a run: not at all unless it says so.
func parseWait(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" || r.Method != http.MethodGet {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, wire.Errorf(wire.BadRequest, "wait=%.40q: want a duration such as 10s, of at most %v", text, maxWait)
	}
	return min(d, maxWait), nil
}

// result answers with what the function has answered, or with how far the run is.
func (g *Gateway) result(w http.ResponseWriter, r *http.Request, run *trigger.Run) {
	w.Header().Set(headerCallID, run.ID)
	switch {
	case !run.State.Ended():
		w.Header().Set("Retry-After", "1")
		writeRun(w, http.StatusAccepted, run, mountedAt(r)+runsPath+url.PathEscape(run.ID))
	case run.State == trigger.RunCanceled, run.Status == 0:
		g.fail(w, r, run.ID, run.Err())
	case run.Dropped:
		g.fail(w, r, run.ID, wire.Errorf(wire.TooLarge, "the run is %s with status %d; its result of %d bytes was too large to be kept", run.State, run.Status, run.OutputSize))
	default:
		g.respond(w, r, &trigger.Invocation{ID: run.ID, Function: run.Function}, &trigger.Result{Version: run.Version, Header: run.Header, Payload: run.Output})
	}
}
