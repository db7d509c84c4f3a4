package gateway

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/trigger"
	"github.com/fnhost/fnhost/trigger/limit"
)

// limited is a limit of a manifest, with whom it has counted.
type limited struct {
	what   string // "function" or "route"
	spec   manifest.Limit
	policy string // as the header RateLimit-Policy has it
	keyed  *limit.Keyed
}

// limitOf returns the limit that spec makes for what id names, nil for none. One that was
// there before, and was the same, goes on with what it has counted.
func (rt *routes) limitOf(before *routes, what, id string, spec *manifest.Limit) *limited {
	if spec == nil {
		return nil
	}
	l := before.limits[id]
	if l == nil || l.spec != *spec {
		events, per, burst := spec.Parsed()
		if events == 0 {
			return nil
		}
		keys := 0
		if spec.Per == manifest.PerAll {
			keys = 1
		}
		l = &limited{what: what, spec: *spec, keyed: limit.NewKeyed(limit.Limit{Events: events, Per: per, Burst: burst}, keys)}
		l.policy = fmt.Sprintf("%q;q=%d;w=%d", what, events, int(per.Seconds()))
	}
	if rt.limits == nil {
		rt.limits = make(map[string]*limited)
	}
	rt.limits[id] = l
	return l
}

// routeID is the key in routes.limits of a route of a function, whose own key is its name.
func routeID(function string, route *manifest.Route) string {
	return function + " " + strings.Join(slices.Sorted(slices.Values(route.Patterns())), " ")
}

// admit reports whether limits let a request in. If not, it has answered. nil is no limit.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, who Identity, limits ...*limited) bool {
	h := w.Header()
	for _, l := range limits {
		if l == nil {
			continue
		}
		d := l.keyed.Take(g.limitKey(l.spec.Per, r, who))
		// The fields of draft-ietf-httpapi-ratelimit-headers.
		h.Add("RateLimit-Policy", l.policy)
		h.Add("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", l.what, d.Remaining, seconds(d.Reset)))
		if !d.OK {
			h.Set("Retry-After", strconv.Itoa(max(1, seconds(d.Retry))))
			g.fail(w, r, "", wire.Errorf(wire.TooMany, "over the limit of this %s, %s %s: try again in %d s", l.what, l.spec.Rate, perWhom[l.spec.Per], max(1, seconds(d.Retry))))
			return false
		}
	}
	return true
}

var perWhom = map[string]string{manifest.PerCaller: "for each caller", manifest.PerAddress: "for each address", manifest.PerAll: "for all together"}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// limitKey is what the requests have in common that count together.
func (g *Gateway) limitKey(per string, r *http.Request, who Identity) string {
	if per == manifest.PerAll {
		return ""
	}
	if per == manifest.PerCaller && who.Account != "" {
		return "account " + who.Account
	}
	return limit.AddrKey(limit.ClientAddr(r, g.cfg.TrustedProxies))
}

// limitsOf fills in the limits of functions, which stay what they are while their
// manifests say the same.
func (rt *routes) limitsOf(before *routes, functions map[string]*trigger.Function) {
	for name, fn := range functions {
		rt.limitOf(before, "function", name, fn.Manifest.Limit)
	}
}
