package manifest

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const full = `# Everything at once.
name: orders
runtime: go
timeout: 1m30s
concurrency: 7
queue: 0
scale: {min: 1, max: 4, idle: 90s}
memory: 256MiB
body: 1024
env:
  LOG_LEVEL: debug
  DEBUG: true
  PORT: 8080
  RATIO: 1.50
  MASK: 0x1F
  CODE: 007
  EMPTY: ""
  TEXT: |
    two
    lines
access:
  functions: [stock, "pay-*"]
  buckets: []
  subjects: ["orders.>", "*.done"]
  config: ["orders.*"]
cors:
  origins: ["https://*.example.com", "http://localhost:3000"]
  methods: [GET, PUT]
  headers: [X-Token]
  expose: ["*"]
  credentials: true
  maxAge: 10m
triggers:
  http:
    - path: /pets/{id}
      methods: [GET, PUT]
      host: shop.example.com
      endpoint: create
    - path: /files/{path...}
    - {path: "/{$}"}
`

func fullManifest() *Manifest {
	return &Manifest{
		Name: "orders", Runtime: "go", Timeout: 90 * time.Second, Concurrency: 7, Queue: 0,
		Scale:  Scale{Min: 1, Max: 4, Idle: 90 * time.Second},
		Memory: 256 << 20, Body: 1024,
		Env: map[string]string{
			"LOG_LEVEL": "debug", "DEBUG": "true", "PORT": "8080", "RATIO": "1.50",
			"MASK": "0x1F", "CODE": "007", "EMPTY": "", "TEXT": "two\nlines\n",
		},
		Access: &Access{
			Functions: []string{"stock", "pay-*"},
			Subjects:  []string{"orders.>", "*.done"},
			Config:    []string{"orders.*"},
		},
		CORS: &CORS{
			Origins: []string{"https://*.example.com", "http://localhost:3000"},
			Methods: []string{"GET", "PUT"}, Headers: []string{"X-Token"}, Expose: []string{"*"},
			Credentials: true, MaxAge: 10 * time.Minute,
		},
		Async: DefaultAsync(),
		Triggers: Triggers{HTTP: []Route{
			{Path: "/pets/{id}", Methods: []string{"GET", "PUT"}, Host: "shop.example.com", Endpoint: "create"},
			{Path: "/files/{path...}"},
			{Path: "/{$}"},
		}},
	}
}

// with returns the default manifest with a change.
func with(change func(m *Manifest)) *Manifest {
	m := Default()
	change(m)
	return m
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, data string
		want       *Manifest
	}{
		{"all keys", full, fullManifest()},
		{"all keys with CRLF", strings.ReplaceAll(full, "\n", "\r\n"), fullManifest()},
		{"an empty file is the defaults", "", Default()},
		{"comments alone are the defaults", "# nothing\n\n# here\n", Default()},
		{"an empty mapping is the defaults", "{}\n", Default()},
		{"a document mark alone is the defaults", "---\n", Default()},
		{"a document mark before and after", "# c\n---\nqueue: 1\n...\n", with(func(m *Manifest) { m.Queue = 1 })},
		{"a trailing document mark", "queue: 1\n---\n", with(func(m *Manifest) { m.Queue = 1 })},
		{"a byte order mark", "\ufeffqueue: 1\n", with(func(m *Manifest) { m.Queue = 1 })},
		{"flow style, as JSON", `{"queue": 1, "scale": {"min": 2}}`, with(func(m *Manifest) { m.Queue, m.Scale.Min = 1, 2 })},
		{"an indented root", "  queue: 1\n  name: a\n", with(func(m *Manifest) { m.Queue, m.Name = 1, "a" })},
		{"a part of scale keeps the other defaults", "scale: {max: 3}", with(func(m *Manifest) { m.Scale.Max = 3 })},
		{"min above the number of cores", "scale: {min: 500}", with(func(m *Manifest) { m.Scale.Min = 500 })},
		{"what is behind the wall", "network: outbound\nprocesses: 100\ndisk: 1GiB\nsandbox: strict\n", with(func(m *Manifest) {
			m.Network, m.Processes, m.Disk, m.Sandbox = NetworkOutbound, 100, 1<<30, SandboxStrict
		})},
		{"no network, as is the default", "network: none\nsandbox: auto\n", with(func(m *Manifest) { m.Network, m.Sandbox = NetworkNone, SandboxAuto })},
		{"access without a kind allows nothing", "access: {}", with(func(m *Manifest) { m.Access = &Access{} })},
		{"an empty env", "env: {}", Default()},
		{"tabs that are text or behind it", "# a\tb\nqueue: 1\t# c\t\nenv:\n  A: \"x\\ty\"\n  B: |\n    x\ty\n  C: 'x\ty'\t\n", with(func(m *Manifest) {
			m.Queue, m.Env = 1, map[string]string{"A": "x\ty", "B": "x\ty\n", "C": "x\ty"}
		})},
		{"no triggers", "triggers: {}", Default()},
		{"quoted duration", `timeout: "5m"`, with(func(m *Manifest) { m.Timeout = 5 * time.Minute })},
		{"decimal duration", `timeout: 1.5s`, with(func(m *Manifest) { m.Timeout = 1500 * time.Millisecond })},
		{"no timeout", `timeout: none`, with(func(m *Manifest) { m.Timeout = 0 })},
		{"the longest timeout", `timeout: 15m`, with(func(m *Manifest) { m.Timeout = MaxTimeout })},
		{"decimal size", "body: 10KB", with(func(m *Manifest) { m.Body = 10_000 })},
		{"the largest body", "body: 1GiB", with(func(m *Manifest) { m.Body = MaxBody })},
		{"quoted plain size", `body: "77"`, with(func(m *Manifest) { m.Body = 77 })},
		{"methods of one path on two routes", "triggers:\n  http:\n  - {path: /a, methods: [GET]}\n  - {path: /a, methods: [PUT]}\n  - {path: /a, host: b.c}\n",
			with(func(m *Manifest) {
				m.Triggers.HTTP = []Route{{Path: "/a", Methods: []string{"GET"}}, {Path: "/a", Methods: []string{"PUT"}}, {Path: "/a", Host: "b.c"}}
			})},
		{"a method of their own", "triggers: {http: [{path: /a, methods: [SUMMARIZE]}]}",
			with(func(m *Manifest) { m.Triggers.HTTP = []Route{{Path: "/a", Methods: []string{"SUMMARIZE"}}} })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(FileName, []byte(test.data))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("Parse:\n got %s\nwant %s", toJSON(t, got), toJSON(t, test.want))
			}
		})
	}
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestManifestSurvivesJSON(t *testing.T) {
	for _, m := range []*Manifest{Default(), fullManifest(), with(func(m *Manifest) { m.Access = &Access{} })} {
		var back Manifest
		if err := json.Unmarshal(toJSON(t, m), &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&back, m) {
			t.Errorf("read back from JSON:\n got %s\nwant %s", toJSON(t, back), toJSON(t, m))
		}
	}
}

func TestErrorsCanBeTakenApart(t *testing.T) {
	_, err := Parse("dir/function.yaml", []byte("queue: -1\ntimout: 1s\n"))
	var first *Error
	if !errors.As(err, &first) {
		t.Fatalf("errors.As found no *Error in %v", err)
	}
	want := Error{"dir/function.yaml", 1, 8, "queue", "queue must be from 0 to 100000, not -1", ""}
	if *first != want {
		t.Errorf("first error = %+v, want %+v", *first, want)
	}
	var all Errors
	if !errors.As(err, &all) || len(all) != 2 || len(all.Unwrap()) != 2 {
		t.Fatalf("errors.As found %v, want 2 errors", all)
	}
	if got, want := all[1].Error(), `dir/function.yaml:2:1: unknown key "timout" (did you mean "timeout"?)`; got != want {
		t.Errorf("second error = %q, want %q", got, want)
	}
	if got := err.Error(); strings.Count(got, "\n") != 1 {
		t.Errorf("Error() = %q, want two lines", got)
	}
}

func TestErrorsAreLimited(t *testing.T) {
	_, err := Parse(FileName, []byte("env: {"+strings.Repeat("-: 1, ", 1500)+"}"))
	if all, _ := err.(Errors); len(all) != maxErrors {
		t.Errorf("%d errors, want %d", len(all), maxErrors)
	}
}

// Each of these took the YAML library long, or much memory, or is made to.
func TestHostileFilesAreRefusedQuickly(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, MaxFileSize/len(s)) }
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += strings.ReplaceAll("X: &X ["+strings.Repeat("*Y,", 9)+"]\n", "X", string(c))
		bomb = strings.ReplaceAll(bomb, "Y", string(c-1))
	}
	var routes strings.Builder
	for i := range 128 {
		routes.WriteString(" - {path: \"/{x}/" + strings.Repeat("a", i+1) + "\", methods: [A,B,C,D,E,F,G,H]}\n")
	}
	for i := range 100 {
		routes.WriteString(" - {path: \"/" + strings.Repeat("a", i+1) + "/{x}\", methods: [A,B,C,D,E,F,G,H]}\n")
	}
	tests := map[string]string{
		"alias bomb": bomb, "too large": strings.Repeat("a", MaxFileSize+1), "keys without values": fill("a:\n"),
		"keys": fill("a: 1\n"), "literals": fill("a: |\n b\n"), "nested lists": fill("["), "nested mappings": fill("{a: "),
		"nested block lists": fill("- "), "question marks": fill("? "), "documents": fill("---\na\n"),
		"anchors": fill("&a "), "tags": fill("! "), "directives": fill("%"), "flow keys": "a: {" + fill("a,") + "}",
		"overlapping routes": "triggers:\n http:\n" + routes.String(),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse(FileName, []byte(data))
			if err == nil {
				t.Fatal("no error")
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %s: %s", took, first)
			} else {
				t.Logf("took %s: %s", took, first)
			}
		})
	}
}

func TestHardMemoryLeavesRoom(t *testing.T) {
	for memory, want := range map[int64]int64{0: 0, 4 << 20: 36 << 20, 128 << 20: 160 << 20, 1 << 30: 1280 << 20} {
		m := with(func(m *Manifest) { m.Memory = memory })
		if got := m.HardMemory(); got != want {
			t.Errorf("memory %d: %d, want %d", memory, got, want)
		}
	}
}
