package admin

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fnhost/fnhost/host/auth"
)

// What the audit says of changes beside their paths. No password, token or key is in it.

// details joins what there is to tell: words, and pairs as "scopes=a,b" that have a value.
func details(parts ...string) string {
	var out []string
	for _, part := range parts {
		if part != "" && !strings.HasSuffix(part, "=") {
			out = append(out, part)
		}
	}
	return strings.Join(out, " ")
}

// accountResource is an account as a resource of the audit. Anybody may try to log in, as whatever.
func accountResource(name string) string {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return "account:" + name
}

func (req *AccountRequest) detail() string {
	scopes, password := "", ""
	if req.Scopes != nil {
		if scopes = "scopes=" + strings.Join(*req.Scopes, ","); len(*req.Scopes) == 0 {
			scopes = "no scopes"
		}
	}
	if req.Password != nil {
		if password = "a new password"; *req.Password == "" {
			password = "no password"
		}
	}
	return details("namespace="+req.Namespace, "kind="+req.Kind, scopes, password)
}

func tokenDetail(t *auth.Token) string {
	expires := ""
	if !t.Expires.IsZero() {
		expires = t.Expires.UTC().Format("2006-01-02T15:04:05Z")
	}
	return details("name="+t.Name, "account="+t.Account, "namespace="+t.Namespace, "scopes="+strings.Join(t.Scopes, ","), "until="+expires)
}

func ruleDetail(r *Rule) string {
	return details(string(r.Access), r.Resource, "scope="+r.Scope, fmt.Sprintf("priority=%d", r.Priority), "namespace="+r.Namespace)
}

func issuerDetail(i *Issuer) string {
	from := ""
	if u, err := url.Parse(i.URL); err == nil && u.Host != "" {
		from = u.Scheme + "://" + u.Host + u.EscapedPath()
	}
	return details("url="+from, "audience="+i.Audience, "namespace="+i.Namespace)
}

func (l NamespaceLimits) detail() string {
	var parts []string
	for _, one := range []struct {
		name string
		n    int64
	}{{"functions", int64(l.Functions)}, {"storage", l.Storage}, {"memory", l.Memory}, {"requests", int64(l.Requests)}} {
		if one.n != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", one.name, one.n))
		}
	}
	if parts == nil {
		return "no limits"
	}
	return strings.Join(parts, " ")
}

// detail says what is asked for.
func (req *ReleaseRequest) detail() string {
	switch {
	case req.Promote:
		return "promote"
	case req.Rollback != "":
		return "rollback=" + req.Rollback
	}
	return partsDetail(req.Parts)
}

// partsDetail is a release as "v3", or "v3=90 v4=10".
func partsDetail(list []Part) string {
	var parts []string
	for _, p := range list {
		if len(list) == 1 {
			return p.Version
		}
		parts = append(parts, fmt.Sprintf("%s=%d", p.Version, p.Weight))
	}
	return strings.Join(parts, " ")
}
