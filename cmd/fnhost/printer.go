package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// printer shows what happens in dev, in one place, so that lines stay whole.
type printer struct {
	w     io.Writer
	p     painter
	quiet bool

	mu   sync.Mutex
	http string
	more chan func() // what happens, in order; never blocks who says it
	done chan struct{}
}

func newPrinter(a *app) *printer {
	p := &printer{w: a.stderr, p: a.painter(a.stderr), quiet: a.quiet, more: make(chan func(), 4096), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for print := range p.more {
			print()
		}
	}()
	return p
}

// close prints what is left.
func (p *printer) close() {
	p.mu.Lock()
	close(p.more)
	p.more = nil
	p.mu.Unlock()
	<-p.done
}

func (p *printer) later(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.more == nil {
		return
	}
	select {
	case p.more <- print:
	default: // a terminal that does not keep up must not hold the host
	}
}

func (p *printer) say(s string) {
	if !p.quiet {
		p.later(func() { fmt.Fprintln(p.w, p.p.paint(dim, s)) })
	}
}

func (p *printer) banner(info admin.Info) {
	p.http = info.HTTP
	if p.quiet {
		return
	}
	p.later(func() {
		fmt.Fprintf(p.w, "%s %s\n", p.p.paint(bold, "fnhost"), info.Version)
		for _, line := range [][2]string{{"gateway", info.HTTP}, {"admin", info.Admin}, {"NATS", info.NATS}, {"watching", strings.Join(info.Watch, ", ")}, {"data", relative(info.Dir)}} {
			if line[1] != "" {
				fmt.Fprintf(p.w, "  %-9s %s\n", line[0], line[1])
			}
		}
		fmt.Fprintln(p.w)
	})
}

// event is host.Config.OnEvent.
func (p *printer) event(e host.Event) {
	p.later(func() { p.printEvent(&e) })
}

func (p *printer) printEvent(e *host.Event) {
	name := fmt.Sprintf("%-16s", e.Function)
	switch e.State {
	case host.Ready:
		if p.quiet {
			return
		}
		how := ""
		if e.How != "" {
			how = fmt.Sprintf(" (%s)", e.How)
		}
		line := fmt.Sprintf("%s %-4s %s in %v%s", p.p.name(name), e.Version, p.p.paint(green, "ready"), round(e.Took), how)
		if e.First {
			line += fmt.Sprintf("  %s/%s  fn.%s", p.http, e.Function, e.Function)
		}
		fmt.Fprintln(p.w, line)
	case host.Failed:
		fmt.Fprintf(p.w, "%s %-4s %s%s\n", p.p.name(name), e.Version, p.p.paint(red, "failed"), keeps(e.Version))
		p.printError(e)
	case host.Draining:
		if !p.quiet {
			fmt.Fprintf(p.w, "%s %-4s removed\n", p.p.name(name), e.Version)
		}
	}
}

func keeps(version string) string {
	if version == "" {
		return ""
	}
	return ": " + version + " keeps serving"
}

func (p *printer) printError(e *host.Event) {
	list := e.Diagnostics()
	if len(list) == 0 {
		fmt.Fprintf(p.w, "  %s\n", strings.ReplaceAll(e.Err.Error(), "\n", "\n  "))
	}
	for _, d := range list {
		fmt.Fprintln(p.w, diagnosticText(d))
		if d.Excerpt != "" {
			fmt.Fprint(p.w, p.p.paint(dim, d.Excerpt))
		}
	}
}

// diagnosticText is a diagnostic as the go command would print it from here.
func diagnosticText(d builder.Diagnostic) string {
	if d.File != "" {
		d.File = relative(d.File)
	}
	return d.String()
}

func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// record shows what a function writes. What the host says of builds comes as
// an event.
func (p *printer) record(r logs.Record) error {
	if r.Source == logs.Host && strings.HasPrefix(r.Message, "build failed: ") {
		return nil
	}
	p.later(func() { fmt.Fprintln(p.w, recordText(p.p, &r, false)) })
	return nil
}

// recordText is a record as a line.
func recordText(p painter, r *logs.Record, long bool) string {
	var b strings.Builder
	if long {
		fmt.Fprintf(&b, "%s %s %s %s ", p.paint(dim, r.Time.Local().Format("15:04:05.000")), p.name(r.Function), r.Version, r.Worker)
	} else {
		fmt.Fprintf(&b, "%s ", p.name(fmt.Sprintf("%-16s", r.Function)))
	}
	if r.Source == logs.Log || r.Source == logs.Host {
		b.WriteString(p.paint(levelColour(r.Level), r.Level.String()) + " ")
	}
	b.WriteString(r.Message)
	if text := attrText(r.Attrs); text != "" {
		b.WriteString(" " + p.paint(dim, text))
	}
	if long && r.Invocation != "" {
		b.WriteString(" " + p.paint(dim, "invocation="+r.Invocation))
	}
	return b.String()
}

func levelColour(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return red
	case l >= slog.LevelWarn:
		return yellow
	case l >= slog.LevelInfo:
		return green
	}
	return dim
}
