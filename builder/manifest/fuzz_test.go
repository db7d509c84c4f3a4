package manifest

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse holds that Parse returns, that an error has a place in the file and
// fits on a line, and that what it returns keeps the documented limits.
func FuzzParse(f *testing.F) {
	f.Add(full)
	for _, m := range mistakes {
		f.Add(m.data)
	}
	for _, m := range routeMistakes {
		f.Add("triggers:\n  http:\n  - path: /first/{id}\n  - " + m.route)
	}
	f.Fuzz(func(t *testing.T, data string) {
		m, err := Parse(FileName, []byte(data))
		if err == nil {
			checkLimits(t, m)
			return
		}
		all, ok := err.(Errors)
		if !ok || len(all) == 0 || m != nil {
			t.Fatalf("Parse = %v, %T of %d", m, err, len(all))
		}
		for _, e := range all {
			checkError(t, e, data)
		}
	})
}

// plainKey finds the key in the message about an unknown one, if it has no
// characters that YAML may write in several ways.
var plainKey = regexp.MustCompile(`^unknown key "([A-Za-z0-9_.-]{1,79})"$`)

func checkError(t *testing.T, e *Error, data string) {
	lines := strings.Split(data, "\n")
	if e.Line < 0 || e.Line > len(lines) || (e.Line > 0) != (e.Column > 0) {
		t.Errorf("%v: outside the %d lines", e, len(lines))
	} else if e.Line > 0 && utf8.ValidString(data) && e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 {
		t.Errorf("%v: outside line %q", e, lines[e.Line-1])
	}
	if key := plainKey.FindStringSubmatch(e.Message); key != nil && e.Line > 0 && e.Line <= len(lines) && strings.Contains(lines[e.Line-1], key[1]+":") {
		if rest := string([]rune(lines[e.Line-1])[e.Column-1:]); !strings.HasPrefix(strings.TrimLeft(rest, `"'`), key[1]) {
			t.Errorf("%v: the key %s is not at %q", e, key[1], rest)
		}
	}
	if strings.ContainsAny(e.Message+e.Hint, "\n\r") || e.Message == "" || !utf8.ValidString(e.Message) {
		t.Errorf("message %q, hint %q", e.Message, e.Hint)
	}
}

func checkLimits(t *testing.T, m *Manifest) {
	between := func(what string, v, low, high int64) {
		if v < low || v > high {
			t.Errorf("%s = %d, not within %d and %d", what, v, low, high)
		}
	}
	if m.Name != "" && ValidName(m.Name) != nil {
		t.Errorf("name %q", m.Name)
	}
	if m.Runtime != "go" {
		t.Errorf("runtime %q", m.Runtime)
	}
	between("timeout", int64(m.Timeout), int64(MinTimeout), int64(MaxTimeout))
	between("concurrency", int64(m.Concurrency), 1, MaxConcurrency)
	between("queue", int64(m.Queue), 0, MaxQueue)
	between("min", int64(m.Scale.Min), 0, MaxWorkers)
	between("max", int64(m.Scale.Max), 0, MaxWorkers)
	between("idle", int64(m.Scale.Idle), int64(MinIdle), int64(MaxIdle))
	between("body", m.Body, 1, MaxBody)
	if m.Memory != 0 {
		between("memory", m.Memory, MinMemory, MaxMemory)
	}
	if m.Processes != 0 {
		between("processes", int64(m.Processes), MinProcesses, MaxProcesses)
	}
	if m.Disk != 0 {
		between("disk", m.Disk, MinDisk, MaxDisk)
	}
	if m.Scale.Max != 0 && m.Scale.Min > m.Scale.Max {
		t.Errorf("scale %+v", m.Scale)
	}
	for name, v := range m.Env {
		if !envPattern.MatchString(name) || strings.HasPrefix(name, envPrefix) || strings.ContainsRune(v, 0) {
			t.Errorf("env %q: %q", name, v)
		}
	}
	if c := m.CORS; c != nil {
		between("origins", int64(len(c.Origins)), 1, MaxFileSize)
		between("maxAge", int64(c.MaxAge), 0, int64(24*time.Hour))
	}
	mux := new(http.ServeMux)
	for _, route := range m.Triggers.HTTP {
		for _, p := range route.Patterns() {
			mux.Handle(p, http.NotFoundHandler()) // panics if Parse let a bad one pass
		}
	}
}
