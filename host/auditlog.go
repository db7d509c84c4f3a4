package host

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/audit"
	"github.com/fnhost/fnhost/trigger/limit"
)

// auditFlush bounds how long the end of a host waits for its last records.
const auditFlush = 10 * time.Second

// openAudit opens the log of who has changed what.
func (h *Host) openAudit() error {
	node, _ := os.Hostname()
	l, err := audit.New(audit.Config{Conn: h.bus.Control(), Days: h.cfg.AuditDays, Node: node, Logger: h.log})
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	h.audit = l
	h.refusals.limit = rate.NewLimiter(refusalsPerSecond, refusalsAtOnce)
	h.closers = append(h.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), auditFlush)
		defer cancel()
		l.Close(ctx)
	})
	return nil
}

// Refusals that are told of: whoever may not get in must not fill the disk.
const (
	refusalsPerSecond = 1
	refusalsAtOnce    = 100
)

// refusals bounds how many of those are told of, and counts the others.
type refusals struct {
	limit   *rate.Limiter
	mu      sync.Mutex
	skipped int
}

// take reports whether a refusal is told of, and how many before it were not.
func (f *refusals) take() (skipped int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limit.Allow() {
		f.skipped++
		return 0, false
	}
	skipped, f.skipped = f.skipped, 0
	return skipped, true
}

// auditRequest tells of a request to the management API.
func (h *Host) auditRequest(r *http.Request, pattern string, status int, err error) {
	e := audit.Entry{
		Action: admin.ActionOf(pattern), Resource: admin.ResourceOfRequest(r, pattern),
		Account: admin.AccountOf(r), Namespace: admin.NamespaceOf(r), Remote: h.remoteOf(r), OK: err == nil && status < 400, Detail: auditDetail(r),
	}
	if err != nil {
		e.Error = string(wire.AsError(err).Code) // its text may quote what was sent
	} else if !e.OK {
		e.Error = strings.ToLower(http.StatusText(status))
	}
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests
	if refused || e.Account == "" && h.authority() != nil { // such as a login that is none
		skipped, ok := h.refusals.take()
		if !ok {
			return
		}
		if skipped > 0 {
			e.Detail = strings.TrimPrefix(fmt.Sprintf("%s; %d refused before it are not told of", e.Detail, skipped), "; ")
		}
	}
	e.Resource, e.Detail = cut(e.Resource), cut(e.Detail)
	h.audit.Record(e)
}

// told are the parameters that records have: names, and nothing that may be confidential.
var told = []string{"dir", "name", "release", "canary", "ref", "commit", "by", "function", "version", "path", "subject", "until", "keys"}

// auditDetail returns what there is to tell of a request beside its path.
func auditDetail(r *http.Request) string {
	var parts []string
	if detail := admin.OutcomeDetail(r); detail != "" {
		parts = append(parts, detail)
	}
	query := r.URL.Query()
	for _, key := range told {
		if value := query.Get(key); value != "" {
			parts = append(parts, key+"="+value)
		}
	}
	if u, err := url.Parse(query.Get("url")); err == nil && u.Host != "" {
		parts = append(parts, "url="+u.Scheme+"://"+u.Host+u.EscapedPath()) // without who may read it
	}
	return strings.Join(parts, " ")
}

// cut bounds a text of a record.
func cut(s string) string {
	const most = 500
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// remoteOf is the address that a request comes from.
func (h *Host) remoteOf(r *http.Request) string {
	if addr := limit.ClientAddr(r, h.cfg.TrustedProxies); addr.IsValid() {
		return addr.String()
	}
	return r.RemoteAddr
}

// Audit implements [admin.Backend].
func (b backend) Audit(ctx context.Context, q audit.Query, yield func(audit.Record) error) error {
	return b.host.Audit(ctx, q, yield)
}

// VerifyAudit implements [admin.Backend].
func (b backend) VerifyAudit(ctx context.Context) (audit.Verified, error) {
	return b.h.audit.Verify(ctx)
}

// Audit yields who has changed what over the management API, the oldest first; see
// [audit.Log.Read].
func (h *Host) Audit(ctx context.Context, q audit.Query, yield func(audit.Record) error) error {
	return h.audit.Read(ctx, q, yield)
}
