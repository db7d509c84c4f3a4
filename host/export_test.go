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
