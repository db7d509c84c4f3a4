package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// printer shows what happens in dev, in one place, so that lines stay whole. Who
// has something to show never waits for the terminal.
type printer struct {
	w     io.Writer
	p     painter
	quiet bool
	json  *slog.Logger // instead of text

	mu     sync.Mutex // guards what follows
	queue  []func()
	early  []func() // events from before the banner, which come after it
	began  bool     // the banner is in the queue
	lost   int
	closed bool
	wake   chan struct{} // capacity 1
	done   chan struct{}

	// The rest belongs to the printing goroutine.
	http   string
	width  int                 // of the longest name so far
	failed map[string][]string // what events have told of failures, and records are about to
}

// maxQueue bounds what waits to be shown.
const maxQueue = 10_000

func newPrinter(a *app, inJSON bool) *printer {
	p := &printer{
		w: a.stderr, p: a.painter(a.stderr), quiet: a.quiet,
		wake: make(chan struct{}, 1), done: make(chan struct{}), failed: make(map[string][]string),
	}
	if inJSON {
		p.json = slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	go p.loop()
	return p
}

func (p *printer) loop() {
	defer close(p.done)
	for {
		<-p.wake
		p.mu.Lock()
		queue, lost, closed := p.queue, p.lost, p.closed
		p.queue, p.lost = nil, 0
		p.mu.Unlock()
		for _, print := range queue {
			print()
		}
		if lost > 0 {
			p.line("%d lines left out here, since they came faster than they were shown", lost)
		}
		if closed {
			return
		}
	}
}

// later queues something to show.
func (p *printer) later(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return
	case len(p.queue) >= maxQueue:
		p.lost++
	default:
		p.queue = append(p.queue, print)
	}
	p.signal()
}

func (p *printer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close shows what is left.
func (p *printer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.signal()
	<-p.done
}

// line shows a line of fnhost's own.
func (p *printer) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.json != nil {
		p.json.Info(text)
		return
	}
	fmt.Fprintln(p.w, p.p.paint(dim, text))
}

func (p *printer) say(text string) {
	if !p.quiet {
		p.later(func() { p.line("%s", text) })
	}
}

// stopping says what the end of the host waits for.
func (p *printer) stopping(running []string, drain time.Duration) {
	if len(running) == 0 {
		p.say("stopping")
		return
	}
	p.say(fmt.Sprintf("stopping: up to %v for the invocations of %s; Ctrl+C again stops at once", drain, strings.Join(running, ", ")))
}

// banner says where the host listens.
func (p *printer) banner(info admin.Info, functions []string) {
	defer p.begin()
	p.later(func() {
		p.http = info.HTTP
		for _, name := range functions {
			p.width = max(p.width, len(name))
		}
		if p.json != nil {
			p.json.Info("listening", "http", info.HTTP, "nats", info.NATS, "admin", info.Admin, "watch", info.Watch, "dir", info.Dir)
			return
		}
		if p.quiet {
			return
		}
		var watched []string
		for _, dir := range info.Watch {
			watched = append(watched, relative(dir))
		}
		fmt.Fprintf(p.w, "%s %s\n", p.p.paint(bold, "fnhost"), info.Version)
		for _, line := range [][2]string{{"gateway", info.HTTP}, {"nats", info.NATS}, {"admin", info.Admin},
			{"watching", strings.Join(watched, ", ")}, {"data", relative(info.Dir)}} {
			if line[1] != "" {
				fmt.Fprintf(p.w, "  %s %s\n", p.p.paint(dim, fmt.Sprintf("%-9s", line[0])), line[1])
			}
		}
		fmt.Fprintln(p.w)
		switch {
		case len(functions) > 0:
		case len(watched) > 0:
			p.line("no functions yet: `fnhost init %s` makes one", filepath.Join(watched[0], "hello"))
		default:
			p.line("no functions yet: `fnhost deploy DIR` brings one here")
		}
	})
}

// begin lets events be shown.
func (p *printer) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, p.early...)
	p.early, p.began = nil, true
	p.signal()
}

// afterBanner queues something to show, for when it is known where the host
// listens.
func (p *printer) afterBanner(print func()) {
	p.mu.Lock()
	wait := !p.began && len(p.early) < maxQueue
	if wait {
		p.early = append(p.early, print)
	}
	p.mu.Unlock()
	if !wait {
		p.later(print)
	}
}

// event is host.Config.OnEvent.
func (p *printer) event(e host.Event) {
	p.afterBanner(func() {
		p.width = max(p.width, len(e.Function))
		if e.State == host.Failed {
			p.failed[e.Function] = append(p.failed[e.Function], e.Reason())
		}
		if p.json != nil {
			p.jsonEvent(&e)
			return
		}
		p.textEvent(&e)
	})
}

func (p *printer) jsonEvent(e *host.Event) {
	attrs := []any{logs.KeyFunction, e.Function, logs.KeyVersion, e.Version}
	switch e.State {
	case host.Ready:
		p.json.Info("ready", append(attrs, "took", e.Took.String(), "how", e.How)...)
	case host.Failed:
		if e.Dir != "" {
			attrs = append(attrs, "dir", e.Dir)
		}
		p.json.Error("failed", append(attrs, "error", e.Err.Error(), "diagnostics", e.Diagnostics())...)
	default:
		p.json.Debug(string(e.State), attrs...)
	}
}

func (p *printer) textEvent(e *host.Event) {
	head := fmt.Sprintf("%s  %-3s", p.p.name(e.Function, fmt.Sprintf("%-*s", p.width, e.Function)), e.Version)
	switch {
	case e.Dir != "":
		fmt.Fprintf(p.w, "%s is %s\n  %s\n", relative(e.Dir), p.p.paint(red, "left out"), e.Reason())
	case e.State == host.Failed:
		fmt.Fprintf(p.w, "%s %s: %s\n", head, p.p.paint(red, "failed"), keeps(e.Version))
		p.printError(e)
	case p.quiet:
	case e.State == host.Draining:
		fmt.Fprintf(p.w, "%s removed\n", head)
	case e.State == host.Ready:
		took := fmt.Sprintf("in %v", round(e.Took))
		if e.How == host.Released {
			took = string(e.How)
		} else if e.How != "" {
			took += fmt.Sprintf(" (%s)", e.How)
		}
		if e.First {
			took = fmt.Sprintf("%-20s  %-*s  fn.%s", took, len(p.http)+1+p.width, p.http+"/"+e.Function, e.Function)
		}
		fmt.Fprintf(p.w, "%s %s %s\n", head, p.p.paint(green, "ready"), took)
	}
}

func keeps(version string) string {
	if version == "" {
		return "no version serves yet"
	}
	return version + " keeps serving"
}

func (p *printer) printError(e *host.Event) {
	list := e.Diagnostics()
	if len(list) == 0 {
		fmt.Fprintf(p.w, "  %s\n", strings.ReplaceAll(e.Reason(), "\n", "\n  "))
	}
	for _, d := range list {
		fmt.Fprintln(p.w, p.p.paint(bold, diagnosticText(d)))
		fmt.Fprint(p.w, p.p.paint(dim, d.Excerpt))
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
