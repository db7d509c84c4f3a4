package host

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/admin"
)

// Gateway returns the HTTP handler of the functions, at paths /function[/…], to
// mount in a server of your own. [Host.Run] serves it at Config.HTTP. A request is for
// the default namespace, unless it names another one: by a header X-Fn-Namespace, by a path
// /@namespace/function[/…], or by a subdomain of Config.Domain.
func (h *Host) Gateway() http.Handler { return http.HandlerFunc(h.serveGateway) }

// serveGateway hands a request to the gateway of its namespace.
func (h *Host) serveGateway(w http.ResponseWriter, r *http.Request) {
	name, prefix, err := h.namespaceOf(r)
	var ns *Namespace
	if err == nil {
		ns, err = h.Namespace(name)
	}
	if err != nil {
		h.gateway.Fail(w, r, h.forStrangers(r, err))
		return
	}
	if prefix != "" {
		r = without(r, prefix)
	}
	ns.gateway.ServeHTTP(w, r)
}

// forStrangers returns what is to be said of a namespace that there is not: to who has proved
// nothing, no more than of one that there is.
func (h *Host) forStrangers(r *http.Request, err error) error {
	if h.authority() == nil {
		return err
	}
	id, refused := door{h.first}.identify(r, true)
	switch {
	case refused != nil:
		return refused
	case id == nil:
		return wire.Errorf(wire.Unauthorized, "this wants to know who asks: send a token (Authorization: Bearer …)")
	}
	return err
}

// namespaceOf returns the namespace that a request to the gateway is for, "" if it names
// none, and what of its path does so. The error is of code BadRequest if it names two.
func (h *Host) namespaceOf(r *http.Request) (name, prefix string, err error) {
	by := ""
	named := func(n, how string) {
		if name != "" && name != n {
			err = wire.Errorf(wire.BadRequest, "the request is for the namespace %q by %s and for %q by %s: name one", name, by, n, how)
		}
		name, by = n, how
	}
	for _, n := range r.Header[admin.HeaderNamespace] {
		if n != "" {
			named(n, "its header "+admin.HeaderNamespace)
		}
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/@"); ok {
		if n, _, _ := strings.Cut(rest, "/"); n != "" {
			prefix = "/@" + n
			named(n, "its path")
		}
	}
	if n := h.subdomain(r.Host); n != "" {
		named(n, "its host name")
	}
	return name, prefix, err
}

// subdomain returns the label before Config.Domain in a host name, "" if there is none.
func (h *Host) subdomain(host string) string {
	if h.cfg.Domain == "" {
		return ""
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	label, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(host), "."), "."+h.cfg.Domain)
	if !ok {
		return ""
	}
	return label
}

// without returns a request whose path does not begin with prefix any more.
func without(r *http.Request, prefix string) *http.Request {
	next := new(http.Request)
	*next = *r
	next.URL = new(url.URL)
	*next.URL = *r.URL
	if next.URL.Path = strings.TrimPrefix(r.URL.Path, prefix); next.URL.Path == "" {
		next.URL.Path = "/"
	}
	if raw := strings.TrimPrefix(r.URL.RawPath, prefix); raw != r.URL.RawPath {
		next.URL.RawPath = raw
	} else if r.URL.RawPath != "" { // the name itself is escaped
		_, raw, _ := strings.Cut(strings.TrimPrefix(r.URL.RawPath, "/"), "/")
		next.URL.RawPath = "/" + raw
	}
	return next
}
