//go:build !linux

package wall

import "os"

// Machine says what walls this machine can build.
type Machine struct {
	Missing []Missing
}

// Probe finds out what this machine can.
func Probe() *Machine {
	return &Machine{Missing: []Missing{{"walls", "they are made of features of Linux", "run it on Linux"}}}
}

// Any reports whether there is anything to build a wall of.
func (m *Machine) Any() bool { return false }

// BoundsNetwork reports whether a wall here says what processes reach of the network.
func (m *Machine) BoundsNetwork() bool { return false }

// Parts names what a wall here is made of.
func (m *Machine) Parts() []string { return nil }

// Wall is what processes are behind.
type Wall struct{}

// Process is one of them.
type Process struct{ *os.Process }

// Build fails.
func (m *Machine) Build(Spec) (*Wall, error) { return nil, m.Require() }

// Dir returns nothing.
func (w *Wall) Dir(string) string { return "" }

// Start fails.
func (w *Wall) Start(Command) (*Process, error) { return nil, ErrMissing }

// Close does nothing.
func (w *Wall) Close() {}

// Ended does nothing.
func (p *Process) Ended() string { return "" }

// Memory returns most.
func Memory(percent, most int64) int64 { return most }
