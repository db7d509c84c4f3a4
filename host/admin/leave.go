package admin

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
)

// leave says what somebody must be allowed to whom a route is to answer.
type leave struct {
	// resource is of rules; {name} in it stands for that part of the path, and {?name} for that
	// parameter of the query, _ where there is none.
	resource string
	// host is set for what belongs to the host as a whole, whatever the namespace.
	host bool
	// open lets anybody, and known anybody who has proved something; the handler looks further.
	open, known bool
}

func in(resource string) leave     { return leave{resource: resource} }
func ofHost(resource string) leave { return leave{resource: resource, host: true} }

// leaves says of each route who may use it. A route that is not here answers nobody.
var leaves = map[string]leave{
	"GET /healthz":                         {open: true},
	"GET /v1/openapi.json":                 {open: true},
	"GET /.well-known/jwks.json":           {open: true},
	"POST /v1/login":                       {open: true},
	"POST /v1/refresh":                     {open: true},
	"POST /v1/logout":                      {open: true},
	"GET /v1/whoami":                       {known: true},
	"GET /v1/auth/check":                   {known: true}, // of others: admin:auth
	"GET /v1/tokens":                       {known: true}, // its own; all: admin:auth
	"POST /v1/tokens":                      {known: true}, // for itself; for others: admin:auth
	"DELETE /v1/tokens/{id}":               {known: true}, // its own; others: admin:auth
	"GET /v1/accounts":                     ofHost("admin:auth"),
	"POST /v1/accounts":                    ofHost("admin:auth"),
	"PATCH /v1/accounts/{account}":         {known: true}, // its own password; all else: admin:auth
	"DELETE /v1/accounts/{account}":        ofHost("admin:auth"),
	"DELETE /v1/accounts/{account}/logins": {known: true}, // its own; others: admin:auth
	"GET /v1/rules":                        ofHost("admin:auth"),
	"POST /v1/rules":                       ofHost("admin:auth"),
	"DELETE /v1/rules/{id}":                ofHost("admin:auth"),
	"GET /v1/issuers":                      ofHost("admin:auth"),
	"POST /v1/issuers":                     ofHost("admin:auth"),
	"DELETE /v1/issuers/{name}":            ofHost("admin:auth"),
	"GET /v1/keys":                         ofHost("admin:auth"),
	"POST /v1/keys/rotate":                 ofHost("admin:auth"),

	"GET /v1/audit":                               ofHost("admin:audit"),
	"GET /v1/audit/verify":                        ofHost("admin:audit"),
	"GET /v1/namespaces":                          ofHost("admin:namespaces"),
	"POST /v1/namespaces":                         ofHost("admin:namespaces"),
	"DELETE /v1/namespaces/{namespace}":           ofHost("admin:namespaces"),
	"PUT /v1/namespaces/{namespace}/limits":       ofHost("admin:namespaces"),
	"GET /v1/exports":                             ofHost("admin:namespaces"),
	"POST /v1/exports":                            ofHost("admin:namespaces"),
	"DELETE /v1/exports":                          ofHost("admin:namespaces"),
	"GET /v1/info":                                in("admin:read"),
	"GET /v1/status":                              in("admin:read"),
	"GET /v1/schemas/function.json":               in("admin:read"),
	"GET /v1/functions":                           in("admin:read"),
	"GET /v1/functions/{name}":                    in("admin:read"),
	"GET /v1/functions/{name}/versions":           in("admin:read"),
	"GET /v1/functions/{name}/versions/{version}": in("admin:read"),
	"DELETE /v1/functions/{name}":                 in("admin:deploy"),
	"POST /v1/functions/{name}/release":           in("admin:deploy"),
	"POST /v1/invoke/{name...}":                   in("function:{name}"),
	"POST /v1/async/{name...}":                    in("function:{name}"),
	"GET /v1/logs":                                in("admin:logs"),
	"GET /v1/deploys":                             in("admin:read"),
	"PUT /v1/deploys/{id}":                        in("admin:deploy"),
	"GET /v1/deploys/{id}":                        in("admin:read"),
	"DELETE /v1/deploys/{id}":                     in("admin:deploy"),
	"GET /v1/triggers":                            in("admin:read"),
	"POST /v1/functions/{name}/pause":             in("admin:triggers"),
	"POST /v1/functions/{name}/resume":            in("admin:triggers"),
	"POST /v1/functions/{name}/replay":            in("admin:replay"),
	"GET /v1/events":                              in("admin:events"),
	"GET /v1/events/{stream}/{sequence}":          in("admin:events"),
	"POST /v1/events/{subject}":                   in("subject:publish:{subject}"),
	"GET /v1/dead":                                in("admin:dead"),
	"GET /v1/dead/{id}":                           in("admin:dead"),
	"POST /v1/dead/{id}/redrive":                  in("admin:dead"),
	"DELETE /v1/dead/{id}":                        in("admin:dead"),
	"GET /v1/runs":                                in("admin:runs"),
	"GET /v1/runs/{id}":                           in("admin:runs"),
	"DELETE /v1/runs/{id}":                        in("admin:runs"),
	"GET /v1/callback-secret":                     in("admin:runs"),
	"GET /v1/backup":                              ofHost("admin:backup"),
	"POST /v1/master-key/rotate":                  ofHost("admin:auth"),

	"GET /v1/buckets":                             in("admin:read"),
	"POST /v1/buckets":                            in("admin:deploy"),
	"GET /v1/buckets/{bucket}":                    in("bucket:{bucket}:read"),
	"DELETE /v1/buckets/{bucket}":                 in("bucket:{bucket}:write"),
	"GET /v1/buckets/{bucket}/keys":               in("bucket:{bucket}:read"),
	"GET /v1/buckets/{bucket}/watch":              in("bucket:{bucket}:read"),
	"GET /v1/buckets/{bucket}/keys/{key}":         in("bucket:{bucket}:read"),
	"PUT /v1/buckets/{bucket}/keys/{key}":         in("bucket:{bucket}:write"),
	"DELETE /v1/buckets/{bucket}/keys/{key}":      in("bucket:{bucket}:write"),
	"GET /v1/buckets/{bucket}/keys/{key}/history": in("bucket:{bucket}:read"),
	"POST /v1/buckets/{bucket}/keys/{key}/add":    in("bucket:{bucket}:write"),
	"GET /v1/blobs":                               in("admin:read"),
	"PUT /v1/blobs/{store}":                       in("blob:{store}:write"),
	"DELETE /v1/blobs/{store}":                    in("blob:{store}:write"),
	"GET /v1/blobs/{store}/blobs":                 in("blob:{store}:read"),
	"GET /v1/blobs/{store}/blobs/{name}":          in("blob:{store}:read"),
	"PUT /v1/blobs/{store}/blobs/{name}":          in("blob:{store}:write"),
	"DELETE /v1/blobs/{store}/blobs/{name}":       in("blob:{store}:write"),
	"GET /v1/config":                              in("config:{?function}:read"),
	"GET /v1/config/effective":                    in("config:{?function}:read"),
	"GET /v1/config/history":                      in("config:{?function}:read"),
	"PUT /v1/config":                              in("config:{?function}:write"),
	"DELETE /v1/config":                           in("config:{?function}:write"),
	"POST /v1/config/rollback":                    in("config:{?function}:write"),
	"GET /v1/secrets":                             in("admin:read"),
	"GET /v1/secrets/{name...}":                   in("admin:read"),
	"PUT /v1/secrets/{name...}":                   in("secret:{name}:write"),
	"DELETE /v1/secrets/{name...}":                in("secret:{name}:write"),
}

// gitLeave is that of a push, and of a fetch, too: a repository is source.
var gitLeave = in("admin:deploy")

// Door says who asks, and whether they may.
type Door interface {
	// Enter returns who has proved to ask, "" for nobody. The error is a *wire.Error of code
	// Unauthorized if it wants to know who asks, Forbidden if that one may not, or
	// Unavailable. The namespace of what is the host's as a whole is "*". With the resource ""
	// all that counts is that somebody has proved something.
	Enter(r *http.Request, namespace, resource string) (who string, err error)
}

type whoKey struct{}

// Who returns the account that has proved to ask for a request, "" for nobody.
func Who(r *http.Request) string { return WhoIn(r.Context()) }

// WhoIn is [Who] of a request by its context.
func WhoIn(ctx context.Context) string {
	who, _ := ctx.Value(whoKey{}).(string)
	return who
}

// by returns who is to be noted as having done something: who has proved to, or else
// whoever the request says.
func by(r *http.Request) string { return byOr(r, r.URL.Query().Get("by")) }

// byOr is by where the request says it in its body.
func byOr(r *http.Request, said string) string { return cmp.Or(Who(r), said) }

// guard lets a request through to a handler if it may have what that gives.
func (s *Server) guard(l leave, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.door == nil || l.open {
			next.ServeHTTP(w, r)
			return
		}
		if l.resource == "" && !l.known {
			fail(w, wire.Errorf(wire.Forbidden, "%s %s has no rule, and so nobody may: this is a bug in fnhost", r.Method, r.URL.Path))
			return
		}
		namespace := NamespaceOf(r)
		if l.host {
			namespace = "*"
		}
		who, err := s.door.Enter(r, namespace, l.target(r))
		if err != nil {
			noteAccount(r, who)
			w.Header().Set("WWW-Authenticate", challenge(r))
			fail(w, err)
			return
		}
		noteAccount(r, who)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, who)))
	})
}

// may returns an error for who may not do what belongs to the host as a whole.
func (s *Server) may(r *http.Request, resource string) error {
	if s.door == nil {
		return nil
	}
	_, err := s.door.Enter(r, "*", resource)
	return err
}

// target returns the resource that a request is for.
func (l leave) target(r *http.Request) string {
	head, rest, ok := strings.Cut(l.resource, "{")
	if !ok {
		return l.resource
	}
	name, tail, _ := strings.Cut(rest, "}")
	value := r.PathValue(name)
	if q, ok := strings.CutPrefix(name, "?"); ok {
		if value = r.URL.Query().Get(q); value == "" {
			value = "_"
		}
	}
	if strings.HasPrefix(head, "function:") {
		value = strings.ReplaceAll(value, "/", ":") // an endpoint
	}
	return head + value + tail
}

// NamespaceOf returns the namespace that a request is for: of git the one in the path,
// /git/@acme/orders, and of all else that in the header.
func NamespaceOf(r *http.Request) string {
	name := r.Header.Get(HeaderNamespace)
	if rest, ok := strings.CutPrefix(r.URL.Path, "/git/"); ok {
		name = ""
		if first, _, _ := strings.Cut(rest, "/"); strings.HasPrefix(first, "@") {
			name = first[1:]
		}
	}
	if name == "" {
		return DefaultNamespace
	}
	return name
}

// askedIn returns the namespace that the routes ask about a resource in.
func askedIn(r *http.Request, resource string) string {
	for _, l := range leaves {
		if l.host && l.resource == resource {
			return "*"
		}
	}
	return NamespaceOf(r)
}

// failure answers with an error.
type failure struct{ err error }

func (f failure) ServeHTTP(w http.ResponseWriter, _ *http.Request) { fail(w, f.err) }
