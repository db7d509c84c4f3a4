package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/admin"
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
	lost   int
	closed bool
	held   bool          // until the banner, which comes first
	wake   chan struct{} // capacity 1
	done   chan struct{}

	// The rest belongs to the printing goroutine.
	http     string
	width    int                  // of the longest name so far
	failed   map[string][]string  // what events have told of failures, and records are about to
	building map[string]time.Time // since when, of those that nothing has been said of
	cold     bool                 // the build cache is empty
	released func(name string) string
}

// maxQueue bounds what waits to be shown.
const maxQueue = 10_000

func newPrinter(a *app, f *hostFlags) *printer {
	p := &printer{
		w: a.stderr, p: a.painter(a.stderr), quiet: a.quiet, held: true, cold: isCold(f.cfg.Builder.Cache),
		wake: make(chan struct{}, 1), done: make(chan struct{}), failed: make(map[string][]string), building: make(map[string]time.Time),
		released: func(string) string { return "" },
	}
	if f.logFormat == "json" {
		level := slog.LevelInfo
		if f.verbose {
			level = slog.LevelDebug
		}
		p.json = slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	}
	go p.loop()
	return p
}

func (p *printer) loop() {
	defer close(p.done)
	for {
		<-p.wake
		p.mu.Lock()
		if p.held && !p.closed {
			p.mu.Unlock()
			continue
		}
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

// first shows something before what waits, and from then on all that comes.
func (p *printer) first(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append([]func(){print}, p.queue...)
	p.held = false
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

// banner says where the host listens, and the token, if it is a new one.
func (p *printer) banner(info admin.Info, functions []string, token string) {
	p.first(func() {
		p.http = info.HTTP
		for _, name := range functions {
			p.width = max(p.width, len(name))
		}
		if p.json != nil {
			p.json.Info("listening", "http", info.HTTP, "nats", info.NATS, "admin", info.Admin, "watch", info.Watch, "dir", info.Dir)
		} else if !p.quiet {
			p.printBanner(info, functions)
		}
		if token != "" {
			p.token(token, info.Admin)
		}
	})
}

func (p *printer) printBanner(info admin.Info, functions []string) {
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
}
