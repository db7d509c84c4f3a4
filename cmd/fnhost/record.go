package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/host/logs"
)

// record shows what a function writes. That its build failed has come as an
// event before.
func (p *printer) record(r logs.Record) error {
	r.Function = nameIn(r.Namespace, r.Function)
	p.later(func() {
		p.width = max(p.width, len(r.Function))
		if p.isTold(&r) {
			return
		}
		if p.json != nil {
			p.jsonRecord(&r)
			return
		}
		name := p.p.name(r.Function, fmt.Sprintf("%-*s |", p.width, r.Function))
		fmt.Fprintf(p.w, "%s %s\n", name, strings.ReplaceAll(messageText(p.p, &r), "\n", "\n"+name+" "))
	})
	return nil
}

// isTold reports whether an event has told what a record says, for the first
// record that does.
func (p *printer) isTold(r *logs.Record) bool {
	list := p.failed[r.Function]
	i := slices.IndexFunc(list, func(why string) bool { return strings.HasSuffix(r.Message, why) })
	if r.Source != logs.Host || i < 0 {
		return false
	}
	p.failed[r.Function] = slices.Delete(list, i, i+1)
	return true
}

func (p *printer) jsonRecord(r *logs.Record) {
	attrs := []slog.Attr{slog.String(logs.KeyFunction, r.Function), slog.String(logs.KeyVersion, r.Version),
		slog.String(logs.KeyWorker, r.Worker), slog.String("source", string(r.Source))}
	if r.Invocation != "" {
		attrs = append(attrs, slog.String(logs.KeyInvocation, r.Invocation))
	}
	if len(r.Attrs) > 0 {
		attrs = append(attrs, slog.Any("attrs", r.Attrs))
	}
	p.json.LogAttrs(context.Background(), r.Level, r.Message, attrs...)
}

// messageText is what a record says, without where it comes from. A line of
// output stays as it was written.
func messageText(p painter, r *logs.Record) string {
	if r.Source == logs.Stdout || r.Source == logs.Stderr {
		return r.Message
	}
	text := p.paint(levelColour(r.Level), r.Level.String()) + " " + hostText(r)
	if attrs := attrText(r.Attrs); attrs != "" {
		text += " " + p.paint(dim, attrs)
	}
	return text
}

// hostText is what a record says; in a stack that the host has found, files are
// named as in compile errors.
func hostText(r *logs.Record) string {
	if r.Source != logs.Host || !strings.Contains(r.Message, "\n\t"+string(filepath.Separator)) {
		return r.Message
	}
	lines := strings.Split(r.Message, "\n")
	for i, line := range lines {
		if file, ok := strings.CutPrefix(line, "\t"); ok && filepath.IsAbs(file) {
			lines[i] = "\t" + relative(file)
		}
	}
	return strings.Join(lines, "\n")
}

// recordText is a record as the line of a log.
func recordText(p painter, r *logs.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", p.paint(dim, r.Time.Local().Format("15:04:05.000")), p.name(r.Function, r.Function))
	for _, word := range []string{r.Version, r.Worker} {
		if word != "" {
			b.WriteString(" " + word)
		}
	}
	fmt.Fprintf(&b, " %s %s", p.paint(levelColour(r.Level), r.Level.String()), hostText(r))
	attrs := attrText(r.Attrs)
	if r.Invocation != "" {
		attrs = strings.TrimLeft(attrs+" "+logs.KeyInvocation+"="+r.Invocation, " ")
	}
	if attrs != "" {
		b.WriteString(" " + p.paint(dim, attrs))
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

// attrText writes attributes as key=value in their order, those of groups as
// group.key=value.
func attrText(data []byte) string {
	var parts []string
	collectAttrs("", data, &parts)
	return strings.Join(parts, " ")
}

func collectAttrs(prefix string, data []byte, parts *[]string) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() {
		key, err := d.Token()
		var v json.RawMessage
		if err != nil || d.Decode(&v) != nil {
			return
		}
		name := prefix + key.(string)
		if v[0] == '{' {
			collectAttrs(name+".", v, parts)
			continue
		}
		*parts = append(*parts, name+"="+attrValue(v))
	}
}

// attrValue is a value as it was logged: text goes without quotes if it needs none.
func attrValue(v json.RawMessage) string {
	var text string
	if json.Unmarshal(v, &text) != nil || text == "" || strings.ContainsAny(text, " \"=\n\t\r\x1b") {
		return string(v)
	}
	return text
}
