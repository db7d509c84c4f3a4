package wall

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
)

// Mode says what a host does about walls.
type Mode string

// The modes.
const (
	// Auto builds what this machine can, and says what it cannot.
	Auto Mode = "auto"
	// Strict starts no worker on a machine that cannot build all of it.
	Strict Mode = "strict"
	// Off builds none.
	Off Mode = "off"
)

// Network says what of the network a process reaches.
type Network string

// The networks.
const (
	// None is no network: no address but those of its own Unix sockets.
	None Network = "none"
	// Outbound is connections to others. Nothing connects to the process.
	Outbound Network = "outbound"
)

// Defaults of [Spec].
const (
	DefaultProcesses = 256
	DefaultDisk      = 512 << 20 // bytes
)

// Spec says what the processes behind one wall may have.
type Spec struct {
	// Program is the program that they run, with its path on this machine. Default: each
	// [Command] names its own, in what is Shown.
	Program string
	// Shown is what of this machine they see besides, under the same paths, which are
	// absolute and without links. What lies in another one may be shown otherwise.
	Shown []Shown
	// KeepUser has them run as the user of the host, without its privileges but that
	// of reading what is not its own, for programs that write what belongs to the host. Of the
	// system they see no more than libraries then. Default: a user that is nobody else's.
	KeepUser bool
	// FileSize bounds each of their files, in bytes. Default: what Disk says.
	FileSize int64
	// Nice says how far they stand back for others on a busy machine, as nice(1) does.
	Nice int
	// Dir is a directory of the host in which, on a machine without namespaces, the
	// processes' own directories lie.
	Dir string
	// Network is what they reach. Default: None.
	Network Network
	// Memory is how many bytes one of them may have, its children and its files
	// included. Default: half of the machine's.
	Memory int64
	// Processes is how many processes and threads one of them may have. Default:
	// DefaultProcesses.
	Processes int
	// Workers is the most of them at once, where only their sum can be bounded.
	// Default: 1.
	Workers int
	// Disk is how many bytes their files may have, all together. Default:
	// DefaultDisk.
	Disk int64
	// Whole refuses a machine that cannot build all of the wall.
	Whole bool
	// Refused is told what the wall refused, once a minute for each kind. It is called
	// on a goroutine of the wall, and must not block. Default: nobody.
	Refused func(Refusal)
}

// Access is what may be done with what is [Shown].
type Access int

// The kinds of access.
const (
	Read  Access = iota // and execute
	Write               // and read, and execute
	Hide                // nothing: it is empty, or not there
)

// Shown is a file or a directory, with all below it.
type Shown struct {
	Path   string
	Access Access
}

// Refusal is something that a process tried, and that its wall has refused.
type Refusal struct {
	What  string // "open a network connection"
	Fix   string // what to do if it is meant to; "" if there is nothing
	Count int    // how many times since the one before was told
}

// String returns a sentence of it, for a function.
func (r Refusal) String() string { return r.By("the function") }

// By returns a sentence of it that says who it was.
func (r Refusal) By(who string) string {
	s := who + " tried to " + r.What
	if r.Count > 1 {
		s += fmt.Sprintf(", %d times", r.Count)
	}
	if r.Fix != "" {
		s += ": " + r.Fix
	}
	return s
}

// ErrMissing is what [Machine.Require] and, for a whole wall, [Machine.Build] return, wrapped, on a machine that cannot
// build the whole wall.
var ErrMissing = errors.New("wall: this machine cannot wall in workers")

// Missing is a part of the wall that a machine cannot build.
type Missing struct {
	Part string // "namespaces"
	Why  string // the error, and what it is about
	Fix  string // what would help
}

// String returns a line of it.
func (m Missing) String() string { return m.Part + " (" + m.Why + ")" }

// Require returns nil if the machine can build the whole wall, and otherwise an
// error that names what is missing and what would help.
func (m *Machine) Require() error {
	if len(m.Missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w completely: without %s", ErrMissing, m.Summary())
}

// Summary names what is missing and what would help, and is "" if nothing is.
func (m *Machine) Summary() string {
	var parts, fixes []string
	for _, one := range m.Missing {
		parts = append(parts, one.String())
		if one.Fix != "" && !strings.Contains(strings.Join(fixes, "; "), one.Fix) {
			fixes = append(fixes, one.Fix)
		}
	}
	s := strings.Join(parts, ", ")
	if len(fixes) > 0 {
		s += ": " + strings.Join(fixes, "; ")
	}
	return s
}

// Command is what [Wall.Start] starts.
type Command struct {
	// Name is that of the process's directory and cgroup, of letters, digits and
	// hyphens, unlike those of others behind the wall.
	Name  string
	Path  string   // of the program. Default: that of the wall
	Dir   string   // that it works in. Default: its own
	Args  []string // the first is its own name
	Env   []string
	Files []*os.File // its descriptors
}

// setDefaults fills in what is not said.
func (s *Spec) setDefaults() {
	if s.Network == "" {
		s.Network = None
	}
	if s.Memory == 0 {
		s.Memory = Memory(50, math.MaxInt64)
	}
	if s.Processes == 0 {
		s.Processes = DefaultProcesses
	}
	if s.Workers == 0 {
		s.Workers = 1
	}
	if s.Disk == 0 {
		s.Disk = DefaultDisk
	}
}
