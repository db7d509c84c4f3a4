package host

import (
	"golang.org/x/time/rate"

	"github.com/fnhost/fnhost/functions/wire"
	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/trigger"
)

// limits are those of a namespace, and what counts its requests.
type limits struct {
	Limits
	requests *rate.Limiter // nil for none
}

// setLimits changes the limits. A rate that stays goes on counting.
func (h *Namespace) setLimits(l Limits) {
	next := &limits{Limits: l}
	if before := h.limits.Load(); before != nil && before.Requests == l.Requests {
		next.requests = before.requests
	} else if l.Requests > 0 {
		next.requests = rate.NewLimiter(rate.Limit(l.Requests), l.Requests)
	}
	h.limits.Store(next)
}

func accountLimits(l Limits) bus.AccountLimits {
	return bus.AccountLimits{Storage: l.Storage, Memory: l.Memory}
}

// admit returns an error of code TooMany for a request from outside that is one too many
// in this second. What is stored, and what functions ask of each other, goes on.
func (h *Namespace) admit(kind string) error {
	l := h.limits.Load()
	if l.requests == nil || kind != trigger.HTTP && kind != trigger.RPC || l.requests.Allow() {
		return nil
	}
	return wire.Errorf(wire.TooMany, "the namespace %q takes %d requests in a second, and this is one more: send fewer, or `fnhost namespace limits %s --requests N` raises the limit", h.name, l.Requests, h.name)
}

// mayAdd returns an error of code TooMany if so many functions more are over the limit.
func (h *Namespace) mayAdd(names []string) error {
	most := h.limits.Load().Functions
	if most == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.functions)
	for _, name := range names {
		if h.functions[name] == nil {
			n++
		}
	}
	if n <= max(most, len(h.functions)) {
		return nil
	}
	return wire.Errorf(wire.TooMany, "the namespace %q may have %d functions, and this would make %d: remove one (`fnhost rm`), or `fnhost namespace limits %s --functions N` raises the limit; nothing was changed", h.name, most, n, h.name)
}
