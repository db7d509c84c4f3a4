package main

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fnhost/fnhost/builder"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/logs"
)

// event is host.Config.OnEvent.
func (p *printer) event(e host.Event) {
	e.Function = nameIn(e.Namespace, e.Function)
	p.later(func() {
		p.width = max(p.width, len(e.Function))
		if e.State == host.Failed {
			p.failed[e.Function] = append(p.failed[e.Function], e.Reason())
		}
		p.noteBuild(&e)
		if p.json != nil {
			p.jsonEvent(&e)
			return
		}
		p.textEvent(&e)
	})
}

// nameIn is what a function is called beside those of other namespaces: as in its path.
func nameIn(namespace, function string) string {
	if function == "" || namespace == "" || namespace == admin.DefaultNamespace {
		return function
	}
	return "@" + namespace + "/" + function
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
	version := e.Version
	if e.How == host.Released {
		version = cmp.Or(p.released(e.Function), version)
	}
	head := fmt.Sprintf("%s  %-3s", p.p.name(e.Function, fmt.Sprintf("%-*s", p.width, e.Function)), version)
	switch {
	case e.Dir != "":
		fmt.Fprintf(p.w, "%s is %s\n  %s\n", relative(e.Dir), p.p.paint(red, "left out"), e.Reason())
	case e.State == host.Failed:
		fmt.Fprintf(p.w, "%s %s: %s\n", head, p.p.paint(red, "failed"), keeps(e.Version))
		p.printError(e)
	case p.quiet:
	case e.State == host.Draining:
		fmt.Fprintf(p.w, "%s removed\n", head)
	case e.State == host.Ready && e.How == host.Released && !e.First: // the record that says who did it tells all
	case e.State == host.Ready:
		took := "in " + tookText(e.Took)
		if e.How == host.Released {
			took = string(e.How)
		} else if e.How != "" {
			took += fmt.Sprintf(" (%s)", e.How)
		}
		if e.First {
			took = fmt.Sprintf("%-20s  %-*s  fn.%s", took, len(p.http)+1+p.width, p.http+"/"+e.Function, path.Base(e.Function))
		}
		fmt.Fprintf(p.w, "%s %s %s\n", head, p.p.paint(green, "ready"), took)
	}
}

// releasesOf has the printer ask h for what of a function serves.
func (p *printer) releasesOf(h *host.Host) {
	p.released = func(name string) string {
		namespace, name, found := strings.Cut(strings.TrimPrefix(name, "@"), "/")
		if !found {
			namespace, name = "", namespace
		}
		ns, err := h.Namespace(namespace)
		if err != nil {
			return ""
		}
		f, err := ns.Function(name)
		if err != nil {
			return ""
		}
		return partsText(f.Release)
	}
}

// slow is how long a build may take until a line says that it goes on.
const slow = time.Second

// noteBuild remembers what is being built, and looks again when it takes long.
func (p *printer) noteBuild(e *host.Event) {
	if e.State != host.Building {
		delete(p.building, e.Function)
		return
	}
	if p.json != nil || p.quiet || !p.building[e.Function].IsZero() {
		return
	}
	p.building[e.Function] = e.Time
	time.AfterFunc(slow-time.Since(e.Time), func() { p.later(p.sayBuilding) })
}

// sayBuilding says what has been building for long.
func (p *printer) sayBuilding() {
	var names []string
	for _, name := range sortedKeys(p.building) {
		if since := p.building[name]; !since.IsZero() && time.Since(since) >= slow {
			names = append(names, name)
			delete(p.building, name)
		}
	}
	if len(names) == 0 {
		return
	}
	if n := len(names) - 6; n > 0 {
		names = append(names[:6], fmt.Sprintf("%d more", n))
	}
	text := "building " + strings.Join(names, ", ")
	if p.cold {
		text += " (the first build compiles the standard library, once)"
		p.cold = false
	}
	p.line("%s", text)
}

// isCold reports whether a build cache has nothing in it yet.
func isCold(dir string) bool {
	dir, err := cacheDir(dir)
	if err != nil {
		return false
	}
	warm, err := filepath.Glob(filepath.Join(dir, "warm-*"))
	return err == nil && len(warm) == 0
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

// tookText is how long something took, which was never nothing.
func tookText(d time.Duration) string {
	if d < time.Millisecond {
		return "<1ms"
	}
	return round(d).String()
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
