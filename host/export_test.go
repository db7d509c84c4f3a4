package host

import (
	"context"

	"github.com/fnhost/fnhost/host/bus"
	"github.com/fnhost/fnhost/host/logs"
	"github.com/fnhost/fnhost/host/registry"
)

// KeptRecords returns what the host has of a function's log.
func (h *Host) KeptRecords(function string) (list []logs.Record) {
	h.logs.Read(context.Background(), logs.Query{Function: function}, func(r logs.Record) error {
		list = append(list, r)
		return nil
	})
	return list
}

// Registry is what the host knows of what was deployed to it.
func (h *Host) Registry() *registry.Registry { return h.registry }

// Bus returns the host's NATS server.
func (h *Host) Bus() *bus.Bus { return h.bus }

// Waiting reports whether somebody waits for a run.
func (h *Host) Waiting(id string) bool { return h.events.Awaited(id) }

// CutFollowers ends the following of configuration, as when the watcher is lost for a
// moment.
func (h *Host) CutFollowers() {
	c := h.configs
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for _, view := range c.views {
		for one := range view.listeners {
			one.changed()
		}
	}
}

// Views is how many versions somebody follows.
func (h *Host) Views() int {
	h.configs.mu.Lock()
	defer h.configs.mu.Unlock()
	return len(h.configs.views)
}

// SetMaxStreams changes how many streams there may be before functions make no more buckets.
func (h *Host) SetMaxStreams(n int) { h.buckets.most = n }

// ChallengesAddr is where a host answers proofs of ACME over HTTP.
func ChallengesAddr(h *Host) string {
	h.servers.mu.Lock()
	defer h.servers.mu.Unlock()
	return h.servers.challenges.Addr().String()
}
