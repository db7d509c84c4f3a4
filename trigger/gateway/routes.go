package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/rs/cors"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
)

// routes is what a Gateway knows of the functions at one time.
type routes struct {
	functions map[string]*trigger.Function
	pending   []string // whose first version is not ready
	cors      map[string]*cors.Cors
	limits    map[string]*limited // by function, and by routeID
	mux       *http.ServeMux      // the manifests' routes; nil if there are none
}

// Update implements [trigger.Trigger]. A route that conflicts with that of
// another function is left out, with a warning.
func (g *Gateway) Update(t *trigger.Table) {
	rt, before := &routes{functions: t.Functions}, g.routes.Load()
	rt.limitsOf(before, t.Functions)
	var routed []string
	for name, fn := range t.Functions {
		if len(fn.Manifest.Triggers.HTTP) > 0 {
			routed = append(routed, name)
		}
		if fn.Manifest.CORS != nil {
			if rt.cors == nil {
				rt.cors = make(map[string]*cors.Cors)
			}
			rt.cors[name] = newCORS(fn.Manifest.CORS)
		}
	}
	for name, list := range t.Pending {
		rt.pending = append(rt.pending, name)
		if len(list) > 0 {
			routed = append(routed, name)
		}
	}
	slices.Sort(routed) // so that the same one of two that conflict wins each time
	for _, name := range routed {
		if rt.mux == nil {
			rt.mux = http.NewServeMux()
		}
		list := t.Pending[name]
		fn := t.Functions[name]
		if fn != nil {
			list = fn.Manifest.Triggers.HTTP
		}
		for _, route := range list {
			if err := rt.add(g, before, name, fn, route); err != nil {
				g.log.Warn("a route is left out: "+err.Error(), "function", name, "route", route.Path)
			}
		}
	}
	g.routes.Store(rt)
}

var wildcard = regexp.MustCompile(`\{([^}.$]+)(?:\.\.\.)?\}`)

// routeHandler is what the mux holds for a pattern of a function.
type routeHandler struct {
	function string
	http.HandlerFunc
}

// add registers a route of the function name; fn is nil while its first version
// is being built. A pattern that conflicts with another one is left out.
func (rt *routes) add(g *Gateway, before *routes, name string, fn *trigger.Function, route manifest.Route) error {
	var values []string
	for _, m := range wildcard.FindAllStringSubmatch(route.Path, -1) {
		values = append(values, m[1])
	}
	limit := rt.limitOf(before, "route", routeID(name, &route), route.Limit)
	h := routeHandler{name, func(w http.ResponseWriter, r *http.Request) {
		if route.Event != "" {
			g.serveEvent(w, r, rt, name, fn, &route, limit)
			return
		}
		fn, err := fn, error(nil)
		if fn == nil || r.Header.Get(trigger.HeaderVersion) != "" {
			fn, err = g.await(r, name)
		}
		if err != nil {
			g.fail(w, r, "", g.forStrangers(r, name, err))
			return
		}
		endpoint := fn.Endpoint(route.Endpoint)
		if endpoint == nil {
			endpoint = &trigger.Endpoint{Name: route.Endpoint, Kind: wire.EndpointRaw} // the invoker says that there is none
		}
		g.serve(w, r, rt, &target{fn: fn, endpoint: endpoint, uri: r.URL.EscapedPath(), values: values, route: &route, limit: limit})
	}}
	var errs []error
	for _, pattern := range route.Patterns() {
		errs = append(errs, register(rt.mux, pattern, h))
	}
	return errors.Join(errs...)
}

// register is the mux's Handle, which panics where two patterns conflict.
func register(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

// serveRoute serves a request that a route is for; it reports whether one is.
func (g *Gateway) serveRoute(rt *routes, w http.ResponseWriter, r *http.Request) bool {
	if c := rt.preflight(r); c != nil {
		c.ServeHTTP(w, r, func(http.ResponseWriter, *http.Request) {})
		return true
	}
	h, pattern := rt.mux.Handler(r)
	if pattern == "" {
		return false
	}
	if _, ok := h.(routeHandler); ok {
		rt.mux.ServeHTTP(w, r) // sets the path values and comes back to serve
		return true
	}
	// The mux redirects to the path as it should be, and does not know where it is mounted.
	answer := headerOnly{header: make(http.Header)}
	h.ServeHTTP(&answer, r)
	w.Header().Set("Location", mountedAt(r)+answer.header.Get("Location"))
	w.WriteHeader(answer.status)
	return true
}

// preflight returns what answers r if that is a CORS preflight for a route: one
// for GET alone is asked about with OPTIONS.
func (rt *routes) preflight(r *http.Request) *cors.Cors {
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || method == "" || r.Header.Get("Origin") == "" {
		return nil
	}
	announced := *r
	announced.Method = method
	h, _ := rt.mux.Handler(&announced)
	if route, ok := h.(routeHandler); ok {
		return rt.cors[route.function]
	}
	return nil
}

// methodsFor returns the methods of the routes that match but for the method,
// as the header Allow has them; "" if there are none.
func (rt *routes) methodsFor(r *http.Request) string {
	if rt.mux == nil {
		return ""
	}
	h, _ := rt.mux.Handler(r)
	answer := headerOnly{header: make(http.Header)}
	h.ServeHTTP(&answer, r) // the handler of no pattern: it only says why not
	if answer.status != http.StatusMethodNotAllowed {
		return ""
	}
	return answer.header.Get("Allow")
}

// headerOnly is a ResponseWriter that keeps status and headers.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }

func newCORS(c *manifest.CORS) *cors.Cors {
	methods := c.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	return cors.New(cors.Options{
		AllowedOrigins:   c.Origins,
		AllowedMethods:   methods,
		AllowedHeaders:   c.Headers,
		ExposedHeaders:   c.Expose,
		AllowCredentials: c.Credentials,
		MaxAge:           int(c.MaxAge.Seconds()),
	})
}
