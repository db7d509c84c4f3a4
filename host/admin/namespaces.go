package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/auth"
	"github.com/fnhost/fnhost/trigger/codec"
)

// NamespaceLimits bound what a namespace may use; 0 is no bound.
type NamespaceLimits struct {
	Functions int   `json:"functions,omitempty"` // deployed ones
	Storage   int64 `json:"storage,omitempty"`   // bytes of its streams and buckets in files
	Memory    int64 `json:"memory,omitempty"`    // bytes of its streams in memory; reserved
	Requests  int   `json:"requests,omitempty"`  // in a second, over HTTP and NATS; as many at once
}

// Namespace is what there is to tell of a namespace.
type Namespace struct {
	Name      string          `json:"name"`
	Created   *time.Time      `json:"created,omitempty"` // nil for the default one
	Limits    NamespaceLimits `json:"limits"`
	Functions int             `json:"functions"`
	Storage   int64           `json:"storage"`            // bytes in files
	Memory    int64           `json:"memory"`             // bytes in memory
	Removing  bool            `json:"removing,omitempty"` // it is being removed
	Error     string          `json:"error,omitempty"`    // why it does not serve
}

// NewNamespace asks for a namespace.
type NewNamespace struct {
	Name   string          `json:"name"`
	Limits NamespaceLimits `json:"limits"`
}

// Export lets the namespace To have something of the namespace From: a function, "orders" or
// an endpoint of it, "orders/create"; or what is published on a subject, with or without
// wildcards.
type Export struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Function string `json:"function,omitempty"`
	Subject  string `json:"subject,omitempty"`
}

// Exported is the answer to an export.
type Exported struct {
	// Missing is true if the namespace has no such function yet: it can be called when it is there.
	Missing bool `json:"missing,omitempty"`
}

// String says what is exported where.
func (e Export) String() string {
	if e.Subject != "" {
		return fmt.Sprintf("subject %s of namespace %s to %s", e.Subject, e.From, e.To)
	}
	return fmt.Sprintf("function %s of namespace %s to %s", e.Function, e.From, e.To)
}

// HeaderNamespace is the header of a request that says which namespace it is for.
// Default: "default".
const HeaderNamespace = "X-Fn-Namespace"

// DefaultNamespace is the name of the namespace that a host always has.
const DefaultNamespace = "default"

// namespacesSince is the first version of the API that has namespaces.
const namespacesSince = "1.5"

// Spaces are the namespaces of a host. A [Backend] that implements it, that of the
// default one, has the API manage them.
type Spaces interface {
	// Space returns the backend of a namespace. The error is of code NotFound for one that there is not.
	Space(name string) (Backend, error)
	Namespaces() []Namespace
	CreateNamespace(ctx context.Context, n NewNamespace) (Namespace, error)
	RemoveNamespace(ctx context.Context, name string, force bool) error
	LimitNamespace(ctx context.Context, name string, l NamespaceLimits) (Namespace, error)
	Exports() []Export
	Export(ctx context.Context, e Export) error
	Unexport(ctx context.Context, e Export) error
}

// ofNamespace returns the server of the namespace that a request of the API is for.
func (s *Server) ofNamespace(r *http.Request) (*Server, error) {
	names := r.Header.Values(HeaderNamespace)
	if len(names) > 1 {
		return s, wire.Errorf(wire.BadRequest, "the header %s stands there more than once", HeaderNamespace)
	}
	if len(names) == 0 || names[0] == "" || names[0] == DefaultNamespace || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return s, nil
	}
	spaces, err := s.spaces()
	if err != nil {
		return s, err
	}
	backend, err := spaces.Space(names[0])
	if err != nil {
		return s, err
	}
	if known, ok := s.others.Load(names[0]); ok && known.(*Server).backend == backend {
		return known.(*Server), nil
	}
	one := &Server{backend: backend, log: s.log, door: s.door, auth: s.auth, guesses: s.guesses, known: s.known, mux: http.NewServeMux(), ctx: s.ctx, cancel: s.cancel}
	one.handle()
	s.others.Store(names[0], one)
	return one, nil
}

func (s *Server) namespaceRoutes() []route {
	return []route{
		{pattern: "GET /v1/namespaces", summary: "The namespaces, by name", out: reflect.TypeFor[[]Namespace](), handler: s.namespaces},
		{pattern: "POST /v1/namespaces", summary: "Make a namespace; answered when it serves", in: reflect.TypeFor[NewNamespace](), out: reflect.TypeFor[Namespace](), handler: s.createNamespace},
		{pattern: "DELETE /v1/namespaces/{namespace}", summary: "Remove a namespace with all that is in it; one with functions only if force is true", query: []string{"force"}, handler: s.removeNamespace},
		{pattern: "PUT /v1/namespaces/{namespace}/limits", summary: "Set all limits of a namespace; those left out are none", in: reflect.TypeFor[NamespaceLimits](), out: reflect.TypeFor[Namespace](), handler: s.limitNamespace},
		{pattern: "GET /v1/exports", summary: "What namespaces export to others", out: reflect.TypeFor[[]Export](), handler: s.exports},
		{pattern: "POST /v1/exports", summary: "Have a namespace export a function, or a subject, to another one", in: reflect.TypeFor[Export](), out: reflect.TypeFor[Exported](), handler: s.export},
		{pattern: "DELETE /v1/exports", summary: "End an export, at once", query: []string{"from", "to", "function", "subject"}, handler: s.unexport},
	}
}

// spaces returns what manages namespaces: a request of another namespace may not.
func (s *Server) spaces() (Spaces, error) {
	if spaces, ok := s.backend.(Spaces); ok {
		return spaces, nil
	}
	return nil, wire.Errorf(wire.NotFound, "namespaces are managed without the header %s", HeaderNamespace)
}

func (s *Server) namespaces(w http.ResponseWriter, _ *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	return reply(w, spaces.Namespaces())
}

func (s *Server) createNamespace(w http.ResponseWriter, r *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	var n NewNamespace
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &n); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	noteResource(r, "namespace:"+n.Name, n.Limits.detail())
	made, err := spaces.CreateNamespace(r.Context(), n)
	return replyOr(w, made, err)
}

func (s *Server) removeNamespace(w http.ResponseWriter, r *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	force := false
	if v := r.URL.Query().Get("force"); v != "" {
		if force, err = strconv.ParseBool(v); err != nil {
			return wire.Errorf(wire.BadRequest, "force: want true or false")
		}
	}
	return noContent(w, spaces.RemoveNamespace(r.Context(), r.PathValue("namespace"), force))
}

func (s *Server) limitNamespace(w http.ResponseWriter, r *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	var l NamespaceLimits
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &l); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	noteResource(r, "namespace:"+r.PathValue("namespace"), l.detail())
	n, err := spaces.LimitNamespace(r.Context(), r.PathValue("namespace"), l)
	return replyOr(w, n, err)
}

func (s *Server) exports(w http.ResponseWriter, _ *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	return reply(w, spaces.Exports())
}

func (s *Server) export(w http.ResponseWriter, r *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	var e Export
	if err := codec.Decode(http.MaxBytesReader(w, r.Body, maxRequest), &e); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	noteResource(r, "export", e.String())
	if err := spaces.Export(r.Context(), e); err != nil {
		return err
	}
	return reply(w, Exported{Missing: missingFunction(spaces, e)})
}

// missingFunction reports whether what is exported is a function that is not there.
func missingFunction(spaces Spaces, e Export) bool {
	if e.Function == "" {
		return false
	}
	backend, err := spaces.Space(e.From)
	if err != nil {
		return false
	}
	name, _, _ := strings.Cut(e.Function, "/")
	_, err = backend.Function(name)
	return err != nil && wire.AsError(err).Code == wire.NoFunction
}

// knowsNamespace returns an error of code NotFound for the name of a namespace that there is
// not: what is meant for it would be of nobody, until somebody makes one of that name.
func (s *Server) knowsNamespace(name string) error {
	if s.known == nil || name == "" || name == DefaultNamespace || name == auth.Everywhere {
		return nil
	}
	if slices.ContainsFunc(s.known.Namespaces(), func(n Namespace) bool { return n.Name == name && !n.Removing }) {
		return nil
	}
	if _, err := s.known.Space(name); err != nil {
		return err
	}
	return nil
}

func (s *Server) unexport(w http.ResponseWriter, r *http.Request) error {
	spaces, err := s.spaces()
	if err != nil {
		return err
	}
	q := r.URL.Query()
	e := Export{From: q.Get("from"), To: q.Get("to"), Function: q.Get("function"), Subject: q.Get("subject")}
	noteResource(r, "export", e.String())
	return noContent(w, spaces.Unexport(r.Context(), e))
}

// managesNamespaces reports whether a request is for the host, whatever the namespace of
// the client.
func managesNamespaces(path string) bool {
	return strings.HasPrefix(path, "/v1/namespaces") || strings.HasPrefix(path, "/v1/exports")
}

// Namespaces returns the namespaces of the host, by name.
func (c *Client) Namespaces(ctx context.Context) ([]Namespace, error) {
	var v []Namespace
	return v, c.get(ctx, "/v1/namespaces", &v)
}

// CreateNamespace makes a namespace, which serves when it returns. The error is of code
// BadRequest for a name that is none, Conflict if there is one of that name, and
// Unprocessed for limits that are more than the host has.
func (c *Client) CreateNamespace(ctx context.Context, n NewNamespace) (Namespace, error) {
	var v Namespace
	return v, c.send(ctx, http.MethodPost, "/v1/namespaces", n, &v)
}

// RemoveNamespace removes a namespace with all that is in it. The error is of code
// NotFound if there is none, and Conflict if it has functions and force is not set.
func (c *Client) RemoveNamespace(ctx context.Context, name string, force bool) error {
	return c.send(ctx, http.MethodDelete, "/v1/namespaces/"+url.PathEscape(name)+"?force="+strconv.FormatBool(force), nil, nil)
}

// LimitNamespace sets all limits of a namespace. The error is of code NotFound if there
// is none, and Unprocessed for limits that are more than the host has.
func (c *Client) LimitNamespace(ctx context.Context, name string, l NamespaceLimits) (Namespace, error) {
	var v Namespace
	return v, c.send(ctx, http.MethodPut, "/v1/namespaces/"+url.PathEscape(name)+"/limits", l, &v)
}

// Exports returns what namespaces export to others.
func (c *Client) Exports(ctx context.Context) ([]Export, error) {
	var v []Export
	return v, c.get(ctx, "/v1/exports", &v)
}

// Export has a namespace export a function, or a subject, to another one. The error is of
// code BadRequest for what is no export, NotFound for a namespace that there is not, and
// Unprocessed for a subject that cannot be exported, with why.
func (c *Client) Export(ctx context.Context, e Export) (Exported, error) {
	var v Exported
	return v, c.send(ctx, http.MethodPost, "/v1/exports", e, &v)
}

// Unexport ends an export, at once. The error is of code NotFound if there is none.
func (c *Client) Unexport(ctx context.Context, e Export) error {
	q := url.Values{"from": {e.From}, "to": {e.To}}
	if e.Function != "" {
		q.Set("function", e.Function)
	}
	if e.Subject != "" {
		q.Set("subject", e.Subject)
	}
	return c.send(ctx, http.MethodDelete, "/v1/exports?"+q.Encode(), nil, nil)
}
