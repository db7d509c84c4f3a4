package host

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/builder/manifest"
	"github.com/fnhost/fnhost/trigger/event"
)

// A step is a function that publishes what starts the next one.
type loopStep struct {
	function string
	at       builder.Publish
}

// publishesOf returns on which subjects an artifact publishes, with files by their
// whole names; that of a deployed version does not know, and its record does.
func publishesOf(a *builder.Artifact) (list []builder.Publish) {
	if a == nil || a.Package == nil {
		return nil
	}
	for _, p := range a.Package.Publishes {
		p.File = filepath.Join(a.Package.Dir, p.File)
		list = append(list, p)
	}
	return list
}

// warnOfLoop adds to the log of a function that it publishes what starts it, itself
// or by way of others, as far as their sources tell.
func (f *function) warnOfLoop() {
	if text := f.h.loop(f.name); text != "" {
		f.h.note(slog.LevelWarn, f.name, f.version(), "%s", text)
	}
}

// loop describes the shortest way from a function back to it, "" for none.
func (h *Namespace) loop(name string) string {
	index := *h.index.Load()
	came := map[string]loopStep{} // how each function is reached
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, p := range publishedBy(index[from]) {
			for next, f := range index {
				if _, seen := came[next]; seen || !startedBy(f, p.Subject) {
					continue
				}
				came[next] = loopStep{from, p}
				if next == name {
					return describeLoop(name, came)
				}
				queue = append(queue, next)
			}
		}
	}
	return ""
}

func publishedBy(f *function) []builder.Publish {
	if f == nil {
		return nil
	}
	if r := f.current.Load(); r != nil {
		return r.main().publishes
	}
	return nil
}

// startedBy reports whether a message on a subject starts a function.
func startedBy(f *function, subject string) bool {
	r := f.current.Load()
	if r == nil {
		return false
	}
	t := &r.main().manifest.Triggers
	return slices.ContainsFunc(t.Event, func(e manifest.Event) bool { return event.Covers(e.Subject, subject) }) ||
		slices.ContainsFunc(t.Subscribe, func(s manifest.Subscribe) bool { return event.Covers(s.Subject, subject) })
}

func describeLoop(name string, came map[string]loopStep) string {
	var steps []string
	for next := name; ; {
		s := came[next]
		started := next
		if next == name && s.function == name {
			started = "the function itself"
		}
		steps = append(steps, fmt.Sprintf("%s:%d publishes on %q, which starts %s", s.at.File, s.at.Line, s.at.Subject, started))
		if next = s.function; next == name {
			break
		}
	}
	slices.Reverse(steps)
	return strings.Join(steps, "; ") + ": unless a handler ends it, it is stopped after 32 rounds, with a dead letter where events are stored"
}
