package host

import (
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host/worker"
)

// State is where a function is in its life.
type State string

// States of functions.
const (
	Building State = "building" // a version is being built or started; an earlier one, if any, serves
	Ready    State = "ready"    // the latest version serves
	Failed   State = "failed"   // the latest version could not be built or started; an earlier one, if any, serves
	Draining State = "draining" // removed; what runs may end
	// Unreleased is a deployed function none of whose versions is released.
	Unreleased State = "unreleased"
)

// Released is how a deployed version comes to serve: it was built before.
const Released builder.How = "released"

// Event says that the state of a function has changed.
type Event struct {
	Time      time.Time
	Namespace string // "default", or that of another one
	Function  string // "" if the event is about Dir
	Dir       string // for Failed: that of a watched folder that is left out, since another function has its name
	State     State
	Version   string        // that serves; "" if none does
	Took      time.Duration // for Ready: from the change of the source to the first worker being ready
	How       builder.How   // for Ready: how the program came about
	First     bool          // for Ready: there was no version before
	Err       error         // for Failed; an *[builder.Error] if the source is at fault
}

// Diagnostics returns what the source of the function is at fault with, if that
// is why it failed.
func (e *Event) Diagnostics() []builder.Diagnostic { return diagnosticsOf(e.Err) }

// Reason returns why the function failed, without what a worker wrote that did
// not start: its log has that.
func (e *Event) Reason() string {
	if e.Err == nil {
		return ""
	}
	return worker.CutOutput(e.Err.Error())
}

// shortReason returns why something failed, in a line, with paths in dir relative
// to it.
func shortReason(err error, dir string) string {
	list := allDiagnostics(err)
	if len(list) == 0 {
		return firstLine(worker.CutOutput(err.Error()))
	}
	text := firstLine(list[0].Text(dir))
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

func diagnosticsOf(err error) []builder.Diagnostic {
	var b *builder.Error
	if errors.As(err, &b) {
		return b.Diagnostics
	}
	return nil
}
