package host

import (
	"cmp"
	"fmt"

	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/host/wall"
	"github.com/fnhost/fnhost/host/worker"
)

// checkWalls checks Config.Walls and fills in its default.
func (c *Config) checkWalls() error {
	switch c.Walls {
	case "":
		c.Walls = wall.Auto
	case wall.Auto, wall.Strict, wall.Off:
	default:
		return fmt.Errorf("host: Config.Walls is %q: want auto, strict or off", c.Walls)
	}
	return nil
}

// openWalls finds out what walls this machine can build.
func (h *Host) openWalls() error {
	if h.cfg.Walls == wall.Off {
		return nil
	}
	machine := wall.Probe()
	if err := machine.Require(); err != nil && h.cfg.Walls == wall.Strict {
		return fmt.Errorf("host: %w; or set walls to auto, for what this machine can", err)
	} else if err != nil {
		h.log.Warn("walls around workers are not whole: without " + machine.Summary())
	}
	if machine.Any() {
		h.walls = machine
	}
	return nil
}

// wallIn says in spec what its workers may have. A function whose manifest wants
// the whole wall gets it on any host, or none of its workers starts.
func (h *shared) wallIn(spec *worker.Spec, m *manifest.Manifest) {
	spec.Machine = h.walls
	spec.Wall = wall.Spec{Network: wall.Network(m.Network), Memory: m.HardMemory(), Processes: m.Processes, Disk: m.Disk}
	if m.Sandbox == manifest.SandboxStrict {
		spec.Machine, spec.Wall.Whole = wall.Probe(), true
	}
}

// wallsOf says what the workers of a function reach of the network, and what keeps
// them in.
func (h *shared) wallsOf(m *manifest.Manifest) (network string, parts []string) {
	var spec worker.Spec
	h.wallIn(&spec, m)
	if spec.Machine == nil {
		return "all", nil
	}
	parts = spec.Machine.Parts()
	if !spec.Machine.BoundsNetwork() {
		return "all", parts
	}
	return cmp.Or(m.Network, manifest.NetworkNone), parts
}
