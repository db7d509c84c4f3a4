package main

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/admin"
)

// The banner comes first, what takes long is said to go on, once, and what came
// of it stands in columns.
func TestPrinter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := &app{stderr: &out}
		f := &hostFlags{logFormat: "text"}
		f.cfg.Builder.Cache = t.TempDir()
		p := newPrinter(a, f)
		event := func(name string, s host.State, e host.Event) {
			e.Time, e.Function, e.State = time.Now(), name, s
			if s == host.Ready {
				e.Version = "v1"
			}
			p.event(e)
		}
		event("hello", host.Building, host.Event{})
		event("a", host.Ready, host.Event{First: true, How: "cached"})
		p.banner(admin.Info{Version: "1.2.3", HTTP: "http://host"}, []string{"a", "clock", "hello"}, "")
		event("clock", host.Building, host.Event{})
		time.Sleep(1500 * time.Millisecond)
		event("a", host.Building, host.Event{})
		time.Sleep(500 * time.Millisecond)
		event("a", host.Ready, host.Event{Took: 500 * time.Millisecond})
		event("clock", host.Failed, host.Event{Err: errors.New("no")})
		event("hello", host.Ready, host.Event{First: true, How: host.Released})
		event("hello", host.Ready, host.Event{How: host.Released})
		p.close()
		const want = `fnhost 1.2.3
  gateway   http://host

a      v1  ready in <1ms (cached)      http://host/a      fn.a
building clock, hello (the first build compiles the standard library, once)
a      v1  ready in 500ms
clock      failed: no version serves yet
  no
hello  v1  ready released              http://host/hello  fn.hello
`
		got := out.String()
		if i := bytes.Index(out.Bytes(), []byte("  data")); i >= 0 {
			end := bytes.IndexByte(out.Bytes()[i:], '\n')
			got = got[:i] + got[i+end+1:]
		}
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// What only goes on is not said in JSON, either, unless it is asked for.
func TestPrinterInJSON(t *testing.T) {
	for verbose, want := range map[bool]int{false: 0, true: 1} {
		var out bytes.Buffer
		p := newPrinter(&app{stderr: &out}, &hostFlags{logFormat: "json", verbose: verbose})
		p.event(host.Event{Function: "hello", State: host.Building})
		p.banner(admin.Info{}, nil, "")
		p.close()
		if got := bytes.Count(out.Bytes(), []byte(`"msg":"building"`)); got != want {
			t.Errorf("verbose %v: %d lines of what is being built, want %d:\n%s", verbose, got, want, &out)
		}
	}
}
