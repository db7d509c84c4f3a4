package gateway

import (
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/codec"
)

// problem is a problem document (RFC 9457).
type problem struct {
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail,omitempty"`
	Code       string `json:"code"`
	Function   string `json:"function,omitempty"`
	Invocation string `json:"invocation,omitempty"`
	// Stored are the events of a batch that were stored before one could not be.
	Stored []receipt `json:"stored,omitempty"`
}

// Fail answers a request that is for no function of this gateway with an error.
func (g *Gateway) Fail(w http.ResponseWriter, r *http.Request, err error) { g.fail(w, r, "", err) }

// fail answers with an error.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, invocation string, err error) {
	e := wire.AsError(err)
	status := trigger.StatusOf(e)
	if e.Code == codeSlow {
		status = http.StatusRequestTimeout
	}
	var notReady *trigger.NotReady
	isNotReady := errors.As(err, &notReady)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && h["Retry-After"] == nil {
		h.Set("Retry-After", "1")
	}
	if status == http.StatusUnauthorized && g.cfg.Door != nil {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if invocation != "" {
		h["X-Fn-Invocation"] = []string{invocation}
	}
	if isNotReady && wantsHTML(r) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		notReadyPage.Execute(w, notReady)
		return
	}
	p := problem{Title: http.StatusText(status), Status: status, Detail: e.Message, Code: string(e.Code), Invocation: invocation}
	if status == 499 {
		p.Title = "Client Closed Request"
	}
	var broken *brokenBatch
	if errors.As(err, &broken) {
		p.Stored, p.Detail = broken.stored, broken.Error()
	}
	if isNotReady {
		p.Function, p.Detail = notReady.Function, notReady.Detail
	}
	body, err := codec.Marshal(p)
	if err != nil {
		body = []byte(`{"status":500}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// notReadyPage is what a browser sees of a function that has never been built.
// It asks again by itself, so that the page becomes the function's once it can.
var notReadyPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="1"><title>{{.Function}}: not ready</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1.5rem}
h1{font-size:1.25rem;margin:0 0 .25rem}
p{margin:.25rem 0 1.25rem;opacity:.75}
div{padding:1rem 1.25rem;margin:0 0 1rem;border-left:4px solid #c33;background:rgba(204,51,51,.08)}
pre{font:14px/1.5 ui-monospace,monospace;margin:0;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
pre.source{margin-top:.5rem;white-space:pre;overflow-x:auto}
</style></head><body>
<h1>{{.Function}} {{or .Problem "is not ready"}}</h1>
<p>No version of it was ever ready. This page looks again each second, and goes on when one is.</p>
{{range .Faults}}<div><pre>{{.Message}}</pre>{{with .Excerpt}}<pre class="source">{{.}}</pre>{{end}}</div>
{{else}}<div><pre>{{.Detail}}</pre></div>
{{end}}</body></html>
`))
