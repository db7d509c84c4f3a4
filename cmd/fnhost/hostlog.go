package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// hostLogger returns the logger of the host, which writes to p.
func hostLogger(p *printer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(&hostLog{p: p, level: level})
}

// hostLog shows what the host itself has to say as lines among the others.
type hostLog struct {
	p      *printer
	level  slog.Level
	attrs  []slog.Attr
	groups string // "a.b."
}

func (h *hostLog) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *hostLog) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, h.named(a))
		return true
	})
	h.p.later(func() {
		if h.p.json != nil {
			h.p.json.LogAttrs(context.Background(), r.Level, r.Message, attrs...)
			return
		}
		var text strings.Builder
		for _, a := range attrs {
			fmt.Fprintf(&text, " %s=%v", a.Key, a.Value)
		}
		fmt.Fprintf(h.p.w, "%s %s%s\n", h.p.p.paint(levelColour(r.Level), r.Level.String()), r.Message, h.p.p.paint(dim, text.String()))
	})
	return nil
}

func (h *hostLog) named(a slog.Attr) slog.Attr {
	return slog.Attr{Key: h.groups + a.Key, Value: a.Value.Resolve()}
}

func (h *hostLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		next.attrs = append(next.attrs, h.named(a))
	}
	return &next
}

func (h *hostLog) WithGroup(name string) slog.Handler {
	next := *h
	next.groups += name + "."
	return &next
}
